"""MCP, as those know it who speak it to clients and those who speak it to servers; and what the mesh calls servers' tools."""

import base64
import binascii
import re

MODERN = "2026-07-28"
"""Each request says by itself what its sender speaks."""
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Spoken once both sides have agreed, the latest first."""
US = {"name": "tollway", "version": "1"}
PREFIX = "io.modelcontextprotocol/"
"""Of the protocol's own names in `_meta`."""
NO_METHOD = -32601
HINTS = {
    "readOnlyHint": "read_only",
    "destructiveHint": "destructive",
    "idempotentHint": "idempotent",
    "openWorldHint": "open_world",
}
"""A tool's annotations, and our fields for them."""

BETWEEN = "__"
"""Between a server's name, which has none in it, and its tool's."""
WHOSE = re.compile(r"([a-z0-9](?:[-_]?[a-z0-9]){0,31})\+(?=[A-Za-z][A-Za-z0-9+.\-]*:)")
"""Begins an address behind all servers: whose it is."""
EVERY = "*"
"""Among the names of tools: all of a server, or in a server's place all servers."""

PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
BEGIN, END = "=?base64?", "?="


def named(server: str, own: str) -> str:
    """What the mesh calls a tool that its server calls `own`."""
    return f"{server}{BETWEEN}{own}"


def server_of(name: str) -> str:
    return name.partition(BETWEEN)[0]


def own_name(name: str, server: str) -> str:
    """What `server` calls its tool."""
    return name.removeprefix(f"{server}{BETWEEN}")


def as_header(text: str) -> str:
    """As a header's value: what is not plain, in base64."""
    if PLAIN.fullmatch(text) and not text.startswith(BEGIN):
        return text
    return f"{BEGIN}{base64.b64encode(text.encode()).decode()}{END}"


def of_header(value: bytes) -> str | None:
    """The text that a header's value stands for; None for base64 that is none."""
    said = value.decode("latin-1")
    if not (said.startswith(BEGIN) and said.endswith(END)):
        return said
    try:
        return base64.b64decode(said[len(BEGIN) : -len(END)], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
