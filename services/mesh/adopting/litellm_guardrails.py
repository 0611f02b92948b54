"""LiteLLM's `guardrails`, as its documentation has them (docs.litellm.ai/docs/proxy/guardrails): those behind its Generic Guardrail API
become checks of a policy, which is a file of its own."""

from collections.abc import Mapping
from typing import Any

import yaml

from services.mesh.adopting.settings import Adopted

VARIABLE = "os.environ/"
GENERIC = "generic_guardrail_api"
MODES = {"pre_call": "prompt", "during_call": "prompt", "post_call": "completion"}
INSTEAD = "the guard masks private data without settings; policies, and checks of your own: docs/policies.md"


def guardrails(made: Adopted, where: str, said: Any) -> None:
    """Tells the check that stands for each of them."""
    found = [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []
    checks = {n: check for n, one in enumerate(found) if (check := _check(one))}
    for n, check in checks.items():
        line = yaml.safe_dump(check, default_flow_style=True, sort_keys=False, width=1 << 20).strip()
        made.leave(f"{where}[{n}]", f"in a policy of the guard (docs/policies.md), under `checks`: - {line}")
    if said and len(checks) < max(len(found), 1):
        made.leave(where, INSTEAD)


def _check(one: Mapping[str, Any]) -> dict[str, Any]:
    """Empty for one that is something else."""
    params = one.get("litellm_params")
    if not isinstance(params, Mapping) or params.get("guardrail") != GENERIC:
        return {}
    mode = params.get("mode") or "pre_call"
    modes = mode if isinstance(mode, list) else [mode]
    check = {
        "name": str(one.get("guardrail_name") or GENERIC),
        "url": str(params.get("api_base") or ""),
        "on": sorted({MODES[str(said)] for said in modes if str(said) in MODES}, reverse=True) or ["prompt"],
    }
    if key := str(params.get("api_key") or ""):
        check["key"] = f"env:{key.removeprefix(VARIABLE)}" if key.startswith(VARIABLE) else "env:NAME"
    if params.get("unreachable_fallback") == "fail_open" or params.get("fail_on_error") is False:
        check["fails"] = "open"
    if more := params.get("additional_provider_specific_params"):
        check["params"] = more
    return check
