"""Keys by reference: the settings name where a secret lies, and hold none."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from services.runtime.errors import Failure, Kind

KEPT_S = 60.0
"""How old a secret from Vault may be: a rotated one is in use within a minute."""
VAULT_S = 5.0


class SecretMissing(Failure):
    kind, reason = Kind.PRECONDITION, "SECRET_MISSING"
    text = "the key {reference} cannot be read: {why}"


@dataclass(slots=True)
class Secrets:
    """Reads `env:NAME`, `file:PATH` and `vault:PATH#FIELD` (Vault's KV engine, either version).

    Vault is found as its own tools find it: `VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`.
    """

    http: aiohttp.ClientSession
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    _kept: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False)

    async def read(self, reference: str) -> str:
        """The secret; read at each use, so that a rotated file needs no restart.

        Raises:
            SecretMissing: the reference leads nowhere.
        """
        kind, _, where = reference.partition(":")
        if kind == "env":
            return self.environ.get(where, "")
        if kind == "file":
            return _lying_at(where)
        return await self._vault(where) if kind == "vault" else reference

    async def _vault(self, where: str) -> str:
        kept = self._kept.get(where)
        if kept is not None and time.monotonic() - kept[0] < KEPT_S:
            return kept[1]
        try:
            secret = await self._fetched(where)
        except SecretMissing:
            if kept is None:
                raise
            return kept[1]  # Vault is away: the key it gave last is very likely still good
        self._kept[where] = (time.monotonic(), secret)
        return secret

    async def _fetched(self, where: str) -> str:
        path, _, name = where.partition("#")
        address = self.environ.get("VAULT_ADDR", "http://127.0.0.1:8200").rstrip("/")
        headers = {"x-vault-token": self.environ.get("VAULT_TOKEN", "")}
        if namespace := self.environ.get("VAULT_NAMESPACE"):
            headers["x-vault-namespace"] = namespace
        try:
            async with asyncio.timeout(VAULT_S), self.http.get(f"{address}/v1/{path}", headers=headers) as response:
                if response.status != 200:
                    raise SecretMissing(reference=f"vault:{where}", why=f"Vault answers {response.status}")
                found = (await response.json(content_type=None))["data"]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise SecretMissing(reference=f"vault:{where}", why=type(error).__name__) from None
        fields = found["data"] if isinstance(found.get("data"), dict) else found
        if not isinstance(secret := fields.get(name or "key"), str):
            raise SecretMissing(reference=f"vault:{where}", why="no such field")
        return secret


def _lying_at(where: str) -> str:
    try:
        return Path(where).read_text().strip()
    except OSError as error:
        raise SecretMissing(reference=f"file:{where}", why=error.strerror) from None
