"""`/console/sign-in`: people sign in to the console at their company's own issuer, by OpenID Connect's code flow with PKCE (RFC 7636).

The browser keeps the verifier, the edge trades the code for the token, and nobody keeps a session: the token is what the console
calls with, and the ledger judges it like any other.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import orjson

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire.errors import Refusal, decoded
from services.runtime.http import basic

DISCOVERY = "/.well-known/openid-configuration"
FRESH_S, WITHIN_S = 600.0, 5.0
RETURN_PATH = "/console/"
NO_STORE = [(b"cache-control", b"no-store")]


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """`edge.sign_in`. The ledger has to trust the same issuer, with the client's id as audience: `ledger.oidc`."""

    issuer: str = ""
    """Empty: the console is entered by key alone."""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    """Of a confidential client; empty for a public one."""
    scopes: str = "openid email profile"
    name: str = "single sign-on"
    """What the button calls it."""


class Code(msgspec.Struct, forbid_unknown_fields=True):
    code: str
    code_verifier: str
    redirect_uri: str


_CODE = msgspec.json.Decoder(Code)


@dataclass(slots=True)
class SignIn:
    settings: SignInSettings
    _known: dict[str, Any] = field(default_factory=dict)
    _read: float = -FRESH_S
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def offer(self, exchange: Exchange, door: Door) -> None:
        """Where the browser goes; nothing where nobody is trusted."""
        if not self.settings.issuer:
            await exchange.answer(b'{"offered":false}', headers=NO_STORE)
            return
        said = {
            "offered": True,
            "name": self.settings.name,
            "authorization_endpoint": (await self._configuration())["authorization_endpoint"],
            "client_id": self.settings.client_id,
            "scope": self.settings.scopes,
        }
        await exchange.answer(orjson.dumps(said), headers=NO_STORE)

    async def trade(self, exchange: Exchange, door: Door) -> None:
        """A code for the token of who came back with it."""
        if not self.settings.issuer:
            raise Refusal(404, "no_sign_in", "nobody is trusted to sign people in: see edge.sign_in")
        asked = decoded(_CODE, exchange.body)
        if urlsplit(asked.redirect_uri).path != RETURN_PATH:
            raise Refusal(400, "invalid_value", "redirect_uri is not the console's", param="redirect_uri")
        form = {
            "grant_type": "authorization_code",
            "code": asked.code,
            "code_verifier": asked.code_verifier,
            "redirect_uri": asked.redirect_uri,
            "client_id": self.settings.client_id,
        }
        said = await self._asked("POST", (await self._configuration())["token_endpoint"], form)
        if not isinstance(token := said.get("id_token"), str):
            raise Refusal(502, "issuer_broke", "the issuer gave no id_token: does its client have the scope openid?")
        await exchange.answer(orjson.dumps({"id_token": token}), headers=NO_STORE)

    async def _configuration(self) -> dict[str, Any]:
        async with self._turn:
            if time.monotonic() - self._read > FRESH_S:
                self._known = await self._asked("GET", self.settings.issuer.rstrip("/") + DISCOVERY)
                self._read = time.monotonic()
        return self._known

    async def _asked(self, method: str, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        """What the issuer says. Redirects are not followed: what is trusted is what was said."""
        secret = self.settings.client_secret
        headers = basic(self.settings.client_id, secret) if form and secret else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as http,
                http.request(method, url, data=form, headers=headers, allow_redirects=False) as response,
            ):
                said = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise Refusal(503, "issuer_away", "the issuer does not answer; try again soon", "api_error") from None
        if response.status >= 500 or not isinstance(said, dict):
            raise Refusal(503, "issuer_away", "the issuer does not answer; try again soon", "api_error")
        if response.status != 200:
            why = said.get("error")
            raise Refusal(401, "sign_in_refused", f"the issuer refuses the sign-in: {str(why)[:100]}")
        return said
