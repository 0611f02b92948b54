"""People: who an OIDC token speaks of, what they are bound to, and what they may do then."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.ledger import keys, roles
from services.ledger.app import MIGRATIONS, identity_of
from services.ledger.client_secrets import MemoryClientSecrets
from services.ledger.memory import MemoryStore
from services.ledger.oidc import IdTokenRefused, Issuer, IssuerAway, Issuers
from services.ledger.people import MemoryPeople, People, PostgresPeople
from services.ledger.prices import PriceBook
from services.ledger.replica import Replica
from services.ledger.roles import Binding, BindingUnknown, NoRole, Person
from services.ledger.service import LedgerService
from services.ledger.store import ApiKey
from services.runtime import postgres
from services.runtime.identity import Directory, Identity
from services.runtime.server import Service
from tests.peers import issuer as peer
from tests.peers.issuer import AUDIENCE
from tests.support.refusals import refused
from tests.support.serve import TRANSPORTS, channel_to

ANN = Person("oidc_1", "https://id", "s1", ("subject:s1", "user:ann@example.com", "group:ml"))
NOW = datetime.now(UTC)
ADMIN = "tw_admin"


@pytest.fixture(params=("memory", "postgres"))
async def people(request: pytest.FixtureRequest) -> AsyncIterator[People]:
    if request.param == "memory":
        yield MemoryPeople()
        return
    async with postgres.opened(request.getfixturevalue("postgres_url"), "ledger", MIGRATIONS, 2) as pool:
        yield PostgresPeople(pool)


async def test_bindings_are_kept_once_and_taken_away(people: People) -> None:
    rows = [
        Binding("acme", "group:ml", "viewer"),
        Binding("acme/app", "user:ann@example.com", "author"),
        Binding("acmes", "group:x", "owner"),
    ]
    for one in (*rows, rows[0]):
        await people.bind(one)
    assert await people.listed("", None, 10) == rows
    assert await people.listed("acme", None, 10) == rows[:2]
    assert await people.listed("", rows[0], 1) == [rows[1]]
    assert sorted(await people.bindings(ANN)) == rows[:2]
    await people.unbind(rows[0])
    with pytest.raises(BindingUnknown):
        await people.unbind(rows[0])


async def test_people_are_remembered_for_a_while(people: People) -> None:
    await people.remember(ANN, NOW)
    assert await people.person("oidc_1", NOW + timedelta(days=29)) == ANN
    assert (
        await people.person("oidc_1", NOW + timedelta(days=31)) is None and await people.person("oidc_2", NOW) is None
    )


def test_roles_add_up_under_the_account_nearest_the_root() -> None:
    below = Binding("acme/app", "user:ann@example.com", "promoter")
    grant = roles.granted(
        ANN, [below, Binding("acme", "group:ml", "viewer"), Binding("acme", "subject:s1", "reviewer")]
    )
    assert (grant.account, grant.admin, grant.scopes) == ("acme", False, ("read", "review", "usage"))
    assert roles.granted(ANN, [below, Binding("acme", "group:other", "owner")]).account == "acme/app"
    root = roles.granted(
        ANN, [Binding("operator", "group:ml", "administrator"), Binding("operator", "group:ml", "viewer")]
    )
    assert root.admin and root.scopes == ()
    with pytest.raises(NoRole, match=r"user:ann@example\.com"):
        roles.granted(ANN, [Binding("acme", "group:other", "owner")])


def test_every_role_but_the_administrators_has_scopes() -> None:
    known = {name.removeprefix("SCOPE_").lower() for name, number in pb.Scope.items() if number}
    assert {name for name, scopes in roles.ROLES.items() if not scopes} == {"administrator"}
    assert roles.ROLES["owner"] == known, "an owner has every scope there is"
    assert {name.removeprefix("ROLE_").lower() for name, number in pb.Role.items() if number} == set(roles.ROLES)


async def test_a_token_speaks_of_a_person() -> None:
    async with peer.issuer() as made:
        issuers = Issuers({made.url: Issuer(AUDIENCE)})
        found = await issuers.person(made.token())
        assert found.names == ("subject:s1", "user:ann@example.com", "group:ml") and found.id.startswith("oidc_")
        assert (await issuers.person(made.token(email_verified=False))).names == ("subject:s1", "group:ml")
        assert made.reads == 1
        made.rotate()
        with pytest.raises(
            IdTokenRefused, match="no such key"
        ):  # read a moment ago: nobody makes us ask again and again
            await issuers.person(made.token())
        issuers._keys[made.url].tried -= 60
        assert (await issuers.person(made.token())).id == found.id and made.reads == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"exp": 1},
        {"iss": "https://elsewhere"},
        {"sub": None},
        {"signed_by": generate_private_key(65537, 2048)},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_a_token_that_is_not_good_is_refused(claims: dict[str, Any]) -> None:
    async with peer.issuer() as made:
        with pytest.raises(IdTokenRefused):
            await Issuers({made.url: Issuer(AUDIENCE)}).person(made.token(**claims))


async def test_shared_secrets_and_nonsense_are_nobodys() -> None:
    async with peer.issuer() as made:
        issuers = Issuers({made.url: Issuer(AUDIENCE)})
        await issuers.person(made.token())
        forged = jwt.encode({"iss": made.url, "aud": AUDIENCE, "sub": "s", "iat": 1, "exp": 9_999_999_999}, "k" * 32, "HS256", {"kid": made.key_id})  # fmt: skip
        for token in (forged, "a.b.c", ""):
            with pytest.raises(IdTokenRefused):
                await issuers.person(token)


async def test_keys_go_on_counting_while_their_issuer_is_away() -> None:
    async with peer.issuer() as made:
        issuers = Issuers({made.url: Issuer(AUDIENCE)})
        made.away = True
        with pytest.raises(IssuerAway):
            await issuers.person(made.token())
        made.away = False
        issuers._keys[made.url].tried -= 60
        await issuers.person(made.token())
        made.away = True
        issuers._keys[made.url].read -= 3600
        issuers._keys[made.url].tried -= 60
        await issuers.person(made.token())


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_people_do_what_they_are_bound_to(transport: str) -> None:
    async with peer.issuer() as made:
        store, signer, now = MemoryStore(), keys.Signer(), datetime.now(UTC)
        await store.publish_signing_key(signer.key_id, signer.public, now + keys.LIFETIME * 100)
        await store.add_key(ApiKey("key_admin", "operator", "", keys.digest(ADMIN), True, (), now), "")
        issuers = Issuers({made.url: Issuer(AUDIENCE)})
        service = LedgerService(
            store, Replica(store), signer, PriceBook({}), b"s", MemoryPeople(), issuers, MemoryClientSecrets()
        )
        served = Service(
            name="tollway.ledger.v1.LedgerService",
            domain="ledger.tollway",
            register=partial(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, service),
            identity=identity_of(service),
        )
        async with channel_to(served, transport) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            root = (("authorization", f"Bearer {ADMIN}"),)
            token = made.token()
            shown = stub.Authenticate(pb.AuthenticateRequest(id_token=token))
            assert await refused(shown) == (grpc.StatusCode.PERMISSION_DENIED, "NO_ROLE")
            author = pb.RoleBinding(account="acme/app", subject="group:ml", role=pb.ROLE_AUTHOR)
            viewer = pb.RoleBinding(account="acme/app", subject="user:ann@example.com", role=pb.ROLE_VIEWER)
            for one in (author, viewer):
                await stub.SetRoleBinding(pb.SetRoleBindingRequest(binding=one), metadata=root)
            page = await stub.ListRoleBindings(pb.ListRoleBindingsRequest(page_size=1), metadata=root)
            rest = await stub.ListRoleBindings(
                pb.ListRoleBindingsRequest(page_token=page.next_page_token), metadata=root
            )
            assert [*page.bindings, *rest.bindings] == [author, viewer]

            identity = Identity(Directory(stub, pb).exchange, Directory(stub, pb).keys)
            caller = await identity.verify(token)
            assert (caller.account, caller.admin, caller.scopes) == ("acme/app", False, ("propose", "read", "usage"))
            assert identity.remembered(token) is not None, "asked once"
            mine = (("authorization", f"Bearer {token}"),)
            assert await refused(stub.ListKeys(pb.ListKeysRequest(), metadata=mine)) == (
                grpc.StatusCode.PERMISSION_DENIED, "ADMINISTRATORS_ONLY",
            )  # fmt: skip
            await stub.ListBudgets(pb.ListBudgetsRequest(), metadata=mine)
            later = await stub.ExchangeToken(pb.ExchangeTokenRequest(key_id=caller.key_id), metadata=root)
            assert (await identity.verify(later.token)).account == "acme/app", (
                "work in the background goes by the binding"
            )
            await stub.DeleteRoleBinding(pb.DeleteRoleBindingRequest(binding=author), metadata=root)
            later = await stub.ExchangeToken(pb.ExchangeTokenRequest(key_id=caller.key_id), metadata=root)
            assert (await identity.verify(later.token)).scopes == ("read", "usage")
            assert (await refused(stub.Authenticate(pb.AuthenticateRequest(api_key="tw_x", id_token=token))))[0] is grpc.StatusCode.INVALID_ARGUMENT  # fmt: skip
