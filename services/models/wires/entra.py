"""Who asks Azure without an API key: tokens of Microsoft Entra ID as azure-identity gets them."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ServiceRequestError
from azure.identity import ClientSecretCredential, DefaultAzureCredential

from services.models import faults
from services.models.wires.adapter import Target
from services.models.wires.clouds import Access, ByKey

SCOPE = "https://cognitiveservices.azure.com/.default"
EARLY_S = 300.0
"""So long before its end a token is not used any more."""
NEEDED = frozenset({"tenant_id", "client_id", "client_secret"})


@dataclass(slots=True)
class _Known:
    """One key's credential and its latest token, fetched by one call at a time."""

    credential: TokenCredential
    scope: str = SCOPE
    token: AccessToken | None = None
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def usable(self) -> str | None:
        """Its token, unless that is about to expire."""
        if self.token is None or self.token.expires_on - EARLY_S <= time.time():
            return None
        return self.token.token


class Here:
    """Entra. A key is the JSON of an application's `tenant_id`, `client_id` and `client_secret`, with an `authority` and a `scope`
    where these are not the public cloud's; without them what Azure's own tools would find on this machine is used (`AZURE_*`
    variables, a workload's or a managed identity, the command line's).
    """

    def __init__(self) -> None:
        self._known = ByKey(_found)

    async def access(self, target: Target) -> Access:
        key = target.secret.strip()
        try:
            known = await self._known.of(key if key.startswith("{") else "")
            token = await _token(known)
        except (AzureError, ValueError) as error:
            said = type(error).__name__
            # Under the name of a refusal the library also tells that nobody could be asked; then that is its cause.
            if isinstance(error, ServiceRequestError) or isinstance(error.__cause__, ServiceRequestError):
                raise faults.ProviderAway(model=target.name, why=f"Entra gives no token: {said}") from None
            raise faults.ProviderDenied(model=target.name, status=said) from None
        return Access({"authorization": f"Bearer {token}"})


def _found(key: str) -> _Known:
    if not key:
        return _Known(DefaultAzureCredential())
    said: dict[str, Any] = json.loads(key)
    if not said.keys() >= NEEDED:
        raise ValueError
    # An authority that settings name is trusted: a private cloud's is not known to the public one, which else is asked.
    more = {"authority": said["authority"], "disable_instance_discovery": True} if "authority" in said else {}
    credential = ClientSecretCredential(said["tenant_id"], said["client_id"], said["client_secret"], **more)
    return _Known(credential, said.get("scope") or SCOPE)


async def _token(known: _Known) -> str:
    if (token := known.usable) is not None:
        return token
    async with known.fetching:
        if (token := known.usable) is None:
            known.token = await asyncio.to_thread(known.credential.get_token, known.scope)
            token = known.token.token
        return token
