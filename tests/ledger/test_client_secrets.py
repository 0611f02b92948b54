"""Secrets for browsers: what one opens, for how long, by whose right; one suite for every store, and the service over every transport."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.ledger.v1 import client_secrets_pb2 as pb
from tollway.ledger.v1 import client_secrets_pb2_grpc, ledger_pb2, ledger_pb2_grpc

from services.ledger import keys
from services.ledger.app import MIGRATIONS, identity_of, register
from services.ledger.client_secrets import (
    ClientSecret,
    ClientSecrets,
    MemoryClientSecrets,
    PostgresClientSecrets,
    derived,
)
from services.ledger.lending import ClientSecretsService
from services.ledger.memory import MemoryStore
from services.ledger.oidc import Issuers
from services.ledger.people import MemoryPeople
from services.ledger.postgres import PostgresStore
from services.ledger.prices import PriceBook
from services.ledger.replica import Replica
from services.ledger.service import LedgerService
from services.ledger.store import ApiKey
from services.runtime import postgres
from services.runtime.background import running
from services.runtime.identity import CLIENT_SECRET_PREFIX, Directory, Identity
from services.runtime.server import Service
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.waiting import until

NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)
KEY = ApiKey(
    "key_app", "acme/app", "", keys.digest("tw_app"), False, ("talker", "scribe", "small"), NOW, regions=("eu",)
)
OTHER = ApiKey("key_other", "acme/other", "", keys.digest("tw_other"), True, (), NOW)
ONE = ClientSecret(b"hash", KEY.id, ("talker", "scribe"), '{"type":"realtime"}', NOW + timedelta(minutes=10))


@pytest.fixture(params=["memory", "postgres"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[ClientSecrets]:
    if request.param == "memory":
        yield MemoryClientSecrets()
        return
    async with postgres.opened(request.getfixturevalue("postgres_url"), "ledger", MIGRATIONS, 4) as pool:
        yield PostgresClientSecrets(pool)


async def test_a_secret_is_kept_once_found_by_its_hash_and_forgotten_at_its_end(kept: ClientSecrets) -> None:
    assert await kept.keep(ONE) == ONE
    assert await kept.keep(replace(ONE, session="", models=("other",))) == ONE, "the first one stands"
    await kept.keep(replace(ONE, secret_hash=b"longer", expires=ONE.expires + SECOND))
    assert await kept.find(b"hash", NOW) == ONE and await kept.find(b"other", NOW) is None
    assert await kept.find(b"hash", ONE.expires) is None
    assert await kept.forget(ONE.expires - SECOND) == 0
    assert await kept.forget(ONE.expires) == 1 and await kept.forget(ONE.expires) == 0
    assert await kept.find(b"hash", NOW) is None and await kept.find(b"longer", NOW) is not None


async def test_a_tenant_that_is_erased_leaves_no_secret(postgres_url: str) -> None:
    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 4) as pool:
        store, kept = PostgresStore(pool), PostgresClientSecrets(pool)
        for key in (KEY, replace(OTHER, account="acme_x/app")):
            await store.add_key(key, "")
            await kept.keep(replace(ONE, key_id=key.id, secret_hash=key.id.encode()))
        await store.erase("acme", "", NOW)
        assert await kept.find(b"key_app", NOW) is None and await kept.find(b"key_other", NOW) is not None


def test_a_secret_narrows_its_key_and_ends_with_it() -> None:
    key = replace(KEY, admin=True, scopes=("chat", "usage"), expires=NOW + SECOND)
    lent = ONE.narrowed(key)
    assert (lent.id, lent.account, lent.regions) == (key.id, key.account, ("eu",))
    assert (lent.admin, lent.models, lent.scopes, lent.expires) == (False, ONE.models, ("realtime",), NOW + SECOND)
    assert ONE.narrowed(replace(key, expires=None)).expires == ONE.expires


def test_a_secret_is_of_one_request_of_one_key_of_one_ledger() -> None:
    made = {derived(*parts) for parts in ((b"s", "k", "r"), (b"t", "k", "r"), (b"s", "l", "r"), (b"s", "k", "q"))}
    assert len(made) == 4 and all(one.startswith(CLIENT_SECRET_PREFIX) and len(one) == 46 for one in made)
    assert derived(b"s", "k", "r") in made


@dataclass(frozen=True, slots=True)
class Lender:
    secrets: client_secrets_pb2_grpc.ClientSecretsServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    store: MemoryStore
    kept: MemoryClientSecrets
    identity: Identity

    async def make(self, *, key: str = "tw_app", **more: Any) -> pb.CreateClientSecretResponse:
        wanted = pb.CreateClientSecretRequest(request_id="request-1", models=["talker", "scribe"], session='{"a":1}')
        wanted.lifetime.FromSeconds(600)
        wanted.MergeFrom(pb.CreateClientSecretRequest(**more))
        return await self.secrets.CreateClientSecret(wanted, metadata=bearer(key))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.fixture(params=TRANSPORTS)
async def lender(request: pytest.FixtureRequest) -> AsyncIterator[Lender]:
    store, signer, kept = MemoryStore(), keys.Signer(), MemoryClientSecrets()
    await store.publish_signing_key(signer.key_id, signer.public, datetime.now(UTC) + timedelta(hours=1))
    for key in (KEY, OTHER):
        await store.add_key(key, "")
    service = LedgerService(store, Replica(store), signer, PriceBook({}), b"s", MemoryPeople(), Issuers({}), kept)
    served = Service(
        name="tollway.ledger.v1.LedgerService",
        domain="ledger.tollway",
        register=partial(register, service, ClientSecretsService(kept, b"shared")),
        identity=identity_of(service),
    )
    async with channel_to(served, request.param) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        directory = Directory(stub, ledger_pb2)
        secrets = client_secrets_pb2_grpc.ClientSecretsServiceStub(channel)
        yield Lender(secrets, stub, store, kept, Identity(directory.exchange, directory.keys))


async def test_who_shows_a_secret_is_its_key_for_sessions_alone(lender: Lender) -> None:
    asked = datetime.now(UTC)
    made = await lender.make()
    lasts = made.expires.ToDatetime(UTC) - asked
    assert made.secret.startswith("ek_") and timedelta(minutes=9) < lasts < timedelta(minutes=11)
    assert made.secret not in repr(lender.kept.kept)
    caller = await lender.identity.verify(made.secret)
    assert (caller.key_id, caller.account, caller.admin) == (KEY.id, KEY.account, False)
    assert (caller.models, caller.scopes, caller.regions) == (("talker", "scribe"), ("realtime",), ("eu",))
    found = await lender.secrets.GetClientSecret(
        pb.GetClientSecretRequest(secret=made.secret), metadata=bearer(made.secret)
    )
    assert (list(found.models), found.session, found.expires) == (["talker", "scribe"], '{"a":1}', made.expires)
    again = await refused(lender.make(key=made.secret))  # or it would never end
    assert again == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")


async def test_a_repeated_request_has_the_same_secret(lender: Lender) -> None:
    assert await lender.make() == await lender.make()
    reused = await refused(lender.make(session="another"))
    assert reused == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert (await lender.make(request_id="request-2")).secret != (await lender.make()).secret


async def test_a_request_that_is_repeated_after_its_end_has_a_secret_that_opens(lender: Lender) -> None:
    first = await lender.make()
    lender.kept.kept = {name: replace(one, expires=NOW - SECOND) for name, one in lender.kept.kept.items()}
    again = await lender.make()
    assert again.secret == first.secret and again.expires.ToDatetime(UTC) > datetime.now(UTC)


async def test_a_secret_ends_with_its_key_and_by_itself(lender: Lender) -> None:
    made = await lender.make()
    lender.kept.kept = {
        name: replace(one, expires=datetime.now(UTC) + SECOND) for name, one in lender.kept.kept.items()
    }
    answer = await lender.ledger.Authenticate(ledger_pb2.AuthenticateRequest(api_key=made.secret))
    assert answer.expires.ToDatetime(UTC) <= datetime.now(UTC) + SECOND, "nor does its token last longer"
    lender.kept.kept = {name: replace(one, expires=NOW - SECOND) for name, one in lender.kept.kept.items()}
    over = await refused(lender.ledger.Authenticate(ledger_pb2.AuthenticateRequest(api_key=made.secret)))
    assert over == (grpc.StatusCode.UNAUTHENTICATED, "CLIENT_SECRET_OVER")
    fresh = await lender.make(request_id="request-2")
    await lender.store.revoke_key(KEY.id, NOW)
    gone = await refused(lender.ledger.Authenticate(ledger_pb2.AuthenticateRequest(api_key=fresh.secret)))
    assert gone == (grpc.StatusCode.UNAUTHENTICATED, "KEY_REVOKED")


async def test_nobody_lends_more_than_it_has_or_reads_anothers(lender: Lender) -> None:
    wide = await refused(lender.make(models=["large"]))
    assert wide == (grpc.StatusCode.PERMISSION_DENIED, "MODEL_NOT_ALLOWED")
    assert (await lender.make(key="tw_other", models=["large"])).secret
    made = await lender.make()
    for secret in (made.secret, "ek_unknown"):
        asked = pb.GetClientSecretRequest(secret=secret)
        found = await refused(lender.secrets.GetClientSecret(asked, metadata=bearer("tw_other")))
        assert found == (grpc.StatusCode.NOT_FOUND, "CLIENT_SECRET_UNKNOWN")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"request_id": "x" * 129}, "request_id"),
        ({"models": [""]}, "models[2]"),
        ({"models": ["m"] * 7}, "models"),
        ({"lifetime": {"seconds": 7201}}, "lifetime"),
        ({"session": "x" * 262_145}, "session"),
    ],
)
async def test_what_is_asked_wrongly_is_named(lender: Lender, asked: dict[str, Any], field: str) -> None:
    assert await field_of(lender.make(**asked)) == field


async def test_what_has_ended_is_forgotten_without_being_asked() -> None:
    kept = MemoryClientSecrets()
    await kept.keep(replace(ONE, expires=NOW))
    async with running(ClientSecretsService(kept, b"s").run()):
        await until(lambda: not kept.kept)
