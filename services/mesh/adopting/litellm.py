"""LiteLLM's proxy: `config.yaml`, as its documentation has it (docs.litellm.ai/docs/proxy/configs)."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from services.mesh.adopting.litellm_guardrails import guardrails
from services.mesh.adopting.litellm_mcp import servers
from services.mesh.adopting.settings import (
    ELSEWHERE,
    ENTRA,
    ENTRA_INSTEAD,
    NOTHING,
    RANKERS,
    SAMPLING,
    THRESHOLD,
    Adopted,
    BadFile,
    a_million,
    base_url,
    name_of,
    of_yaml,
    present,
    sampling,
    usual_key,
)
from services.models.presets import PRESETS

PROVIDERS = {
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "hosted_vllm": "vllm",
    "jina_ai": "jina",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "together_ai": "together",
    "vertex_ai": "vertex",
    **{name: name for name in (*PRESETS, *ELSEWHERE)},
}
"""The first part of a model's name, and who that is here."""
BARE = (("gpt-", "openai"), ("chatgpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
        ("text-embedding-", "openai"), ("claude-", "anthropic"))  # fmt: skip
"""Whose a model is whose name begins so, where no provider is named."""
OTHER_MAKERS = ("mistral", "codestral", "jamba")
"""Makers whose models Vertex has on wires of their own."""
BEDROCK_WAYS = ("converse/", "invoke/")
VERTEX_REGION = "us-central1"
"""LiteLLM's own, where nothing is said."""
ABILITIES: Mapping[str, Mapping[str, bool | int]] = {
    "audio_speech": {"character_tokens": 1},
    "audio_transcription": {"second_tokens": 1},
    "embedding": {"embeddings": True},
    "image_generation": {"image_tokens": 6240},  # the most that gpt-image-1 bills for one
    "moderation": {"moderation": True},
    "realtime": {"realtime": True},
    "rerank": {"rerank": True},
}
BY_TOKENS: Mapping[str, Mapping[str, bool | int]] = {
    "audio_speech": {"character_tokens": 3, "speech_events": True},  # gpt-4o-mini-tts, spoken slowly
    "audio_transcription": {"second_tokens": 10},  # gpt-4o-transcribe
}
"""OpenAI's `gpt-4o-...` are billed by tokens, where others are by the character that they speak and the second that they hear."""
VARIABLE = "os.environ/"
PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_reasoning_token": "reasoning",
}
CHOOSER = "auto_router/"
"""Begins the model of an entry that chooses among the others."""
CHOOSES = frozenset(("model", "auto_router_config", "auto_router_default_model", "auto_router_embedding_model"))
CALL, CHARACTER = "input_cost_per_query", "input_cost_per_character"
"""Prices of models that read and write no tokens."""
SEARCHES, SEARCH = "supports_web_search", "search_context_cost_per_query"
"""Whether a model searches the web, and what that costs, by how much of it the model reads."""
ABLE = {
    "supports_vision": "vision",
    "supports_function_calling": "tools",
    "supports_response_schema": "json_schema",
}
TAKEN = frozenset(
    ("model", "api_base", "base_url", "api_key", "api_version", "max_tokens", "max_parallel_requests", "timeout", "stream_timeout",
     "aws_region_name", "region_name", "vertex_location", "vertex_project", "vertex_credentials", *SAMPLING, *PRICES,
     CALL, CHARACTER, SEARCH)
)  # fmt: skip
ENTRAS = ("tenant_id", "client_id", "client_secret", "azure_ad_token")
INSTEAD = {
    **dict.fromkeys(ENTRAS, ENTRA_INSTEAD),
    "rpm": "what a provider says in its rate-limit headers is heeded; a limit of your own: `tollway budgets set ACCOUNT Nrequests --per minute --model NAME`",
    "tpm": "what a provider says in its rate-limit headers is heeded; a limit of your own: `tollway budgets set ACCOUNT Ntokens --per minute --model NAME`",
    "weight": "the less busy of a model's deployments is asked; shares among models: `router.policies.TENANT.weights`",
    "max_budget": "`tollway budgets set ACCOUNT AMOUNTusd --per month`",
    "budget_duration": "`--per` of `tollway budgets set`: minute, day, month or rolling",
    "num_retries": "retries come out of a budget, one for five calls, and go to another deployment first",
    "content_policy_fallbacks": "say what may go where in a policy of the guard: docs/policies.md",
    "routing_strategy": "`router.policies.TENANT.rule`, of requests for `auto`; a model's deployments: the less busy of two",
    "allowed_fails": "a deployment is out after five failures in a row, and back after a probe",
    "cooldown_time": "a deployment is out after five failures in a row, and back after a probe",
    "success_callback": "`process.otlp_endpoint` sends traces and metrics, `gen_ai.*`, to any OpenTelemetry collector",
    "failure_callback": "`process.otlp_endpoint` sends traces and metrics, `gen_ai.*`, to any OpenTelemetry collector",
    "callbacks": "`process.otlp_endpoint` sends traces and metrics, `gen_ai.*`, to any OpenTelemetry collector",
    "drop_params": "what a wire cannot carry is refused with the word for it",
    "master_key": "`tollway keys create ACCOUNT --admin`",
    "database_url": "`ledger.database_url`, `jobs.database_url`, `registry.database_url`, `retrieval.database_url`: a database of Tollway's own",
    "auto_router_config_path": "put what the file holds into `auto_router_config`, and take it over again",
    "complexity_router_config": "`auto` asks the cheapest model that is predicted to get it right; by hand: `harder_than` of a route",
    "environment_variables": "set them where Tollway runs",
    "alerting": "`tollway alerts hook` sends them to a webhook",
    "cache_params.type": "the cache is Qdrant's engine in the process; a server: `cache.store`",
    "cache_params.similarity_threshold": "a semantic hit is proven, and `cache.error_bound` of look-ups may be answered wrongly",
}  # fmt: skip
SECTIONS = ("litellm_settings", "router_settings", "general_settings")
SERVERS, GUARDRAILS = "mcp_servers", "guardrails"
KNOWN = frozenset(("model_list", SERVERS, GUARDRAILS, *SECTIONS))
MODES = ("chat", "completion", "responses", *ABILITIES)
TOLD = frozenset(
    ("id", "base_model", "mode", "max_tokens", "max_input_tokens", "max_output_tokens", *ABLE, *PRICES, CALL, CHARACTER, SEARCHES, SEARCH)
)  # fmt: skip
"""Of `model_info`: taken over, or of no use here."""
FALLBACKS = ("fallbacks", "context_window_fallbacks", "default_fallbacks")
SILENT = frozenset((*FALLBACKS, "set_verbose", "json_logs", "telemetry", "store_model_in_db", "cache", "cache_params", "request_timeout",
                    "model_group_alias", "enable_pre_call_checks"))  # fmt: skip
"""Taken elsewhere, or of no use here."""


def adopted(text: str, environ: Mapping[str, str]) -> Adopted:
    """Settings of `text`; addresses that stand in variables are read from `environ`.

    Raises:
        BadFile
    """
    said = of_yaml(text)
    if not isinstance(said, dict) or not isinstance(said.get("model_list"), list):
        raise BadFile("it has no `model_list`: is it a config.yaml of LiteLLM's proxy?")
    made = Adopted()
    for n, one in enumerate(said["model_list"]):
        _model(made, f"model_list[{n}]", one, environ)
    for section in SECTIONS:
        _section(made, section, said.get(section) or {})
    for n, one in enumerate(said["model_list"]):
        if _chooses(one):
            _auto(made, f"model_list[{n}]", one)
    servers(made, SERVERS, said.get(SERVERS) or {})
    guardrails(made, GUARDRAILS, said.get(GUARDRAILS))
    for name in sorted(said.keys() - KNOWN):
        made.leave(name, INSTEAD.get(name, NOTHING))
    return made


def _model(made: Adopted, where: str, one: Any, environ: Mapping[str, str]) -> None:
    params = (one.get("litellm_params") if isinstance(one, dict) else None) or {}
    if not (isinstance(params, dict) and isinstance(params.get("model"), str) and one.get("model_name")):
        raise BadFile(f"{where} has no model_name, or no litellm_params.model")
    if _chooses(one):
        return  # among the others, once they are known
    info, name = one.get("model_info") or {}, name_of(str(one["model_name"]))
    provider, model = _whose(params["model"], params)
    if not provider or "*" in name or "*" in model or info.get("mode", "chat") not in MODES:
        reason = (
            "name each model" if "*" in params["model"] else "no wire of Tollway's speaks to it, or no path of its edge"
        )
        made.leave(f"{where}: {params['model']}", reason)
        return
    url = str(params.get("api_base") or params.get("base_url") or "")
    if url.startswith(VARIABLE):
        variable, url = url, environ.get(url.removeprefix(VARIABLE), "")
        if not url:
            made.leave(
                f"{where}.api_base: {variable}", "the variable is empty here: write the address into the settings"
            )
    ranks = RANKERS.get(provider, "") if info.get("mode") == "rerank" else ""
    place: dict[str, Any] = {"model": model, "base_url": base_url(provider, url or ranks)}
    region, key = (
        params.get("aws_region_name") or params.get("region_name") or "",
        _key(provider, params.get("api_key")),
    )
    if provider == "vertex":
        region, key = params.get("vertex_location") or VERTEX_REGION, _lying(params.get("vertex_credentials"), environ)
    elif provider == "azure" and not params.get("api_key") and any(name in params for name in ENTRAS):
        key = ENTRA
    place |= {"region": region, "project": params.get("vertex_project") or ""}
    place |= {"keys": [key], "concurrency": params.get("max_parallel_requests") or 0}
    own = {key: value for key, value in place.items() if value not in ("", 0, [""])}
    name = _joined(made, where, name, provider, own, _entry(params, info, model))
    _priced(made, where, name, {**info, **params})
    for key in [key for key in params if key not in TAKEN] + [key for key in ("rpm", "tpm") if key in one]:
        made.leave(f"{where}.{key}", INSTEAD.get(key, NOTHING))
    for key in [key for key in info if key not in TOLD]:
        made.leave(f"{where}.model_info.{key}", INSTEAD.get(key, NOTHING))


def _chooses(one: Mapping[str, Any]) -> bool:
    return str(one["litellm_params"]["model"]).startswith(CHOOSER)


def _auto(made: Adopted, where: str, one: Mapping[str, Any]) -> None:
    """A router among models is asked for as `auto` is; its utterances are examples of routes."""
    params = one["litellm_params"]
    made.others.setdefault("orchestrator", {"auto_names": []})["auto_names"].append(str(one["model_name"]))
    told = params.get("auto_router_config") or {}
    try:
        found = (json.loads(told) if isinstance(told, str) else told).get("routes") or []
    except (ValueError, AttributeError):
        raise BadFile(f"{where}.litellm_params.auto_router_config is no JSON object") from None
    for way in found:
        if (name := name_of(str(way.get("name")))) not in made.catalogue:
            made.leave(f"{where}.auto_router_config: {way.get('name')}", "it is none of the models")
            continue
        route = {"name": name, "when": {"like": list(way.get("utterances") or ())}, "models": [name], "rule": "fixed"}
        made.policy.setdefault("routes", []).append(route)
        if "score_threshold" in way:
            made.leave(f"{where}.auto_router_config: {name}.score_threshold", THRESHOLD)
    if usual := params.get("auto_router_default_model"):
        made.policy.update(rule="fixed", model=name_of(str(usual)))
    for key in [key for key in params if key not in CHOOSES]:
        made.leave(f"{where}.{key}", INSTEAD.get(key, NOTHING))


def _followed(made: Adopted, section: str, said: Mapping[str, Any]) -> None:
    """Who answers when a model cannot, whatever the reason."""
    lists = [
        (str(name), names) for kind in FALLBACKS[:2] for one in said.get(kind) or () for name, names in one.items()
    ]
    lists += [("*", said.get(FALLBACKS[2]) or ())]
    for name, names in lists:
        ours = [name_of(str(one)) for one in names if isinstance(one, str)]
        known = [one for one in ours if one in made.catalogue]
        if len(known) < len(names):
            made.leave(f"{section}.fallbacks: {name}", "fallbacks are models of the catalogue, by name")
        if known:
            made.follow(name_of(name) if name != "*" else name, known)


def _whose(said: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """The provider, '' for one that is not spoken to, and its name for the model."""
    first, slash, rest = said.partition("/")
    if slash and first in PROVIDERS:
        for way in BEDROCK_WAYS if first == "bedrock" else ():
            rest = rest.removeprefix(way)
        unspoken = first == "vertex_ai" and rest.startswith(OTHER_MAKERS)
        return "" if unspoken else PROVIDERS[first], rest
    begins = next((provider for start, provider in BARE if said.startswith(start)), "")
    return begins or ("openai" if params.get("api_base") and not slash else ""), said


def _key(provider: str, said: object) -> str:
    if not said:
        return usual_key(provider)
    return f"env:{str(said).removeprefix(VARIABLE)}" if str(said).startswith(VARIABLE) else str(said)


def _lying(said: object, environ: Mapping[str, str]) -> str:
    """A reference to what Google is shown: the JSON itself, a file's path, or a variable with either; none where its tools find it."""
    if isinstance(said, dict):
        return json.dumps(said)
    named = str(said or "")
    variable = named.removeprefix(VARIABLE) if named.startswith(VARIABLE) else ""
    there = environ.get(variable, "") if variable else named
    if there.lstrip().startswith("{") or (variable and not there):
        return f"env:{variable}" if variable else there
    return f"file:{there}" if there else ""


def _entry(params: Mapping[str, Any], info: Mapping[str, Any], model: str) -> dict[str, Any]:
    made: dict[str, Any] = {"model": str(info.get("base_model") or model).removeprefix("azure/")}
    made |= {ours: bool(info[theirs]) for theirs, ours in ABLE.items() if theirs in info}
    made |= present({"api_version": params.get("api_version"), "context_tokens": info.get("max_input_tokens"),
                     "max_output_tokens": params.get("max_tokens") or info.get("max_output_tokens") or info.get("max_tokens"),
                     "first_byte_s": params.get("stream_timeout") or params.get("timeout")})  # fmt: skip
    if info.get(SEARCHES) and "search" in made["model"]:
        made["web_search"] = True  # OpenAI's other models search over `responses` alone
    mode = info.get("mode", "")
    made |= ABILITIES.get(mode, {})
    if made["model"].startswith("gpt-4o"):
        made |= BY_TOKENS.get(mode, {})
    if defaults := sampling(params):
        made["defaults"] = defaults
    return made


def _joined(made: Adopted, where: str, name: str, provider: str, place: dict[str, Any], entry: dict[str, Any]) -> str:
    """A second deployment of a model that is there joins it; one of another provider gets a name of its own. The name that it has then."""
    known = made.catalogue.get(name)
    if known is not None and known["provider"] != provider:
        made.leave(where, f"it is `{name}@{provider}`, which answers when `{name}` cannot: a model has one provider")
        first, name = name, f"{name}@{provider}"
        made.follow(first, [name])
        known = made.catalogue.get(name)
    if known is None:
        made.catalogue[name] = {"provider": provider, **entry, "deployments": [place]}
        return name
    known["deployments"].append(place)
    if other := sorted(key for key, value in entry.items() if key != "model" and known.get(key) != value):
        made.leave(where, f"a model's deployments share what the first says: {', '.join(other)}")
    return name


def _priced(made: Adopted, where: str, name: str, facts: Mapping[str, Any]) -> None:
    prices = {ours: a_million(facts[theirs]) for theirs, ours in PRICES.items() if facts.get(theirs) is not None}
    if (call := facts.get(CALL)) is not None:
        prices = {"input": "0", "output": "0", **prices, "call": str(call)}
    if (character := facts.get(CHARACTER)) is not None:
        prices = {"input": "0", **prices, "output": a_million(character)}
    if "input" in prices and (searches := facts.get(SEARCH)):
        prices["web_search"] = str(max(searches.values()))
    if "input" in prices and "output" in prices:
        made.prices.setdefault(name, prices)
    elif prices:
        made.leave(f"{where}: {', '.join(prices)}", "a price has both `input` and `output`: `ledger.prices`")


def _section(made: Adopted, section: str, said: Mapping[str, Any]) -> None:
    for alias, target in (said.get("model_group_alias") or {}).items():
        target = target.get("model") if isinstance(target, dict) else target
        if target in made.catalogue:
            made.catalogue.setdefault(name_of(str(alias)), deepcopy(made.catalogue[target]))
            if target in made.prices:
                made.prices.setdefault(name_of(str(alias)), dict(made.prices[target]))
    _followed(made, section, said)
    cache = said.get("cache_params") or {}
    if cache.get("ttl"):
        made.others["cache"] = {"ttl_s": float(cache["ttl"])}
    for key in [key for key in cache if key != "ttl"]:
        made.leave(f"{section}.cache_params.{key}", INSTEAD.get(f"cache_params.{key}", NOTHING))
    if said.get("cache") is False:
        made.leave(f"{section}.cache", "the cache is on; a request says `cache-control: no-store` where it may not be")
    if said.get("request_timeout"):
        made.others.setdefault("edge", {})["deadline_s"] = float(said["request_timeout"])
    for key in sorted(said.keys() - SILENT):
        if said[key] not in (None, [], {}, ""):
            made.leave(f"{section}.{key}", INSTEAD.get(key, NOTHING))
