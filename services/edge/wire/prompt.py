"""A template that a request begins with: `prompt`, as OpenAI's Responses have it, and as our chat completions have it, too."""

from typing import Annotated, Any

from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import as_json

SHOWN = len("sha256:") + 12


class Prompt(Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=192)]
    """`name`, `name@label`, `name@number`."""
    version: Annotated[str, Meta(max_length=80)] | None = None
    """A label, a number or a digest, where `id` names none."""
    variables: dict[str, Any] | None = None


def named(made: pb.Options, said: Prompt | None) -> pb.Options:
    """`made` with the template."""
    if said is not None:
        made.prompt.reference = f"{said.id}@{said.version}" if said.version else said.id
        made.prompt.variables_json = as_json(said.variables or {}, "prompt.variables")
    return made


def used(made: chat.PromptVersion) -> str:
    """`name@number;sha256:...`, as a header tells it."""
    return f"{made.name}@{made.number};{made.digest[:SHOWN]}"
