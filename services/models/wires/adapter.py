"""What every wire format offers. Adding a provider is one file that fulfils this."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models.catalogue import Deployment, Entry


def _unheard(_: Mapping[str, str]) -> None:
    """For calls whose headers nobody keeps."""


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a call is for, and where it goes."""

    name: str
    """In the mesh."""
    entry: Entry
    place: Deployment
    secret: str = field(default="", repr=False)
    heard: Callable[[Mapping[str, str]], None] = _unheard
    """Told the headers of the answer, whatever its status."""

    @property
    def model(self) -> str:
        """The provider's name for it."""
        return self.place.model

    @property
    def url(self) -> str:
        return self.place.base_url


@dataclass(frozen=True, slots=True)
class Embedded:
    vectors: list[list[float]]
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Reranked:
    scores: list[tuple[int, float]]
    """Which text, and how well it answers; the best first."""
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Moderated:
    texts: list[dict[str, tuple[bool, float]]]
    """For each, by category: whether it belongs there, and how surely, 0 to 1."""
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pictures that are asked for."""

    prompt: str
    count: int
    options: Mapping[str, str | int]
    """By the names that OpenAI gives them; what is left out is the provider's choice."""
    pictures: Sequence[models_pb2.PictureFile] = ()
    """That are changed, or drawn from."""
    mask: models_pb2.PictureFile | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    images: list[models_pb2.GeneratedImage]
    usage: chat.Usage
    options: models_pb2.ImageOptions
    """How they came out, as far as the provider tells."""


@dataclass(frozen=True, slots=True)
class Heard:
    transcript: models_pb2.Transcript
    usage: chat.Usage


@dataclass(frozen=True, slots=True)
class Voiced:
    """A piece of speech."""

    audio: bytes = field(default=b"", repr=False)
    content_type: str = ""
    """Of all of it; in the first piece."""
    usage: chat.Usage | None = None
    """In the last one."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a session."""

    event: str = field(repr=False)
    """As JSON, in the words of OpenAI's Realtime API."""
    usage: chat.Usage | None = None
    """Of the response that it ends."""
    transcript_usage: chat.Usage | None = None
    """Of the transcript that it brings, in tokens ..."""
    transcript_seconds: float | None = None
    """... or in seconds."""


class Session(Protocol):
    """Speech and text both ways."""

    async def send(self, event: str) -> None: ...

    def told(self) -> AsyncIterator[Told]:
        """What the provider says, to the session's end."""
        ...

    async def close(self) -> None:
        """Ends it."""
        ...


class Adapter(Protocol):
    """Each raises the failures of [services.models.faults][] and no other."""

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion: ...

    def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        """Pieces as they come; the last one carries usage. Closing the iterator ends the provider's call."""
        ...

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded: ...


@runtime_checkable
class Ranks(Protocol):
    """What a wire offers besides, where models on it rank texts."""

    async def rerank(self, target: Target, query: str, documents: list[str]) -> Reranked:
        """Every text, once."""
        ...


@runtime_checkable
class Moderates(Protocol):
    """What a wire offers besides, where models on it judge texts."""

    async def moderate(self, target: Target, texts: list[str]) -> Moderated:
        """Every text, in their order."""
        ...


@runtime_checkable
class Draws(Protocol):
    """What a wire offers besides, where models on it make pictures."""

    async def draw(self, target: Target, wanted: Wanted) -> Drawn: ...


@runtime_checkable
class Listens(Protocol):
    """What a wire offers besides, where models on it write down speech."""

    async def transcribe(self, target: Target, recording: models_pb2.Recording, most_s: int) -> Heard:
        """`most_s` is how long it is at most, in seconds: billed where the provider tells nothing."""
        ...


@runtime_checkable
class Speaks(Protocol):
    """What a wire offers besides, where models on it speak."""

    def speak(self, target: Target, text: str, options: models_pb2.SpeechOptions) -> AsyncGenerator[Voiced, None]:
        """Pieces as they come; the last one carries usage. Closing the iterator ends the provider's call."""
        ...


@runtime_checkable
class Converses(Protocol):
    """What a wire offers besides, where models on it hold sessions."""

    def converse(self, target: Target, transcribes: bool) -> AbstractAsyncContextManager[Session]:
        """One that ends with the block; whether what is heard is only written down."""
        ...
