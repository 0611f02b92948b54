"""Keys for a short time, where a server takes none for good: OAuth's client credentials (RFC 6749, 4.4), for that server alone (RFC 8707).

The authorization server is the one that the settings name. A server of MCP tells in its refusals which one it trusts; that is not followed: it
could have our secret sent to whom it likes.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from services.runtime.http import basic
from services.runtime.secrets import Secrets
from services.tools import faults

WITHIN_S = 5.0
EARLY_S, SHORTEST_S = 60.0, 10.0
"""A token is not used so long before its end; one that tells no end, or an early one, is used for at least so long."""
UNTOLD_S = 300.0
"""How long a token is used that does not tell its end: the next is asked for when it is refused, too."""
BASIC, POST = "client_secret_basic", "client_secret_post"
REFUSALS = frozenset(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope invalid_target".split()
)
"""What RFC 6749 and RFC 8707 have for a refusal: anything else may be somebody's words."""
HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class OAuth:
    """`oauth` of a server's entry."""

    client_id: str = ""
    """`env:NAME`, `file:PATH` or `vault:PATH#FIELD`; anything else is the id itself. Empty: no token is asked for."""
    client_secret: str = field(default="", repr=False)
    """The same for the secret."""
    issuer: str = ""
    """The authorization server, which tells where tokens are had (RFC 8414, or OpenID Connect's discovery)."""
    token_url: str = ""
    """Where tokens are had, in place of an issuer."""
    scopes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Sent beside those of the standard, such as an `audience`. One that is empty is left out: Entra wants no `resource`, which
    is the server's own address otherwise."""

    @property
    def fault(self) -> str:
        """Why it cannot be meant so; empty where it can."""
        if bool(self.issuer) is bool(self.token_url):
            return "either issuer or token_url must be given"
        if not self.client_secret:
            return "client_secret is missing"
        return "" if safe(self.issuer or self.token_url) else "a secret goes over https alone, or stays on this machine"


def safe(url: str) -> bool:
    """Whether a secret may go there."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE)


@dataclass(slots=True)
class Tokens:
    """One server's token, fetched by one call at a time."""

    server: str
    """Its name in the mesh."""
    resource: str
    """Its address."""
    settings: OAuth
    http: aiohttp.ClientSession
    secrets: Secrets
    now: Callable[[], float] = time.monotonic
    _token: str = field(default="", repr=False)
    _until: float = 0.0
    _known: tuple[str, str] | None = None
    """Where tokens are had, and how the secret is shown there."""
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """
        Raises:
            TokenAway, TokenRefused, SecretMissing
        """
        async with self._fetching:
            if not self._token or self.now() >= self._until:
                await self._fetch()
            return self._token

    def forget(self, token: str) -> None:
        """The server does not take it. One that was fetched meanwhile stays."""
        if token == self._token:
            self._token = ""

    async def _fetch(self) -> None:
        url, method = await self._endpoint()
        client = await self.secrets.read(self.settings.client_id)
        secret = await self.secrets.read(self.settings.client_secret)
        form = {"grant_type": "client_credentials", "resource": self.resource}
        if self.settings.scopes:
            form["scope"] = " ".join(self.settings.scopes)
        form = {name: value for name, value in (form | dict(self.settings.parameters)).items() if value}
        if method == POST:
            form |= {"client_id": client, "client_secret": secret}
        status, said = await self._asked("POST", url, form, basic(client, secret) if method == BASIC else {})
        token, ends = said.get("access_token"), said.get("expires_in")
        if status != 200 or not isinstance(token, str) or not token:
            self._known = None  # it may have moved
            raise faults.TokenRefused(server=self.server, why=_refusal(status, said.get("error")))
        if str(said.get("token_type", "bearer")).lower() != "bearer":
            raise faults.TokenRefused(server=self.server, why="its token is no bearer token")
        lasts = float(ends) - EARLY_S if isinstance(ends, int | float) else UNTOLD_S
        self._token, self._until = token, self.now() + max(lasts, SHORTEST_S)

    async def _endpoint(self) -> tuple[str, str]:
        if self.settings.token_url:
            return self.settings.token_url, BASIC
        if self._known is None:
            self._known = await self._discovered()
        return self._known

    async def _discovered(self) -> tuple[str, str]:
        for url in places(self.settings.issuer):
            status, said = await self._asked("GET", url, None, {})
            if status != 200:
                continue
            endpoint = said.get("token_endpoint")
            if said.get("issuer") != self.settings.issuer or not isinstance(endpoint, str) or not safe(endpoint):
                raise faults.TokenRefused(server=self.server, why="what the issuer tells of itself is of another one")
            methods = said.get("token_endpoint_auth_methods_supported") or [BASIC]
            return endpoint, POST if BASIC not in methods and POST in methods else BASIC
        raise faults.TokenRefused(server=self.server, why="the issuer does not tell where tokens are had")

    async def _asked(
        self, method: str, url: str, form: Mapping[str, str] | None, more: Mapping[str, str]
    ) -> tuple[int, Mapping[str, Any]]:
        """The status, and the object that comes with it. Redirects are not followed: what is trusted is what was named."""
        try:
            async with (
                asyncio.timeout(WITHIN_S),
                self.http.request(
                    method, url, data=form, headers={"accept": "application/json", **more}, allow_redirects=False
                ) as response,
            ):
                if response.status >= 500 or response.status == 429:
                    raise faults.TokenAway(server=self.server, why=f"answers {response.status}")
                try:
                    said = await response.json(content_type=None)
                except ValueError:
                    said = None
                return response.status, said if isinstance(said, dict) else {}
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise faults.TokenAway(server=self.server, why=f"does not answer: {type(error).__name__}") from None


def places(issuer: str) -> tuple[str, ...]:
    """Where an issuer may tell of itself: as RFC 8414 has it, and as OpenID Connect's discovery does."""
    parts = urlsplit(issuer)
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{root}/.well-known/oauth-authorization-server{path}",
        f"{root}{path}/.well-known/openid-configuration",
    )


def _refusal(status: int, error: object) -> str:
    return error if isinstance(error, str) and error in REFUSALS else f"status {status}"
