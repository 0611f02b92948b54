"""MCP's messages: JSON-RPC, in the revisions that begin with a handshake, and in the one that needs none. Pure."""

import itertools
from collections.abc import Mapping
from typing import Any

MODERN = "2026-07-28"
"""Each request says by itself what its sender speaks."""
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Spoken once both sides have agreed; the first is what we ask for."""
US = {"name": "tollway", "version": "1"}
METHOD_NOT_FOUND = -32601
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
WHO_KEY = "io.modelcontextprotocol/clientInfo"
ABLE_KEY = "io.modelcontextprotocol/clientCapabilities"

Message = dict[str, Any]
_numbers = itertools.count(1)


def request(method: str, params: Mapping[str, Any], version: str) -> Message:
    said = dict(params)
    if version == MODERN:
        said["_meta"] = {VERSION_KEY: MODERN, WHO_KEY: US, ABLE_KEY: {}, **said.get("_meta", {})}
    return {"jsonrpc": "2.0", "id": next(_numbers), "method": method, "params": said}


def notification(method: str, params: Mapping[str, Any] | None = None) -> Message:
    return {"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})}


def introduction() -> Message:
    return request("initialize", {"protocolVersion": HANDSHAKE[0], "capabilities": {}, "clientInfo": US}, "")


def reply(asked: Message) -> Message:
    """To a server that asks us: we are there, and that is all we can do."""
    if asked.get("method") == "ping":
        return {"jsonrpc": "2.0", "id": asked["id"], "result": {}}
    return failure(asked["id"], METHOD_NOT_FOUND, "not supported")


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
