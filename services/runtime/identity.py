"""Who calls. Verifies a token once, remembers it until it ends, turns an API key into one."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.runtime.accounts import within
from services.runtime.background import running
from services.runtime.errors import Failure, Kind

log = logging.getLogger(__name__)

AUDIENCE = "tollway"
KEY_PREFIX = "tw_"
CLIENT_SECRET_PREFIX = "ek_"
"""OpenAI's, which clients in browsers insist on."""
OURS = (KEY_PREFIX, CLIENT_SECRET_PREFIX)
REMEMBERED = 65_536
"""Tokens kept in mind: past that the oldest is verified again."""
AHEAD_S = 30.0
"""An API key is exchanged anew so long before its token ends: whoever gets the token still has time to use it."""
AHEAD_ACTING_S = 15.0
"""A token of [Acting][] is asked for anew so long before it ends."""
FOLLOW_AGAIN_S = 0.5
REVOKED_FOR_S = 7200.0
"""A revocation is remembered for longer than any token lives."""


class IdentityMissing(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "IDENTITY_MISSING"
    text = "send `authorization: Bearer` with an API key or a token"


class TokenRefused(Failure):
    kind, reason = Kind.UNAUTHENTICATED, "TOKEN_REFUSED"
    text = "the token is not good: {why}"


class AdministratorsOnly(Failure):
    kind, reason = Kind.DENIED, "ADMINISTRATORS_ONLY"
    text = "this call needs an administrator's key"


class AccountSuspended(Failure):
    kind, reason = Kind.DENIED, "ACCOUNT_SUSPENDED"
    text = "{account} is suspended: an administrator resumes it"


class ScopeMissing(Failure):
    kind, reason = Kind.DENIED, "SCOPE_MISSING"
    text = "the API key has no scope {scope}"


@dataclass(frozen=True, slots=True)
class Caller:
    """What the ledger says of whoever calls."""

    tenant: str
    account: str
    key_id: str
    admin: bool
    models: tuple[str, ...]
    expires: float
    """Seconds since the epoch."""
    token: str = field(repr=False)
    acts: bool = False
    """A service acts for the key: the token comes from `ExchangeToken`, not from who holds the key."""
    scopes: tuple[str, ...] = ()
    """What the key may do; empty for all."""
    regions: tuple[str, ...] = ()
    """The regions that may answer it; empty for all."""
    header: str = field(init=False, repr=False)
    """`token` as the `authorization` of calls that are made for this caller."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", f"Bearer {self.token}")

    def allows(self, model: str) -> bool:
        """Whether the key may use it: one that names none may use all."""
        return not self.models or model in self.models

    def over(self, account: str) -> bool:
        """Whether what is of `account` is the caller's to see: its own and what is below, everything for an administrator."""
        return self.admin or within(account, self.account)


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller:
    """Whoever the running call is for.

    Raises:
        IdentityMissing: nobody; only calls declared public come this far without an identity.
    """
    if (found := _caller.get()) is None:
        raise IdentityMissing
    return found


current = _caller.get
"""Whoever the running call is for; None for nobody."""


hold = _caller.set
"""Makes whom it is given the caller for the rest of this context."""


def administrator() -> Caller:
    """The caller, who must be an administrator."""
    if not (found := caller()).admin:
        raise AdministratorsOnly
    return found


def scoped(scope: str) -> Caller:
    """The caller, whose key must have `scope`."""
    found = caller()
    if found.scopes and scope not in found.scopes:
        raise ScopeMissing(scope=scope)
    return found


@dataclass(slots=True)
class Identity:
    """Turns what a call carries into a [Caller][].

    `exchange` gives the token for an API key, or for a token of somebody else's, and `keys` the public keys by id: both ask the ledger.
    """

    exchange: Callable[[str], Awaitable[str]]
    keys: Callable[[], Awaitable[dict[str, bytes]]]
    _public: dict[str, Ed25519PublicKey] = field(default_factory=dict)
    _known: OrderedDict[bytes, Caller] = field(default_factory=OrderedDict)
    _revoked: dict[str, float] = field(default_factory=dict)
    _headers: OrderedDict[str, Caller] = field(default_factory=OrderedDict)
    _turns: dict[bytes, asyncio.Lock] = field(default_factory=dict)
    _suspended: frozenset[str] = frozenset()

    def known(self, header: Any) -> Caller | None:
        """As `remembered`, for a whole `authorization` header that was seen before: every hop of a request asks."""
        found = self._headers.get(header)
        if found is None:
            return None
        gone = found.expires <= time.time() or found.key_id in self._revoked
        if gone or (self._suspended and self._stopped(found)):
            self._headers.pop(header, None)
            return None
        return found

    def remembered(self, credential: str) -> Caller | None:
        """The caller behind a credential that was good a moment ago and still is."""
        digest = sha256(credential.encode()).digest()
        found = self._known.get(digest)
        if found is None:
            return None
        if found.expires <= time.time() + (AHEAD_S if found.token != credential else 0):
            return None
        return None if found.key_id in self._revoked or self._stopped(found) else found

    async def verify(self, credential: str) -> Caller:
        """Checks an API key or a token, and remembers it.

        Raises:
            TokenRefused: a token that is expired, revoked, altered or signed by somebody else.
            Failure: what the ledger says of an API key.
        """
        digest = sha256(credential.encode()).digest()
        async with self._turns.setdefault(digest, asyncio.Lock()):  # of many at once one asks, and the others have it
            try:
                if (found := self.remembered(credential)) is not None:
                    return found
                token = credential if _ours(credential) else await self.exchange(credential)
                found = await self._decoded(token)
            finally:
                self._turns.pop(digest, None)
        if found.key_id in self._revoked:
            raise TokenRefused(why="its key was revoked")
        if stopped := self._stopped(found):
            raise AccountSuspended(account=stopped)
        self._known[digest] = found
        self._known.move_to_end(digest)
        if token == credential:
            self._headers[found.header] = found
            while len(self._headers) > REMEMBERED:
                self._headers.popitem(last=False)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def revoke(self, key_ids: Iterable[str]) -> None:
        """Forgets every token of these keys, and refuses those that still come."""
        now = time.time()
        self._revoked = {key: until for key, until in self._revoked.items() if until > now}
        self._revoked.update(dict.fromkeys(key_ids, now + REVOKED_FOR_S))

    def suspend(self, accounts: Iterable[str]) -> None:
        """From now on these accounts, and no others, are stopped with all below them."""
        self._suspended = frozenset(accounts)

    def _stopped(self, found: Caller) -> str:
        """The suspended account that the caller's is or is below; '' where there is none."""
        if not self._suspended:
            return ""
        parts = found.account.split("/")
        above = ("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        return next((path for path in above if path in self._suspended), "")

    async def _decoded(self, token: str) -> Caller:
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            claims = jwt.decode(token, await self._key(key_id), algorithms=["EdDSA"], audience=AUDIENCE)
        except jwt.PyJWTError as error:
            raise TokenRefused(why=type(error).__name__) from None
        return Caller(
            tenant=claims["tenant"],
            account=claims["account"],
            key_id=claims["sub"],
            admin=claims.get("admin", False),
            models=tuple(claims.get("models", ())),
            scopes=tuple(claims.get("scopes", ())),
            regions=tuple(claims.get("regions", ())),
            expires=float(claims["exp"]),
            token=token,
            acts="act" in claims,
        )

    async def _key(self, key_id: str) -> Ed25519PublicKey:
        if key_id not in self._public:
            found = await self.keys()
            self._public = {name: Ed25519PublicKey.from_public_bytes(raw) for name, raw in found.items()}
        if key_id not in self._public:
            raise TokenRefused(why="nobody we know has signed it")
        return self._public[key_id]


def named(credential: str) -> dict[str, str]:
    """A credential as the ledger's `Authenticate` wants it: an API key, or a token of somebody else's."""
    return {"api_key" if credential.startswith(OURS) else "id_token": credential}


def _ours(credential: str) -> bool:
    """Whether a credential may be a token of the ledger's, which names no issuer as those of OpenID Connect must. Who made it is
    checked after."""
    if credential.startswith(OURS):
        return False
    try:
        return "iss" not in jwt.decode(credential, options={"verify_signature": False})
    except jwt.PyJWTError:
        return True  # and is refused for what it is


@dataclass(frozen=True, slots=True)
class Directory:
    """The ledger as an identity needs it: its stub, and the module of its messages."""

    stub: Any
    messages: Any

    async def exchange(self, credential: str) -> str:
        answer = await self.stub.Authenticate(self.messages.AuthenticateRequest(**named(credential)), timeout=10.0)
        return str(answer.token)

    async def keys(self) -> dict[str, bytes]:
        answer = await self.stub.ListSigningKeys(self.messages.ListSigningKeysRequest(), timeout=5.0)
        return {key.key_id: key.ed25519 for key in answer.keys}

    async def follow(self, identity: Identity) -> None:
        """Takes in revocations and suspensions as the ledger sends them; comes back whenever the stream is cut."""
        while True:
            try:
                async for told in self.stub.Watch(self.messages.WatchRequest()):
                    identity.revoke(told.revoked_key_ids)
                    if told.suspensions_told:
                        identity.suspend(told.suspended_accounts)
            except grpc.aio.AioRpcError as error:
                log.debug("revocations are not followed for the moment: %s", error.code().name)
            await asyncio.sleep(FOLLOW_AGAIN_S)


@dataclass(slots=True)
class Acting:
    """Tokens for work that is done for a key later: the ledger gives them to an administrator, bound to that key."""

    directory: Directory
    key: str = field(repr=False)
    """The administrator's."""
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def token(self, key_id: str) -> str:
        """
        Raises:
            grpc.aio.AioRpcError: the key was revoked meanwhile, or the ledger does not answer.
        """
        token, until = self._tokens.get(key_id, ("", 0.0))
        if until - AHEAD_ACTING_S < time.time():
            made = await self.directory.stub.ExchangeToken(
                self.directory.messages.ExchangeTokenRequest(key_id=key_id),
                metadata=(("authorization", f"Bearer {self.key}"),),
                timeout=10.0,
            )
            token, until = made.token, float(made.expires.seconds)
            self._tokens = {one: known for one, known in self._tokens.items() if known[1] > time.time()}
            self._tokens[key_id] = token, until
        return token


@asynccontextmanager
async def identified(directory: Directory) -> AsyncIterator[Identity]:
    """An identity that asks `directory`, and hears of revocations as long as the block lasts."""
    identity = Identity(directory.exchange, directory.keys)
    async with running(directory.follow(identity)):
        yield identity
