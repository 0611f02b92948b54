"""What every wire format offers. Adding a provider is one file that fulfils this."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from tollway.chat.v1 import chat_pb2 as chat

from services.models.catalogue import Entry


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a call is for."""

    name: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Embedded:
    vectors: list[list[float]]
    input_tokens: int


class Adapter(Protocol):
    """Each raises the failures of [services.models.faults][] and no other."""

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion: ...

    def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        """Pieces as they come; the last one carries usage. Closing the iterator ends the provider's call."""
        ...

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded: ...
