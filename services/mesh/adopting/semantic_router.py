"""vLLM Semantic Router: `config.yaml`, as its documentation has it (vllm-semantic-router.com/docs/installation/configuration).

Both forms are read: `providers` with `routing` (v0.3), and `vllm_endpoints` with `categories` or `decisions` before it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from services.mesh.adopting.semantic_routes import Reasoning, Signals, routes
from services.mesh.adopting.settings import (
    ELSEWHERE,
    NOTHING,
    WEIGHTS,
    Adopted,
    BadFile,
    base_url,
    name_of,
    of_yaml,
    present,
    usual_key,
)
from services.models.presets import PRESETS

PROVIDERS = {
    "azure-openai": "azure",
    "gemini": "google",
    "google-ai": "google",
    **{name: name for name in (*PRESETS, *ELSEWHERE)},
}
FAMILIES = {
    "deepseek": Reasoning("thinking"),
    "glm": Reasoning("enable_thinking"),
    "gpt": Reasoning(""),
    "gpt-oss": Reasoning(""),
    "openai": Reasoning(""),
    "qwen3": Reasoning("enable_thinking"),
}
"""How their built-in families are told to think: by what a chat template is told, or by the effort."""
TEMPLATE = "chat_template_kwargs"
PRICES = {
    "prompt_per_1m": "input",
    "completion_per_1m": "output",
    "cached_input_per_1m": "cached_input",
    "cache_write_per_1m": "cache_write",
}
ABLE = {"vision": "vision", "multimodal": "vision", "image_input": "vision", "tools": "tools"}
"""Capabilities of a model card that are abilities here."""
PLACE = frozenset(
    ("name", "endpoint", "protocol", "base_url", "provider", "api_key", "api_key_env", "weight", "api_version")
)
MODEL = frozenset(
    ("name", "provider_model_id", "api_format", "backend_refs", "reasoning", "pricing", "external_model_ids")
)
OLD_MODEL = frozenset(("preferred_endpoints", "reasoning_family", "pricing", "pii_policy"))
AUTO_NAMES = ("MoM", "vllm-sr/auto")
"""Names that its callers ask by, where the file names none."""
GUARDED = "the guard masks private data and stops attacks without settings; policies: docs/policies.md"
CACHED = (
    "the cache is on by itself, a semantic hit is proven, and `cache.error_bound` of look-ups may be answered wrongly"
)
TRACED = "`process.otlp_endpoint` sends traces and metrics, `gen_ai.*`, to any OpenTelemetry collector"
INSTEAD = {
    "classifier": "subjects, private data and attacks are told by models that Tollway brings",
    "evaluation": "what is known of a model: `router.profiles.NAME.scores`, or `quality` in its entry",
    "listeners": "`edge.listen.address`; keys: `tollway keys create ACCOUNT`",
    "observability": TRACED,
    "prompt_guard": GUARDED,
    "recipes": "routes go by tenant: `router.policies.TENANT`",
    "entrypoints": "routes go by tenant: `router.policies.TENANT`",
    "services": "accounts, limits, traces and answers that are kept: docs/quickstart.md, docs/operate.md",
    "stores": "the cache is Qdrant's engine in the process; a server: `cache.store`",
    "tools": "tools of MCP servers: docs/tools.md",
}
SILENT = frozenset(
    ("version", "providers", "routing", "global", "vllm_endpoints", "model_config", "categories", "decisions", "default_model",
     "default_reasoning_effort", "reasoning_families", "semantic_cache", "keyword_rules", "embedding_rules", "bert_model", "embedding_models",
     "strategy", "signals")
)  # fmt: skip


def adopted(text: str) -> Adopted:
    """
    Raises:
        BadFile
    """
    said = of_yaml(text)
    new = isinstance(said, dict) and isinstance(_map(said, "providers").get("models"), list)
    if not new and not (isinstance(said, dict) and isinstance(said.get("vllm_endpoints"), list)):
        raise BadFile(
            "it has neither `providers.models` nor `vllm_endpoints`: is it a config.yaml of vLLM Semantic Router?"
        )
    made = Adopted()
    names, thinking = dict[str, str](), dict[str, Reasoning]()
    for name, entry, places, family in _new(made, said) if new else _old(made, said):
        names[name] = name_of(name)
        made.catalogue[names[name]] = {**entry, "deployments": places}
        if family is not None:
            thinking[name] = family
    defaults = _map(_map(said, "providers"), "defaults")
    first = str(defaults.get("model") or said.get("default_model") or next(iter(names), ""))
    effort = str(defaults.get("reasoning_effort") or said.get("default_reasoning_effort") or "medium")
    policy: dict[str, Any] = {"rule": "fixed", "model": names.get(first, ""), "models": list(names.values())}
    if ways := routes(made, _signals(said), _decisions(said), names, thinking, effort):
        policy["routes"] = ways
    made.policy.update(policy)
    made.others["orchestrator"] = {"auto_names": _auto_names(said)}
    if ttl := _map(said, "semantic_cache").get("ttl_seconds"):
        made.others["cache"] = {"ttl_s": float(ttl)}
    _rest(made, said)
    return made


def _new(
    made: Adopted, said: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]], Reasoning | None]]:
    """Each model: its name there, its entry, where it is found, and how it is told to think."""
    cards = {str(one.get("name")): one for one in _maps(_map(said, "routing"), "modelCards")}
    for n, one in enumerate(_maps(_map(said, "providers"), "models")):
        where, name = f"providers.models[{n}]", str(one.get("name") or "")
        places = _maps(one, "backend_refs")
        if not name or not places:
            made.leave(where, "it names no backend: write an entry under `models.catalogue`")
            continue
        providers = {_provider(place) for place in places}
        provider = providers.pop()
        if providers:
            made.leave(f"{where}.backend_refs", "a model has one provider: the others need entries of their own")
            places = [place for place in places if _provider(place) == provider]
        entry = {"provider": provider, "model": str(one.get("provider_model_id") or name)}
        if one.get("api_format") in ("anthropic", "responses") and provider != one["api_format"]:
            entry["wire"] = str(one["api_format"])
        _priced(made, name, where, _map(one, "pricing"))
        for left in [left for left in one if left not in MODEL]:
            made.leave(f"{where}.{left}", INSTEAD.get(left, NOTHING))
        yield (
            name,
            {**entry, **_card(cards.get(name, {}))},
            _places(made, where, places),
            _thinking(one.get("reasoning")),
        )


def _provider(place: Mapping[str, Any]) -> str:
    said = str(place.get("provider") or "vllm")
    return PROVIDERS.get(said, "vllm")


def _places(made: Adopted, where: str, refs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    places = []
    for n, one in enumerate(refs):
        at, key = f"{where}.backend_refs[{n}]", str(one.get("api_key") or "")
        url = str(one.get("base_url") or "")
        if not url and one.get("endpoint"):
            url = f"{one.get('protocol') or 'http'}://{one['endpoint']}/v1"
        if one.get("api_key_env"):
            key = f"env:{one['api_key_env']}"
        provider = _provider(one)
        key = key or ("" if url else usual_key(provider))
        places.append(present({"base_url": base_url(provider, url)}) | ({"keys": [key]} if key else {}))
        for left in [left for left in one if left not in PLACE]:
            made.leave(f"{at}.{left}", NOTHING)
    if len({one.get("weight") for one in refs}) > 1:
        made.leave(f"{where}.backend_refs", WEIGHTS)
    return places


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    able = {ABLE[one]: True for one in card.get("capabilities") or () if one in ABLE}
    return present(
        {"context_tokens": card.get("context_window_size"), "max_output_tokens": card.get("max_output_tokens"), **able}
    )


def _thinking(said: object) -> Reasoning | None:
    if not isinstance(said, dict):
        return None
    if family := said.get("family"):
        return FAMILIES.get(str(family))
    parameter = said.get("parameter") if said.get("type") == TEMPLATE else said.get("activation_parameter")
    return Reasoning(str(parameter or ""))


def _old(
    made: Adopted, said: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]], Reasoning | None]]:
    endpoints = {str(one.get("name")): one for one in _maps(said, "vllm_endpoints")}
    families = {name: _thinking(one) for name, one in _map(said, "reasoning_families").items()}
    for name, one in _map(said, "model_config").items():
        facts = one if isinstance(one, dict) else {}
        found = [endpoints[at] for at in facts.get("preferred_endpoints") or endpoints if at in endpoints]
        _priced(made, name, f"model_config.{name}", _map(facts, "pricing"))
        if "pii_policy" in facts:
            made.leave(f"model_config.{name}.pii_policy", GUARDED)
        for left in [left for left in facts if left not in OLD_MODEL]:
            made.leave(f"model_config.{name}.{left}", NOTHING)
        family = str(facts.get("reasoning_family") or "")
        places = [{"base_url": f"http://{_host(str(at['address']))}:{at['port']}/v1"} for at in found]
        yield name, {"provider": "vllm", "model": name}, places, families.get(family) or FAMILIES.get(family)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _priced(made: Adopted, name: str, where: str, said: Mapping[str, Any]) -> None:
    if not said:
        return
    if said.get("currency", "USD") != "USD":
        made.leave(f"{where}.pricing", "prices are in dollars a million tokens: `ledger.prices`")
        return
    prices = {ours: str(said[theirs]) for theirs, ours in PRICES.items() if said.get(theirs) is not None}
    if "input" in prices and "output" in prices:
        made.prices[name_of(name)] = prices


def _signals(said: Mapping[str, Any]) -> Signals:
    """By the type that conditions name them with."""
    told = _map(_map(said, "routing"), "signals") or _map(said, "signals")
    return Signals(
        {
            "complexity": _named(told, "complexity"),
            "context": _named(told, "context"),
            "conversation": _named(told, "conversation"),
            "domain": _named(told, "domains") or _named(said, "categories"),
            "embedding": _named(told, "embeddings") or _named(said, "embedding_rules"),
            "input_modality": _named(told, "input_modality"),
            "keyword": _named(told, "keywords") or _named(said, "keyword_rules"),
            "language": _named(told, "language"),
            "metadata": _named(told, "metadata"),
            "structure": _named(told, "structure"),
        }
    )


def _decisions(said: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each with its place, those of the highest priority first. Before there were decisions, categories chose."""
    routing = _map(said, "routing")
    found = [(f"routing.decisions[{n}]", one) for n, one in enumerate(_maps(routing, "decisions"))]
    found = found or [(f"decisions[{n}]", one) for n, one in enumerate(_maps(said, "decisions"))]
    found = found or [
        (f"categories[{n}]", _chosen(one)) for n, one in enumerate(_maps(said, "categories")) if one.get("model_scores")
    ]
    return sorted(found, key=lambda pair: (pair[1].get("tier") or 0, -float(pair[1].get("priority") or 0)))


def _chosen(category: Mapping[str, Any]) -> dict[str, Any]:
    best = sorted(_maps(category, "model_scores"), key=lambda one: -float(one.get("score") or 0))
    refs = [{"reasoning_effort": category.get("reasoning_effort"), **one} for one in best]
    plugins = []
    if category.get("system_prompt"):
        plugins.append({"type": "system_prompt", "configuration": {"system_prompt": category["system_prompt"]}})
    if category.get("semantic_cache_enabled") is False:
        plugins.append({"type": "semantic-cache", "configuration": {"enabled": False}})
    condition = {"type": "domain", "name": category.get("name")}
    return {"name": category.get("name"), "rules": condition, "modelRefs": refs, "plugins": plugins}


def _auto_names(said: Mapping[str, Any]) -> list[str]:
    router = _map(_map(said, "global"), "router")
    told = [router.get("auto_model_name"), said.get("auto_model_name"), *(router.get("auto_model_names") or ())]
    return [str(one) for one in dict.fromkeys(told) if one and one != "auto"] or list(AUTO_NAMES)


def _rest(made: Adopted, said: Mapping[str, Any]) -> None:
    for name in [name for name in said if name not in SILENT]:
        made.leave(name, INSTEAD.get(name, NOTHING))
    for name in _map(said, "global"):
        if name != "router":
            made.leave(f"global.{name}", INSTEAD.get(name, NOTHING))
    if "similarity_threshold" in _map(said, "semantic_cache"):
        made.leave("semantic_cache.similarity_threshold", CACHED)


def _map(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    return found if isinstance(found, dict) else {}


def _maps(said: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """
    Raises:
        BadFile
    """
    found = said.get(name) or []
    if not (isinstance(found, list) and all(isinstance(one, dict) for one in found)):
        raise BadFile(f"{name} is no list of objects")
    return found


def _named(said: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {str(one.get("name")): one for one in _maps(said, name)}
