"""LiteLLM's `mcp_servers`, as its documentation has them (docs.litellm.ai/docs/mcp)."""

import re
from collections.abc import Mapping
from typing import Any

from services.mesh.adopting.settings import NOTHING, Adopted, BadFile

VARIABLE = "os.environ/"
SPOKEN = {"http", "streamable_http", "stdio"}
SSE = "the transport that MCP gave up in 2025: ask the server at its streamable HTTP address, most have one at `/mcp`"
BEARERS, KEYS = frozenset(("bearer_token", "oauth2_token")), {"api_key": "x-api-key", "authorization": "authorization"}
"""How a secret is shown: after `Bearer`, or as a header by itself."""
SECRETS = ("auth_value", "authentication_token")
TAKEN = frozenset(
    ("url", "transport", "auth_type", "command", "args", "env", "static_headers", "allowed_tools", "disallowed_tools", "timeout",
     "mcp_info", "oauth2_flow", "client_id", "client_secret", "token_url", "scopes", *SECRETS)
)  # fmt: skip
SILENT = frozenset(("description", "spec_version", "alias", "server_id", "available_on_public_internet"))
INSTEAD = {
    "extra_headers": "what a caller sends goes to no server: name headers of your own under `headers`",
    "mcp_access_groups": "who may use it: `accounts`, and keys with `tools/NAME` among their models",
    "access_groups": "who may use it: `accounts`, and keys with `tools/NAME` among their models",
    "allow_all_keys": "every key may, unless `accounts` or the key's models say otherwise",
    "allowed_params": "arguments are held against the tool's own schema",
}
COST = "mcp_server_cost_info"


def servers(made: Adopted, where: str, said: Any) -> None:
    """Takes over all servers of a file.

    Raises:
        BadFile
    """
    if not isinstance(said, Mapping) or not all(isinstance(one, Mapping) for one in said.values()):
        raise BadFile(f"`{where}` is no mapping of servers")
    found = {}
    for name, one in said.items():
        if entry := _server(made, f"{where}.{name}", one):
            found[_name(str(name))] = entry
    if found:
        made.others.setdefault("tools", {})["servers"] = found


def _server(made: Adopted, where: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """An entry; empty for one that cannot be spoken to."""
    usual = "stdio" if one.get("command") else "http"
    transport, url = str(one.get("transport") or usual), str(one.get("url") or "")
    if transport not in SPOKEN or (usual == "http" and url.rstrip("/").endswith("/sse")):
        made.leave(f"{where}: {transport}", SSE)
        return {}
    entry: dict[str, Any] = {"url": url}
    if one.get("command"):
        entry = {"command": [str(one["command"]), *map(str, one.get("args") or ())]}
        if env := one.get("env"):
            entry["environment"] = {name: _reference(value) for name, value in env.items()}
    headers = {str(name).lower(): _reference(value) for name, value in (one.get("static_headers") or {}).items()}
    _shown(made, where, one, entry, headers)
    if headers:
        entry["headers"] = headers
    for theirs, ours in (("allowed_tools", "tools"), ("disallowed_tools", "hidden")):
        if one.get(theirs):
            entry[ours] = list(one[theirs])
    if one.get("timeout"):
        entry["call_s"] = float(one["timeout"])
    _priced(made, where, (one.get("mcp_info") or {}).get(COST) or {}, entry)
    for key in sorted(one.keys() - TAKEN - SILENT):
        if one[key] not in (None, [], {}, ""):
            made.leave(f"{where}.{key}", INSTEAD.get(key, NOTHING))
    return entry


def _shown(made: Adopted, where: str, one: Mapping[str, Any], entry: dict[str, Any], headers: dict[str, str]) -> None:
    """The secret that the server wants to see."""
    kind = str(one.get("auth_type") or "none")
    secret = next((_reference(one[name]) for name in SECRETS if one.get(name)), "")
    if kind == "oauth2" and one.get("oauth2_flow") != "authorization_code" and _said(one.get("token_url")):
        named = {name: _reference(one.get(name) or "") for name in ("client_id", "client_secret")}
        entry["oauth"] = {**named, "token_url": str(one["token_url"]), "parameters": {"resource": ""}}  # as they ask
        if one.get("scopes"):
            entry["oauth"]["scopes"] = list(one["scopes"])
    elif kind in BEARERS:
        entry["key"] = secret
    elif kind in KEYS:
        headers[KEYS[kind]] = secret
    elif kind != "none":
        made.leave(
            f"{where}.auth_type: {kind}",
            "show the server a token by `key`, a header by `headers`, or say by `oauth` who gives us one",
        )


def _priced(made: Adopted, where: str, cost: Mapping[str, Any], entry: dict[str, Any]) -> None:
    if (call := cost.get("default_cost_per_query")) is not None:
        entry["prices"] = {"call": str(call)}
    if cost.get("tool_name_to_cost_per_query"):
        made.leave(
            f"{where}.mcp_info.{COST}.tool_name_to_cost_per_query", "a server's calls cost the same, whichever tool"
        )


def _said(address: object) -> bool:
    """Whether it stands there, and in no variable."""
    return bool(address) and not str(address).startswith(VARIABLE)


def _reference(said: object) -> str:
    text = str(said)
    return f"env:{text.removeprefix(VARIABLE)}" if text.startswith(VARIABLE) else text


def _name(said: str) -> str:
    """As servers are called here."""
    return re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", said.lower())).strip("-_")[:32]
