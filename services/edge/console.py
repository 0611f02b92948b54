"""`/console`: the page and what it is made of, from memory. It holds nothing of anybody's: each figure is asked with a key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
SAFE = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)  # fmt: skip
"""The page runs its own scripts alone, talks to this server alone, and stands in nobody's frame."""


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    kind: bytes
    tag: bytes


def assets() -> Mapping[str, Asset]:
    """By path: everything under `static/` that a browser is given."""
    found = {}
    for file in sorted(FOLDER.rglob("*")):
        if (kind := TYPES.get(file.suffix)) is not None:
            body = file.read_bytes()
            tag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
            found[f"/console/{file.relative_to(FOLDER).as_posix()}"] = Asset(body, kind, tag)
    found["/console/"] = found["/console/index.html"]
    return found
