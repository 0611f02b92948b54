"""Portkey's gateway: a config as JSON, as its documentation has it (portkey.ai/docs/product/ai-gateway/configs)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from services.mesh.adopting.settings import (
    ELSEWHERE,
    ENTRA,
    ENTRA_INSTEAD,
    NOTHING,
    SAMPLING,
    Adopted,
    BadFile,
    base_url,
    name_of,
    present,
    sampling,
    usual_key,
)
from services.models.presets import PRESETS

PROVIDERS = {
    "azure-openai": "azure",
    "fireworks-ai": "fireworks",
    "google": "google",
    "mistral-ai": "mistral",
    "perplexity-ai": "perplexity",
    "together-ai": "together",
    "vertex-ai": "vertex",
    "x-ai": "xai",
    **{name: name for name in (*PRESETS, *ELSEWHERE)},
}
AZURE = "https://{}.openai.azure.com"
MILLISECONDS = 1000.0
GROUPS = {"$and": "all", "$or": "any"}
TAKEN = frozenset(("provider", "api_key", "virtual_key", "override_params", "custom_host", "weight", "azure_resource_name", "name",
                   "azure_deployment_id", "azure_api_version", "aws_region", "vertex_project_id", "vertex_region",
                   "vertex_service_account_json", "request_timeout", "strategy", "targets", "cache"))  # fmt: skip
AROUND = frozenset(("targets", "strategy", "cache", "weight", "name"))
"""Of a group of targets alone."""
ENTRAS = (
    "azure_auth_mode",
    "azure_entra_tenant_id",
    "azure_entra_client_id",
    "azure_entra_client_secret",
    "azure_ad_token",
)
INSTEAD = {
    **dict.fromkeys(ENTRAS, ENTRA_INSTEAD),
    "retry": "retries come out of a budget, one for five calls, and go to another deployment first",
    "input_guardrails": "the guard masks private data without settings; policies: docs/policies.md",
    "output_guardrails": "the guard looks at answers, too; policies: docs/policies.md",
    "before_request_hooks": "the guard masks private data without settings; policies: docs/policies.md",
    "after_request_hooks": "the guard looks at answers, too; policies: docs/policies.md",
    "prompt_id": "templates are the registry's: docs/prompts.md",
}


def adopted(text: str) -> Adopted:
    """
    Raises:
        BadFile
    """
    try:
        said = json.loads(text)
    except ValueError as error:
        raise BadFile(f"it is no JSON: {error}") from None
    if not isinstance(said, dict) or not (said.get("targets") or said.get("provider") or said.get("virtual_key")):
        raise BadFile("it names neither targets nor a provider: is it a config of Portkey's gateway?")
    made = Adopted()
    found = [
        (name, where, weight)
        for where, one, weight in _targets(made, "", said, 1.0)
        if (name := _model(made, where, one))
    ]
    mode = (said.get("strategy") or {}).get("mode", "single")
    names = list(dict.fromkeys(name for name, _, _ in found))
    if mode == "loadbalance" and len(names) > 1:
        weights = {name: sum(weight for mine, _, weight in found if mine == name) for name in names}
        whole = sum(weights.values()) or 1.0
        shares = {name: round(weight / whole, 4) for name, weight in weights.items() if weight}
        made.policy.update(models=names, weights=shares)
    elif mode == "fallback" and names:
        made.policy.update(rule="fixed", model=names[0], models=names)
    elif mode == "conditional":
        _conditional(made, said, [(name, where) for name, where, _ in found])
    if max_age := (said.get("cache") or {}).get("max_age"):
        made.others["cache"] = {"ttl_s": float(max_age)}
    return made


def _conditional(made: Adopted, said: Mapping[str, Any], found: Sequence[tuple[str, str]]) -> None:
    """Routes, in the order of the conditions; a condition on the model that is asked for becomes another name of its target's."""
    behind = {
        str(one.get("name")): list(dict.fromkeys(name for name, where in found if _under(f"targets[{n}]", where)))
        for n, one in enumerate(said["targets"])
    }
    routes = []
    strategy = said["strategy"]
    for n, one in enumerate(strategy.get("conditions") or ()):
        where, then = f"strategy.conditions[{n}]", str(one.get("then"))
        models, query = behind.get(then) or [], one.get("query") or {}
        if not models:
            made.leave(where, f"{then} is no target of the config's, or none that was taken over")
        elif asked := _named_by(query):
            for other in asked:
                made.catalogue.setdefault(name_of(other), deepcopy(made.catalogue[models[0]]))
        elif (when := _when(query)) is None:
            made.leave(where, "a route looks at labels (`metadata`), at what a text says and is about: docs/routing.md")
        else:
            routes.append({"name": f"{then}-{n + 1}", "when": when, "models": models, "rule": "fixed"})
    usual = behind.get(str(strategy.get("default"))) or next(filter(None, behind.values()), [])
    if usual:
        made.policy.update(rule="fixed", model=usual[0], models=list(dict.fromkeys(name for name, _ in found)))
    if routes:
        made.policy["routes"] = routes


def _under(above: str, where: str) -> bool:
    return where == above or where.startswith(f"{above}.")


def _named_by(query: Mapping[str, Any]) -> list[str]:
    """The names by which a condition says which model is asked for; none where it says something else."""
    if set(query) != {"params.model"}:
        return []
    said = query["params.model"]
    if isinstance(said, str):
        return [said]
    return [*said.get("$in", ()), *([said["$eq"]] if "$eq" in said else ())] if set(said) <= {"$eq", "$in"} else []


def _when(query: Mapping[str, Any]) -> dict[str, Any] | None:
    """None for what has no counterpart."""
    parts = []
    for name, said in query.items():
        if name in GROUPS:
            inner = [_when(one) for one in said]
            part = None if None in inner else {GROUPS[name]: inner}
        else:
            part = _label(name, said)
        if part is None:
            return None
        parts.append(part)
    return parts[0] if len(parts) == 1 else {"all": parts}


def _label(name: str, said: Any) -> dict[str, Any] | None:
    room, _, label = name.partition(".")
    tests = said if isinstance(said, dict) else {"$eq": said}
    if room != "metadata" or not tests or set(tests) - {"$eq", "$ne", "$in", "$nin"}:
        return None
    parts = []
    for test, value in tests.items():
        values = [str(one) for one in (value if isinstance(value, list) else [value])]
        holds = {"metadata": {label: values}}
        parts.append({"none": [holds]} if test in ("$ne", "$nin") else holds)
    return parts[0] if len(parts) == 1 else {"all": parts}


def _targets(
    made: Adopted, where: str, said: Mapping[str, Any], weight: float
) -> Iterator[tuple[str, Mapping[str, Any], float]]:
    """Those that are called, wherever they are nested, each with its share. What stands around them counts for them, too."""
    at = f"{where}." if where else ""
    for left in [left for left in said if left not in TAKEN]:
        made.leave(f"{at}{left}", INSTEAD.get(left, NOTHING))
    inner = said.get("targets")
    if not inner:
        yield where or "config", said, weight
        return
    if not (isinstance(inner, list) and all(isinstance(one, dict) for one in inner)):
        raise BadFile(f"{at}targets is no list of objects")
    shared = {name: value for name, value in said.items() if name in TAKEN - AROUND}
    first = (said.get("strategy") or {}).get("mode") == "fallback"  # the others are called when it fails
    parts = [float(n == 0) if first else float(one.get("weight", 1)) for n, one in enumerate(inner)]
    for n, one in enumerate(inner):
        yield from _targets(made, f"{at}targets[{n}]", {**shared, **one}, weight * parts[n] / (sum(parts) or 1.0))


def _model(made: Adopted, where: str, one: Mapping[str, Any]) -> str:
    """Takes a target over; the name that its model has, '' where it has none."""
    params, said = one.get("override_params") or {}, str(one.get("provider") or "")
    provider, _, model = said.removeprefix("@").partition("/") if said.startswith("@") else (said, "", "")
    model = model or str(params.get("model") or one.get("azure_deployment_id") or "")
    if model.startswith("@"):
        provider, _, model = model.removeprefix("@").partition("/")
    if provider not in PROVIDERS:
        made.leave(
            f"{where}: {said or one.get('virtual_key')}",
            "who that is stands in Portkey's vault, or Tollway speaks no wire of theirs",
        )
        return ""
    if not model:
        made.leave(
            f"{where}: {said}", "it names no model, since callers do: write an entry for each under `models.catalogue`"
        )
        return ""
    ours, name = PROVIDERS[provider], name_of(model)
    url = str(one.get("custom_host") or "")
    if ours == "azure" and one.get("azure_resource_name"):
        url = AZURE.format(one["azure_resource_name"])
    key = str(one.get("api_key") or usual_key(ours))
    if ours == "azure" and not one.get("api_key") and any(one.get(name) for name in ENTRAS):
        key = ENTRA
    if account := one.get("vertex_service_account_json"):
        key = account if isinstance(account, str) else json.dumps(account)
    if one.get("virtual_key") and not one.get("api_key"):
        made.leave(
            f"{where}.virtual_key",
            f"the key stands in Portkey's vault: put it into {key.removeprefix('env:') or 'the settings'}",
        )
    place = present({"model": one.get("azure_deployment_id") or model, "base_url": base_url(ours, url), "region": one.get("aws_region") or one.get("vertex_region"),
                     "project": one.get("vertex_project_id"),
                     "keys": [key] if key else ""})  # fmt: skip
    if name in made.catalogue and made.catalogue[name]["provider"] != ours:
        name = f"{name}@{ours}"
    entry = made.catalogue.setdefault(name, {"provider": ours, "model": model, **_said(one, params), "deployments": []})
    entry["deployments"].append(place)
    for left in [left for left in params if left not in ("model", "max_tokens", *SAMPLING)]:
        made.leave(f"{where}.override_params.{left}", NOTHING)
    return name


def _said(one: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    made = present({"api_version": one.get("azure_api_version"), "max_output_tokens": params.get("max_tokens")})
    if one.get("request_timeout"):
        made["first_byte_s"] = float(one["request_timeout"]) / MILLISECONDS
    if defaults := sampling(params):
        made["defaults"] = defaults
    return made
