"""Who asks Google Cloud: access tokens as google-auth gets them, each used until shortly before it expires."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import google.auth
import urllib3
from google.auth import identity_pool
from google.auth.credentials import Credentials, TokenState
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.urllib3 import Request
from google.oauth2 import credentials, service_account

from services.models import faults
from services.models.wires.adapter import Target

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
KINDS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "service_account": lambda info: service_account.Credentials.from_service_account_info(info, scopes=SCOPES),
    "authorized_user": lambda info: credentials.Credentials.from_authorized_user_info(info, SCOPES),
    "external_account": lambda info: identity_pool.Credentials.from_info(info, scopes=SCOPES),
}
"""What a key's `type` says it is. A federated identity is one that a file or an address gives."""
MOST_KEPT = 64
"""Keys whose tokens are kept; one that was rotated is forgotten when so many came after it."""
TOKEN_S = 10.0


@dataclass(frozen=True, slots=True)
class Access:
    """What opens the door."""

    headers: dict[str, str] = field(repr=False)
    project: str
    """Empty where the key tells none."""


@dataclass(slots=True)
class _Known:
    """One key's credentials. They are refreshed by one call at a time."""

    credentials: Credentials
    project: str
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Google:
    """Tokens by key: the JSON of a service account, of a federated identity or of a user; empty for the credentials that
    Google's own tools would find on this machine (`GOOGLE_APPLICATION_CREDENTIALS`, gcloud's, the machine's metadata
    service); anything else is a token itself.
    """

    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=TOKEN_S, retries=False))
    _known: dict[str, _Known] = field(default_factory=dict)

    async def access(self, target: Target) -> Access:
        """
        Raises:
            ProviderDenied: nothing is found, or Google gives no token for it.
            ProviderAway: Google cannot be asked for one.
        """
        secret = target.secret.strip()
        if secret and not secret.startswith("{"):
            return Access({"authorization": f"Bearer {secret}"}, "")
        try:
            known = await self._of(secret)
            if known.credentials.token_state is not TokenState.FRESH:
                await self._refreshed(known)
        except TransportError as error:
            raise faults.ProviderAway(model=target.name, why=f"Google gives no token: {type(error).__name__}") from None
        except (GoogleAuthError, ValueError) as error:
            raise faults.ProviderDenied(model=target.name, status=type(error).__name__) from None
        headers: dict[str, str] = {}
        known.credentials.apply(headers)
        return Access(headers, known.project)

    async def _of(self, secret: str) -> _Known:
        name = hashlib.sha256(secret.encode()).hexdigest()
        if (found := self._known.get(name)) is None:
            made = await asyncio.to_thread(self._found, secret)  # may ask the machine's metadata service
            found = self._known.setdefault(name, made)
            while len(self._known) > MOST_KEPT:
                del self._known[next(iter(self._known))]
        return found

    def _found(self, secret: str) -> _Known:
        if not secret:
            found, project = google.auth.default(scopes=SCOPES, request=Request(self._pool))
            return _Known(found, project or "")
        info = json.loads(secret)
        if (kind := KINDS.get(str(info.get("type")))) is None:
            raise ValueError
        return _Known(kind(info), str(info.get("project_id") or info.get("quota_project_id") or ""))

    async def _refreshed(self, known: _Known) -> None:
        async with known.refreshing:
            if known.credentials.token_state is not TokenState.FRESH:
                await asyncio.to_thread(known.credentials.refresh, Request(self._pool))
