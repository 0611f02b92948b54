"""An OpenID Connect issuer: its configuration, its keys, and the tokens that it signs."""

import asyncio
import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

AUDIENCE = "tollway-mesh"


class Issuer:
    def __init__(self) -> None:
        self.url = ""
        self.away = False
        self.reads = 0
        self.refuses = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.clients: dict[str, str] = {}
        """Programs that may have tokens of their own, and their secrets."""
        self.asked: list[dict[str, str]] = []
        """What they asked with, the client's id among it."""
        self.gives: dict[str, Any] = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600}
        self.waits_s = 0.0
        """Before it gives one."""
        self.tells: dict[str, Any] = {}
        """Of itself, beside the rest."""
        self._keys: dict[str, RSAPrivateKey] = {}
        self.rotate()

    def rotate(self) -> None:
        """From now on another key signs."""
        self.key_id = f"k{len(self._keys) + 1}"
        self._keys[self.key_id] = generate_private_key(65537, 2048)

    def token(self, sub: str = "s1", signed_by: RSAPrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        said = {
            "iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 300, "email": "ann@example.com",
            "groups": ["ml"], **claims,
        }  # fmt: skip
        return jwt.encode(said, signed_by or self._keys[self.key_id], "RS256", {"kid": self.key_id})

    async def configuration(self, request: web.Request) -> web.Response:
        return self._said(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                **self.tells,
            }
        )

    async def authorize(self, request: web.Request) -> web.Response:
        """Everybody is signed in already, and agrees."""
        asked = dict(request.query)
        code = f"code{len(self.codes) + 1}"
        self.codes[code] = asked
        back = {"state": asked["state"], **({"error": self.refuses} if self.refuses else {"code": code})}
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(back)}")

    async def trade(self, request: web.Request) -> web.Response:
        """A code is good once, for the client and the verifier that it was made for."""
        if self.away:
            return self._said({})
        form = await request.post()
        if form["grant_type"] == "client_credentials":
            await asyncio.sleep(self.waits_s)
            return self._granted(request, {name: str(value) for name, value in form.items()})
        asked = self.codes.pop(str(form["code"]), {})
        digest = sha256(str(form["code_verifier"]).encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        good = challenge == asked.get("code_challenge") and form["redirect_uri"] == asked["redirect_uri"]
        if not good or form["client_id"] != asked["client_id"] or form["grant_type"] != "authorization_code":
            return web.json_response({"error": "invalid_grant"}, status=400)
        return self._said(
            {"id_token": self.token(nonce=asked["nonce"]), "access_token": "opaque", "token_type": "Bearer"}
        )

    def _granted(self, request: web.Request, form: dict[str, str]) -> web.Response:
        """A token for a program itself."""
        if "authorization" in request.headers:
            login, _, secret = (
                b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
            )
            form |= {"client_id": unquote_plus(login), "client_secret": unquote_plus(secret), "shown": "basic"}
        self.asked.append(form)
        if self.refuses:
            return web.json_response({"error": self.refuses, "error_description": form["client_secret"]}, status=400)
        if self.clients.get(form["client_id"]) != form["client_secret"]:
            return web.json_response({"error": "invalid_client"}, status=401)
        return self._said(self.gives)

    async def keys(self, request: web.Request) -> web.Response:
        self.reads += 1
        rows = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": name, "use": "sig"}
            for name, key in self._keys.items()
        ]
        return self._said({"keys": rows})

    def _said(self, said: Any) -> web.Response:
        return web.json_response(said, status=503 if self.away else 200)


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    made, app = Issuer(), web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.configuration)
    app.router.add_get("/keys", made.keys)
    app.router.add_get("/authorize", made.authorize)
    app.router.add_post("/token", made.trade)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()
