"""Tokens of OpenID Connect: whose they are, by the public keys that their issuer publishes."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import aiohttp
import jwt

from services.ledger.roles import Person
from services.runtime.errors import Failure, Kind

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Public keys alone: a token that claims to be signed with a shared secret is nobody's."""
PREFIX = "oidc_"
FRESH_S, AGAIN_S, STALE_S = 600.0, 10.0, 86_400.0
"""Keys are read again after so long; not more often than that for one that is unknown; and go on counting so long while the issuer
is away."""
WITHIN_S = 5.0
LEEWAY_S = 30.0
DISCOVERY = "/.well-known/openid-configuration"


class IdTokenRefused(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "ID_TOKEN_REFUSED"
    text = "the OIDC token is not good: {why}"


class IssuerAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "ISSUER_AWAY"
    text = "the keys of {issuer} cannot be read; try again soon"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who is trusted to say who people are, by `iss`."""

    audience: str
    """Our own name there: a token for another is refused."""
    jwks_url: str = ""
    """Where the keys are; without it the issuer's own configuration says so."""
    user_claim: str = "email"
    """What people are called: counts only where `email_verified` does not deny it."""
    groups_claim: str = "groups"


@dataclass(slots=True)
class _Keys:
    by_id: dict[str, Any] = field(default_factory=dict)
    read: float = -STALE_S
    tried: float = -STALE_S
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Issuers:
    known: Mapping[str, Issuer]
    _keys: dict[str, _Keys] = field(default_factory=dict)

    async def person(self, token: str) -> Person:
        """
        Raises:
            IdTokenRefused: it is expired, altered, for somebody else, or of an issuer that is not trusted.
            IssuerAway
        """
        try:
            head = jwt.get_unverified_header(token)
            name = str(jwt.decode(token, options={"verify_signature": False}).get("iss", ""))
        except jwt.PyJWTError as error:
            raise IdTokenRefused(why=type(error).__name__) from None
        issuer = self.known.get(name)
        if issuer is None:
            raise IdTokenRefused(why="its issuer is not trusted")
        key = await self._key(name, issuer, str(head.get("kid", "")))
        try:
            claims = jwt.decode(
                token, key, algorithms=ALGORITHMS, audience=issuer.audience, issuer=name, leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise IdTokenRefused(why=type(error).__name__) from None
        return _person(name, issuer, claims)

    async def _key(self, name: str, issuer: Issuer, key_id: str) -> Any:
        keys = self._keys.setdefault(name, _Keys())
        async with keys.turn:
            now = time.monotonic()
            wanted = now - keys.read > FRESH_S or (key_id not in keys.by_id and now - keys.tried > AGAIN_S)
            if wanted and (now - keys.tried > AGAIN_S or not keys.by_id):
                keys.tried = now
                try:
                    keys.by_id, keys.read = await _read(name, issuer), now
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, jwt.PyJWTError):
                    if now - keys.read > STALE_S or not keys.by_id:
                        raise IssuerAway(issuer=name, retry_after_s=1.0) from None
        found = keys.by_id.get(key_id)
        if found is None:
            raise IdTokenRefused(why="its issuer has no such key")
        return found


async def _read(name: str, issuer: Issuer) -> dict[str, Any]:
    """The issuer's keys by their ids. Redirects are not followed: what is trusted is what was said."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as http:

        async def get(url: str) -> Any:
            async with http.get(url, allow_redirects=False, raise_for_status=True) as response:
                return await response.json(content_type=None)

        url = issuer.jwks_url or str((await get(name.rstrip("/") + DISCOVERY))["jwks_uri"])
        said = await get(url)
    return {one.key_id: one for one in jwt.PyJWKSet.from_dict(said).keys if one.key_id}


def _person(name: str, issuer: Issuer, claims: Mapping[str, Any]) -> Person:
    names = [f"subject:{claims['sub']}"]
    user = claims.get(issuer.user_claim)
    if isinstance(user, str) and user and claims.get("email_verified") is not False:
        names.append(f"user:{user}")
    groups = claims.get(issuer.groups_claim)
    names += [f"group:{one}" for one in groups if isinstance(one, str)] if isinstance(groups, list) else []
    made = sha256(f"{name}\0{claims['sub']}".encode()).hexdigest()
    return Person(f"{PREFIX}{made[:24]}", name, str(claims["sub"]), tuple(names))
