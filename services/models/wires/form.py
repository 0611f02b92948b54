"""A body as `multipart/form-data`, with one file."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As browsers write names (WHATWG, HTML, multipart form data)."""


@dataclass(frozen=True, slots=True)
class Form:
    fields: Sequence[tuple[str, str]]
    filename: str
    file: bytes = field(repr=False)
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def encoded(self) -> bytes:
        begins = f"--{self.boundary}\r\nContent-Disposition: form-data; name="
        small = "".join(f'{begins}"{name}"\r\n\r\n{value}\r\n' for name, value in self.fields)
        head = f'{begins}"file"; filename="{self.filename.translate(QUOTED)}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        return b"".join((small.encode(), head.encode(), self.file, f"\r\n--{self.boundary}--\r\n".encode()))
