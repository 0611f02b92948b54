"""Who asks Google Cloud: access tokens as google-auth gets them, each used until shortly before it expires."""

import asyncio
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
from services.models.wires.clouds import Access, ByKey

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
KINDS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "service_account": lambda info: service_account.Credentials.from_service_account_info(info, scopes=SCOPES),
    "authorized_user": lambda info: credentials.Credentials.from_authorized_user_info(info, SCOPES),
    "external_account": lambda info: identity_pool.Credentials.from_info(info, scopes=SCOPES),
}
"""What a key's `type` says it is. A federated identity is one that a file or an address gives."""
TOKEN_S = 10.0


@dataclass(slots=True)
class _Known:
    """One key's credentials. They are refreshed by one call at a time."""

    credentials: Credentials
    project: str
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Here:
    """Google. A key is the JSON of a service account, of a federated identity or of a user; an empty one stands for what
    Google's own tools would find on this machine (`GOOGLE_APPLICATION_CREDENTIALS`, gcloud's, the machine's metadata
    service); anything else is a token itself.
    """

    def __init__(self) -> None:
        self._ask = Request(urllib3.PoolManager(timeout=TOKEN_S, retries=False))
        self._known = ByKey(self._found)

    async def access(self, target: Target) -> Access:
        key = target.secret.strip()
        if key and not key.startswith("{"):
            return Access({"authorization": f"Bearer {key}"})
        try:
            known = await self._known.of(key)
            if known.credentials.token_state is not TokenState.FRESH:
                await self._refreshed(known)
        except TransportError as error:
            raise faults.ProviderAway(model=target.name, why=f"Google gives no token: {type(error).__name__}") from None
        except (GoogleAuthError, ValueError) as error:
            raise faults.ProviderDenied(model=target.name, status=type(error).__name__) from None
        headers: dict[str, str] = {}
        known.credentials.apply(headers)
        return Access(headers, known.project)

    def _found(self, key: str) -> _Known:
        if not key:
            found, project = google.auth.default(scopes=SCOPES, request=self._ask)
            return _Known(found, project or "")
        info = json.loads(key)
        if (kind := KINDS.get(str(info.get("type")))) is None:
            raise ValueError
        return _Known(kind(info), str(info.get("project_id") or info.get("quota_project_id") or ""))

    async def _refreshed(self, known: _Known) -> None:
        async with known.refreshing:
            if known.credentials.token_state is not TokenState.FRESH:
                await asyncio.to_thread(known.credentials.refresh, self._ask)
