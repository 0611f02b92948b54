"""MCP's messages: JSON-RPC, in the revisions that begin with a handshake, and in the one that needs none. Pure."""

import itertools
from collections.abc import Mapping
from typing import Any

from services.runtime.mcp import HANDSHAKE, MODERN, NO_METHOD, PREFIX, US

Message = dict[str, Any]
US_IN_EACH = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientInfo": US, f"{PREFIX}clientCapabilities": {}}
"""What the newest revision wants to hear of us in every request."""
_numbers = itertools.count(1)


def request(method: str, params: Mapping[str, Any], version: str) -> Message:
    said = dict(params)
    if version == MODERN:
        said["_meta"] = {**US_IN_EACH, **said.get("_meta", {})}
    return {"jsonrpc": "2.0", "id": next(_numbers), "method": method, "params": said}


def notification(method: str, params: Mapping[str, Any] | None = None) -> Message:
    return {"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})}


def introduction() -> Message:
    return request("initialize", {"protocolVersion": HANDSHAKE[0], "capabilities": {}, "clientInfo": US}, "")


def reply(asked: Message) -> Message:
    """To a server that asks us: we are there, and that is all we can do."""
    if asked.get("method") == "ping":
        return {"jsonrpc": "2.0", "id": asked["id"], "result": {}}
    return failure(asked["id"], NO_METHOD, "not supported")


def failure(number: Any, code: int, words: str) -> Message:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": words}}


def answers(found: Any, number: int) -> bool:
    """Whether `found` is the answer to request `number`. One that was refused before its number was read has none."""
    if not isinstance(found, dict) or "method" in found:
        return False
    return found.get("id") == number or (found.get("id") is None and "error" in found)


def asks(found: Any) -> bool:
    """Whether `found` is a request of the server's."""
    return isinstance(found, dict) and isinstance(found.get("method"), str) and found.get("id") is not None
