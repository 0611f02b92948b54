"""Pictures that travel within the request, as `data:` URLs."""

from dataclasses import dataclass

from tollway.chat.v1 import chat_pb2 as chat


@dataclass(frozen=True, slots=True)
class Inline:
    media_type: str
    base64: str

    @property
    def format(self) -> str:
        """`png`, `jpeg`, `gif`, `webp`."""
        return self.media_type.partition("/")[2]


def words(message: chat.Message) -> str | None:
    """What it says; None where it shows something, too."""
    if all(part.WhichOneof("part") == "text" for part in message.parts):
        return "".join(part.text for part in message.parts)
    return None


def inline(url: str) -> Inline | None:
    """What a `data:` URL holds; None for any other."""
    if not url.startswith("data:"):
        return None
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return Inline(kind, data)
