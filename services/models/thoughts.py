"""What a Claude thought, handed to the caller sealed, so that it comes back unchanged with the results of the tools it called.

Anthropic signs thoughts and takes them back as they were. They are about masked text, which the caller sees restored: so what is
handed in again is not what the caller saw, but what is sealed here. AES-256-GCM; the tenant and the model are authenticated.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime import identity

Sealing = Callable[[dict[str, Any]], str]
"""Seals a thought of the model that is asked."""
NONCE_BYTES = 12
KINDS = ("thinking", "redacted_thinking")
"""Blocks of Anthropic's that are thoughts."""


@dataclass(slots=True)
class Thoughts:
    """Replicas that share `key` open one another's."""

    key: str = field(default="", repr=False)
    """Empty for one that no other process has."""
    _cipher: AESGCM = field(init=False, repr=False)

    def __post_init__(self) -> None:
        secret = blake2b(self.key.encode(), digest_size=32, person=b"tollway thoughts").digest()
        self._cipher = AESGCM(secret if self.key else secrets.token_bytes(32))

    def sealed(self, model: str, block: dict[str, Any]) -> str:
        """A block of `model`'s as letters of base64."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        said = json.dumps(block, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, said, _of(model))).decode()

    def opened(self, model: str, sealed: Iterable[str]) -> list[dict[str, Any]]:
        """The blocks that are `model`'s: it has no use for those of another, of another tenant's, or of a process that is gone."""
        return [block for one in sealed if (block := self._block(model, one)) is not None]

    def _block(self, model: str, sealed: str) -> dict[str, Any] | None:
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
            said = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _of(model))
        except (InvalidTag, ValueError):
            return None
        block: dict[str, Any] = json.loads(said.decode("utf-8", "surrogatepass"))
        return block


def _of(model: str) -> bytes:
    caller = identity.current()
    return f"{caller.tenant if caller is not None else ''}\0{model}".encode()
