"""Portkey's gateway: a config as JSON, as its documentation has it (portkey.ai/docs/product/ai-gateway/configs)."""

import json
from collections.abc import Iterator, Mapping
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
    "conditional": "say who may answer what in `router.policies.TENANT`: models, regions, data_classes",
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
        (name, weight) for where, one, weight in _targets(made, "", said, 1.0) if (name := _model(made, where, one))
    ]
    mode = (said.get("strategy") or {}).get("mode", "single")
    names = list(dict.fromkeys(name for name, _ in found))
    if mode == "loadbalance" and len(names) > 1:
        weights = {name: sum(weight for mine, weight in found if mine == name) for name in names}
        whole = sum(weights.values()) or 1.0
        shares = {name: round(weight / whole, 4) for name, weight in weights.items() if weight}
        made.others["router"] = {"policies": {"*": {"models": names, "weights": shares}}}
    elif mode == "fallback" and names:
        made.others["router"] = {"policies": {"*": {"rule": "fixed", "model": names[0], "models": names}}}
    elif mode == "conditional":
        made.leave("strategy", INSTEAD["conditional"])
    if max_age := (said.get("cache") or {}).get("max_age"):
        made.others["cache"] = {"ttl_s": float(max_age)}
    return made


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
