"""A body as `multipart/form-data`."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from mimetypes import guess_type

QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As browsers write names (WHATWG, HTML, multipart form data)."""
UNKNOWN = "application/octet-stream"
SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
"""How files begin that providers want to be told apart."""


@dataclass(frozen=True, slots=True)
class File:
    part: str
    name: str
    data: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """By the ending of its name, as browsers tell it; of a name without one by how the file begins."""
        begins = (kind for signature, kind in SIGNATURES if signature.match(self.data))
        return guess_type(self.name)[0] or next(begins, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Form:
    fields: Sequence[tuple[str, str]]
    files: Sequence[File]
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def encoded(self) -> bytes:
        return b"".join(self._parts())

    def _parts(self) -> Iterator[bytes]:
        begins = f"--{self.boundary}\r\nContent-Disposition: form-data; name="
        for name, value in self.fields:
            yield f'{begins}"{name}"\r\n\r\n{value}\r\n'.encode()
        for one in self.files:
            told = f'filename="{one.name.translate(QUOTED)}"\r\nContent-Type: {one.kind}'
            yield f'{begins}"{one.part}"; {told}\r\n\r\n'.encode()
            yield one.data
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()
