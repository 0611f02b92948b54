"""What a server has beside its tools: prompts, documents, and the forms of addresses of more. Pure."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, TypeVar

from tollway.tools.v1 import tools_pb2 as pb

from services.runtime.mcp import named
from services.tools.contents import content
from services.tools.offered import LARGEST_BYTES, NAME

LONGEST_URI = 2048
Made = TypeVar("Made", pb.Prompt, pb.ResourceEntry)


def prompts(server: str, trusted: bool, told: Iterable[Mapping[str, Any]]) -> dict[str, pb.Prompt]:
    """By their names in the mesh.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: the server tells them in another shape.
    """
    return {made.name: made for said in told if (made := _prompt(server, trusted, said)) is not None}


def resources(server: str, trusted: bool, told: Iterable[Mapping[str, Any]]) -> dict[str, pb.ResourceEntry]:
    """Documents by their addresses; raises as `prompts`."""
    return _entries(lambda said: _entry(server, trusted, said, said["uri"], int(said.get("size") or 0)), told)


def templates(server: str, trusted: bool, told: Iterable[Mapping[str, Any]]) -> dict[str, pb.ResourceEntry]:
    """Forms of addresses; raises as `prompts`."""

    def read(said: Mapping[str, Any]) -> pb.ResourceEntry:
        made = _entry(server, trusted, said, said["uriTemplate"], 0)
        made.template = True
        return made

    return _entries(read, told)


def messages(said: Mapping[str, Any]) -> pb.GetPromptResponse:
    """What a prompt says; raises as `prompts`."""
    return pb.GetPromptResponse(
        description=said.get("description") or "",
        messages=[
            pb.PromptMessage(role=_role(one["role"]), content=content(one["content"])) for one in said["messages"]
        ],
    )


def _role(said: str) -> str:
    if said not in ("user", "assistant"):
        raise ValueError("no role")
    return said


def _entries(
    read: Callable[[Mapping[str, Any]], pb.ResourceEntry], told: Iterable[Mapping[str, Any]]
) -> dict[str, pb.ResourceEntry]:
    return {
        made.uri: made
        for said in told
        if 0 < len((made := read(said)).uri) <= LONGEST_URI and made.ByteSize() <= LARGEST_BYTES
    }


def _prompt(server: str, trusted: bool, said: Mapping[str, Any]) -> pb.Prompt | None:
    """None for one that cannot be named, or that says too much of itself."""
    if not NAME.fullmatch(said["name"]):
        return None
    arguments = [
        pb.PromptArgument(
            name=one["name"], description=one.get("description") or "", required=bool(one.get("required"))
        )
        for one in said.get("arguments") or ()
    ]
    made = pb.Prompt(
        name=named(server, said["name"]),
        server=server,
        title=said.get("title") or "",
        description=said.get("description") or "",
        arguments=arguments,
    )
    return _signed(made, trusted) if made.ByteSize() <= LARGEST_BYTES else None


def _entry(server: str, trusted: bool, said: Mapping[str, Any], uri: str, size: int) -> pb.ResourceEntry:
    made = pb.ResourceEntry(
        server=server,
        uri=uri,
        name=said["name"],
        title=said.get("title") or "",
        description=said.get("description") or "",
        mime_type=said.get("mimeType") or "",
        size=size,
    )
    return _signed(made, trusted)


def _signed(made: Made, trusted: bool) -> Made:
    made.digest = sha256(made.SerializeToString(deterministic=True)).hexdigest()
    made.trusted = trusted
    return made
