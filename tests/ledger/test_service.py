"""The ledger's contract over every transport: codes, reasons and facts as callers see them."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import jwt
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, QuotaFailure
from grpc_status import rpc_status
from tollway.chat.v1 import chat_pb2 as chat
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.ledger import keys
from services.ledger.app import identity_of
from services.ledger.client_secrets import MemoryClientSecrets
from services.ledger.holds import Attempt
from services.ledger.memory import MemoryStore
from services.ledger.oidc import Issuers
from services.ledger.people import MemoryPeople
from services.ledger.prices import Price, PriceBook
from services.ledger.replica import Replica
from services.ledger.service import LedgerService
from services.ledger.store import ApiKey
from services.runtime.background import running
from services.runtime.server import Service
from services.runtime.status import info_of
from tests.support.serve import TRANSPORTS, channel_to

ADMIN = "tw_admin"
Stub = ledger_pb2_grpc.LedgerServiceStub


class Ledger:
    """The stub, and calls under a key."""

    def __init__(self, stub: Stub) -> None:
        self.stub, self.key = stub, ADMIN

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self.stub, name), metadata=(("authorization", f"Bearer {self.key}"),), timeout=5.0)


@pytest.fixture(params=TRANSPORTS)
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    store, signer = MemoryStore(), keys.Signer()
    now = datetime.now(UTC)
    await store.publish_signing_key(signer.key_id, signer.public, now + keys.LIFETIME * 100)
    await store.add_key(ApiKey("key_admin", "operator", "", keys.digest(ADMIN), True, (), now), "")
    replica = Replica(store)
    prices = PriceBook(
        {
            "m": Price(input="1", output="2"),
            "strong": Price(input="10", output="20"),
            "own": Price(hour="3.60"),
            "searching": Price("1", "2", call="0.01"),
            "loud": Price(
                "1", "2", cache_write="1.25", audio_input="10", tiers={"flex": Price("0.5", "1", audio_input="5")}
            ),
        }
    )
    service = LedgerService(
        store, replica, signer, prices, b"secret", MemoryPeople(), Issuers({}), MemoryClientSecrets(),
        Attempt("strong", "p", "q"),
    )  # fmt: skip
    served = Service(
        name="tollway.ledger.v1.LedgerService",
        domain="ledger.tollway",
        register=partial(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, service),
        identity=identity_of(service),
    )
    async with running(replica.run(), service.guardian.run()), channel_to(served, request.param) as channel:
        made = Ledger(Stub(channel))
        yield made


async def customer(ledger: Ledger, account: str = "acme/search", **more: Any) -> Ledger:
    made = await ledger.CreateKey(pb.CreateKeyRequest(account=account, **more))
    other = Ledger(ledger.stub)
    other.key = made.secret
    return other


def asking(tokens: int = 1000, model: str = "m", service_tier: str = "", **more: Any) -> pb.ReserveRequest:
    attempt = pb.Attempt(
        model=model,
        provider="p",
        provider_model="q",
        input_tokens=tokens,
        output_tokens=tokens,
        service_tier=service_tier,
    )
    return pb.ReserveRequest(**{"reservation_id": str(uuid4()), "attempts": [attempt], **more})


def settling(asked: pb.ReserveRequest, held: pb.ReserveResponse, model: str = "m", **more: Any) -> pb.SettleRequest:
    return pb.SettleRequest(reservation_id=asked.reservation_id, hold=held.hold, model=model, **more)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_reserve_settle_and_see_it_spent(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking(1000)
    held = await who.Reserve(asked)
    assert held.held_nano_usd == 3_000_000
    done = await who.Settle(settling(asked, held, input_tokens=10, output_tokens=5, cached_input_tokens=2))
    assert (done.cost_nano_usd, done.overrun_nano_usd) == (20_000, 0)
    used = await who.QueryUsage(pb.QueryUsageRequest(group_by="model"))
    assert [(row.group, row.requests, row.input_tokens, row.cost_nano_usd) for row in used.rows] == [
        ("m", 1, 10, 20_000)
    ]


async def test_what_is_billed_apart_is_held_paid_for_and_told(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking(1000, "loud", service_tier="flex")
    asked.attempts[0].kinds.audio_input_tokens = 600
    held = await who.Reserve(asked)
    assert held.held_nano_usd == 600 * 10_000 + 400 * 1_250 + 1000 * 2_000
    used = chat.TokenKinds(cache_write_tokens=8, audio_input_tokens=500)
    done = await who.Settle(
        settling(
            asked, held, "loud", input_tokens=900, output_tokens=10, kinds=used, service_tier="flex", tags={"team": "a"}
        )
    )
    assert done.cost_nano_usd == 500 * 5_000 + 400 * 500 + 10 * 1_000
    (entry,) = (await who.ListEntries(pb.ListEntriesRequest())).entries
    assert dict(entry.tags) == {"team": "a", "tollway.tokens": "cache_write=8,audio_input=500", "tollway.tier": "flex"}
    error = await refused(who.Settle(settling(asked, held, service_tier="x" * 33)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "service_tier" in str(error.details())


async def test_a_budget_refuses_with_its_name_what_is_left_and_when_it_resets(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="day", unit=pb.UNIT_TOKENS, limit=1500, window=pb.WINDOW_DAY)
    state = (await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))).state
    assert state.available == 1500 and state.HasField("resets")
    error = await refused((await customer(ledger)).Reserve(asking(1000)))
    info, status, quota = info_of(error), rpc_status.from_call(error), QuotaFailure()  # type: ignore[arg-type]
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (info.reason, info.domain, info.metadata["available"]) == ("BUDGET_EXCEEDED", "ledger.tollway", "1500")
    assert info.metadata["resets"] != "never"
    assert status is not None and any(detail.Unpack(quota) for detail in status.details)
    assert quota.violations[0].subject == "acme:day"


async def test_a_warning_comes_before_the_limit(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="main", unit=pb.UNIT_REQUESTS, limit=4, warn_at=0.5)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who = await customer(ledger)
    for _ in range(3):
        asked = asking()
        await who.Settle(settling(asked, await who.Reserve(asked)))
    assert list((await who.Reserve(asking())).warnings) == ["acme:main"]


async def test_a_caller_is_told_its_limits(ledger: Ledger) -> None:
    for unit, most in ((pb.UNIT_REQUESTS, 60), (pb.UNIT_TOKENS, 90_000)):
        budget = pb.Budget(account="acme", name=f"rate{unit}", unit=unit, limit=most, window=pb.WINDOW_DAY)
        await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    told = {one.unit: one for one in (await (await customer(ledger)).Reserve(asking(1000))).limits}
    assert {unit: (one.limit, one.remaining) for unit, one in told.items()} == {
        pb.UNIT_REQUESTS: (60, 59),
        pb.UNIT_TOKENS: (90_000, 88_000),
    }
    assert all(0 < one.resets.seconds - time.time() <= 86_400 for one in told.values())


def carving(**more: Any) -> pb.CarveAllowanceRequest:
    amounts = {"nano_usd": 10**7, "tokens": 10_000, "requests": 5, "concurrent": 2, **more}
    made = pb.CarveAllowanceRequest(
        allowance_id=str(uuid4()),
        account="acme/search",
        models=[pb.PricedModel(model="m"), pb.PricedModel(model="?")],
        **amounts,
    )
    made.lasting.FromSeconds(3600)
    return made


async def test_an_allowance_is_granted_from_while_the_ledger_is_away(ledger: Ledger) -> None:
    for name, unit, limit in (("money", pb.UNIT_NANO_USD, 10**9), ("requests", pb.UNIT_REQUESTS, 24)):
        budget = pb.Budget(account="acme", name=name, unit=unit, limit=limit)
        await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who = await customer(ledger)
    assert (await refused(who.CarveAllowance(carving()))).code() is grpc.StatusCode.PERMISSION_DENIED
    asked = carving()
    made = await ledger.CarveAllowance(asked)
    assert (made.nano_usd, made.tokens, made.requests, made.concurrent) == (10**7, 10_000, 3, 2)
    assert made.counts_money and [one.known for one in made.prices] == [True, False]
    assert made.prices[0].output_nano_usd_per_million == 2 * 10**9
    settled = pb.SettleRequest(
        reservation_id=str(uuid4()),
        hold=made.allowance,
        model="m",
        input_tokens=1000,
        output_tokens=500,
        key_id="key_1",
    )
    for _ in range(2):
        assert (await who.Settle(settled)).cost_nano_usd == 2_000_000
    states = {one.budget.name: one.spent for one in (await who.ListBudgets(pb.ListBudgetsRequest())).budgets}
    assert states == {"money": 2_000_000, "requests": 1}
    used = await who.QueryUsage(pb.QueryUsageRequest(group_by="key"))
    assert [(row.group, row.cost_nano_usd) for row in used.rows] == [("key_1", 2_000_000)]

    again = await ledger.CarveAllowance(asked)
    assert again.requests == 2, "an eighth of what is left"
    for _ in range(24 - 1 - 2):
        await who.Reserve(pb.ReserveRequest(reservation_id=str(uuid4())))
    assert info_of(await refused(who.Reserve(asking()))).reason == "BUDGET_EXCEEDED", (
        "what is set aside is nobody else's"
    )
    stranger = await customer(ledger, "other")
    settled.reservation_id = str(uuid4())
    assert (await refused(stranger.Settle(settled))).code() is grpc.StatusCode.PERMISSION_DENIED
    settled.hold = settled.hold[:-1]
    assert info_of(await refused(who.Settle(settled))).reason == "RESERVATION_UNKNOWN"


async def test_nothing_is_set_aside_of_a_budget_that_is_nearly_used_up(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="main", unit=pb.UNIT_REQUESTS, limit=7)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    error = await refused(ledger.CarveAllowance(carving()))
    assert info_of(error).reason == "BUDGET_EXCEEDED" and "main" in (error.details() or "")
    who = await customer(ledger)
    assert [(await who.Reserve(asking())).held_nano_usd for _ in range(7)], "all of it can still be had"


async def test_a_machine_is_paid_by_the_hour_that_it_ran(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="main", unit=pb.UNIT_NANO_USD, limit=10**12)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who, asked = await customer(ledger), asking(model="own")
    asked.attempts[0].compute.FromSeconds(60)
    held = await who.Reserve(asked)
    assert held.held_nano_usd == 60 * 10**6
    settled = pb.SettleRequest(reservation_id=asked.reservation_id, hold=held.hold, model="own", input_tokens=9)
    settled.compute.FromMilliseconds(1500)
    assert (await who.Settle(settled)).cost_nano_usd == 1_500_000


async def test_calls_are_paid_for_beside_their_tokens(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking(model="searching")
    asked.attempts[0].calls = 2
    tokens = asked.attempts[0].input_tokens * 1000 + asked.attempts[0].output_tokens * 2000
    held = await who.Reserve(asked)
    assert held.held_nano_usd == tokens + 2 * 10**7
    settled = pb.SettleRequest(
        reservation_id=asked.reservation_id, hold=held.hold, model="searching", input_tokens=9, output_tokens=1
    )
    assert (await who.Settle(settled)).cost_nano_usd == 11_000 + 10**7, "one, where nothing is said"
    listed = await ledger.ListPrices(pb.ListPricesRequest(models=[pb.PricedModel(model="searching")]))
    (price,) = listed.prices
    assert (price.nano_usd_per_call, price.input_nano_usd_per_million, price.nano_usd_per_hour) == (10**7, 10**9, 0)


async def test_a_character_that_databases_have_no_room_for_stands_in_no_entry(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking()
    held = await who.Reserve(asked)
    await who.Settle(settling(asked, held, input_tokens=1, tags={"te\0am": "a\0b"}))
    (entry,) = (await who.ListEntries(pb.ListEntriesRequest())).entries
    assert dict(entry.tags) == {"te\ufffdam": "a\ufffdb"}


async def test_searches_are_held_and_paid_for_and_the_entry_tells_them(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking()
    asked.attempts[0].web_searches = 5
    tokens = asked.attempts[0].input_tokens * 1000 + asked.attempts[0].output_tokens * 2000
    held = await who.Reserve(asked)
    assert held.held_nano_usd == tokens + 5 * 10**7
    settled = pb.SettleRequest(
        reservation_id=asked.reservation_id, hold=held.hold, model="m", input_tokens=9, output_tokens=1, web_searches=2
    )
    assert (await who.Settle(settled)).cost_nano_usd == 11_000 + 2 * 10**7
    (entry,) = (await who.ListEntries(pb.ListEntriesRequest())).entries
    assert dict(entry.tags) == {"tollway.searches": "2"}
    listed = await ledger.ListPrices(pb.ListPricesRequest(models=[pb.PricedModel(model="m")]))
    assert listed.prices[0].nano_usd_per_web_search == 10**7


async def test_a_released_hold_is_free_again(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="main", unit=pb.UNIT_REQUESTS, limit=1)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who, asked = await customer(ledger), asking()
    held = await who.Reserve(asked)
    assert info_of(await refused(who.Reserve(asking()))).reason == "BUDGET_EXCEEDED"
    await who.Release(pb.ReleaseRequest(reservation_id=asked.reservation_id, hold=held.hold))
    await who.Reserve(asking())


async def test_another_tenant_cannot_end_a_hold(ledger: Ledger) -> None:
    who, other, asked = await customer(ledger), await customer(ledger, "other"), asking()
    held = await who.Reserve(asked)
    error = await refused(other.Settle(settling(asked, held)))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.PERMISSION_DENIED, "OTHER_TENANT")


async def test_nobody_reads_beside_or_above_their_account(ledger: Ledger) -> None:
    who = await customer(ledger, "acme/search")
    for account in ("acme", "acme/searching", "other"):
        for call in (
            who.QueryUsage(pb.QueryUsageRequest(account=account)),
            who.ListBudgets(pb.ListBudgetsRequest(account=account)),
        ):
            assert info_of(await refused(call)).reason == "OTHER_TENANT"
    await who.QueryUsage(pb.QueryUsageRequest(account="acme/search/below"))


async def test_only_administrators_make_keys_and_budgets(ledger: Ledger) -> None:
    who = await customer(ledger)
    budget = pb.Budget(account="acme", name="b", unit=pb.UNIT_TOKENS, limit=1)
    for call in (
        who.CreateKey(pb.CreateKeyRequest(account="acme")),
        who.ListKeys(pb.ListKeysRequest()),
        who.RevokeKey(pb.RevokeKeyRequest(key_id="key_admin")),
        who.RotateKey(pb.RotateKeyRequest(key_id="key_admin")),
        who.SetBudget(pb.SetBudgetRequest(budget=budget)),
        who.DeleteBudget(pb.DeleteBudgetRequest(account="acme", name="b")),
    ):
        assert (await refused(call)).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_keys_end_expire_and_are_listed_in_pages(ledger: Ledger) -> None:
    made = [await ledger.CreateKey(pb.CreateKeyRequest(account="acme", name=str(n))) for n in range(3)]
    page = await ledger.ListKeys(pb.ListKeysRequest(account="acme", page_size=2))
    rest = await ledger.ListKeys(pb.ListKeysRequest(account="acme", page_token=page.next_page_token))
    assert {one.key_id for one in [*page.keys, *rest.keys]} == {one.key.key_id for one in made}
    await ledger.RevokeKey(pb.RevokeKeyRequest(key_id=made[0].key.key_id))
    error = await refused(ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=made[0].secret)))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_REVOKED")
    short = await ledger.CreateKey(pb.CreateKeyRequest(account="acme", lifetime=Duration(nanos=1)))
    error = await refused(ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=short.secret)))
    assert info_of(error).reason == "KEY_EXPIRED"
    assert info_of(await refused(ledger.RevokeKey(pb.RevokeKeyRequest(key_id="none")))).reason == "KEY_UNKNOWN"


async def test_a_key_is_handed_on_and_both_work_for_a_while(ledger: Ledger) -> None:
    old = await ledger.CreateKey(pb.CreateKeyRequest(account="acme/x", name="n", models=["m"]))
    asked = pb.RotateKeyRequest(key_id=old.key.key_id, overlap=Duration(seconds=600), request_id="rotate-1")
    made = await ledger.RotateKey(asked)
    assert (made.key.account, made.key.name, list(made.key.models)) == ("acme/x", "n", ["m"])
    assert made.key.key_id != old.key.key_id and not made.key.HasField("expires")
    for secret in (old.secret, made.secret):
        await ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=secret))
    again = await ledger.RotateKey(asked)
    assert again.key.key_id == made.key.key_id and not again.secret and again.old.expires == made.old.expires
    at_once = await ledger.RotateKey(pb.RotateKeyRequest(key_id=made.key.key_id, overlap=Duration()))
    error = await refused(ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=made.secret)))
    assert info_of(error).reason == "KEY_EXPIRED" and at_once.secret
    assert info_of(await refused(ledger.RotateKey(pb.RotateKeyRequest(key_id=made.key.key_id)))).reason == "KEY_EXPIRED"
    assert info_of(await refused(ledger.RotateKey(pb.RotateKeyRequest(key_id="none")))).reason == "KEY_UNKNOWN"


async def test_a_repeated_create_makes_one_key_and_tells_its_secret_once(ledger: Ledger) -> None:
    first, second = [await ledger.CreateKey(pb.CreateKeyRequest(account="acme", request_id="r")) for _ in range(2)]
    assert first.key.key_id == second.key.key_id and first.secret and not second.secret


async def test_watchers_hear_of_a_revocation_within_a_second(ledger: Ledger) -> None:
    made = await ledger.CreateKey(pb.CreateKeyRequest(account="acme"))
    watch = ledger.stub.Watch(pb.WatchRequest())
    reading = asyncio.ensure_future(watch.read())
    await ledger.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id))
    async with asyncio.timeout(1.0):
        told: Any = await reading
        assert told.suspensions_told and not told.suspended_accounts, "how it stands comes first"
        while not told.revoked_key_ids:
            told = await watch.read()
    assert list(told.revoked_key_ids) == [made.key.key_id]
    watch.cancel()


async def test_tokens_are_signed_by_published_keys(ledger: Ledger) -> None:
    listed = await ledger.stub.ListSigningKeys(pb.ListSigningKeysRequest())
    assert [len(key.ed25519) for key in listed.keys] == [32]
    made = await ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=ADMIN))
    assert made.token.count(".") == 2 and made.HasField("expires")


async def test_a_model_without_a_price_is_refused_only_where_money_counts(ledger: Ledger) -> None:
    who = await customer(ledger)
    assert (await who.Reserve(asking(model="unheard-of"))).held_nano_usd == 0
    error = await refused(who.Reserve(asking(model="unheard-of", ceiling_nano_usd=5)))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PRICE_UNKNOWN")
    listed = await ledger.ListPrices(
        pb.ListPricesRequest(models=[pb.PricedModel(model="m"), pb.PricedModel(model="unheard-of")])
    )
    assert [(one.known, one.input_nano_usd_per_million) for one in listed.prices] == [(True, 10**9), (False, 0)]


@pytest.mark.parametrize(
    ("call", "request_", "field"),
    [
        ("Reserve", pb.ReserveRequest(reservation_id="no-uuid"), "reservation_id"),
        ("Reserve", asking(-1), "attempts[0].input_tokens"),
        ("CreateKey", pb.CreateKeyRequest(account="Not/Lower"), "account"),
        ("SetBudget", pb.SetBudgetRequest(), "budget"),
        ("SetBudget", pb.SetBudgetRequest(budget=pb.Budget(account="a", name="b", limit=1)), "budget.unit"),
        (
            "SetBudget",
            pb.SetBudgetRequest(
                budget=pb.Budget(account="a", name="b", unit=pb.UNIT_TOKENS, limit=1, time_zone="Atlantis")
            ),
            "budget.time_zone",
        ),
        ("ListKeys", pb.ListKeysRequest(page_size=5000), "page_size"),
        ("QueryUsage", pb.QueryUsageRequest(group_by="colour"), "group_by"),
    ],
)
async def test_a_bad_request_names_the_field(ledger: Ledger, call: str, request_: Any, field: str) -> None:
    error = await refused(getattr(ledger, call)(request_))
    status, broken = rpc_status.from_call(error), BadRequest()  # type: ignore[arg-type]
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert status is not None and any(detail.Unpack(broken) for detail in status.details)
    assert [violation.field for violation in broken.field_violations][:1] == [field]


async def test_without_a_key_nobody_gets_in(ledger: Ledger) -> None:
    error = await refused(ledger.stub.Reserve(asking()))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MISSING")
    ledger.key = "tw_unknown"
    assert info_of(await refused(ledger.Reserve(asking()))).reason == "KEY_UNKNOWN"


async def test_budgets_are_listed_removed_and_forgotten(ledger: Ledger) -> None:
    for name in ("a", "b", "c"):
        budget = pb.Budget(account="acme", name=name, unit=pb.UNIT_REQUESTS, limit=1)
        await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    page = await ledger.ListBudgets(pb.ListBudgetsRequest(account="acme/search", page_size=2))
    rest = await ledger.ListBudgets(pb.ListBudgetsRequest(account="acme/search", page_token=page.next_page_token))
    assert [state.budget.name for state in [*page.budgets, *rest.budgets]] == ["a", "b", "c"]
    for name in ("a", "b", "c"):
        await ledger.DeleteBudget(pb.DeleteBudgetRequest(account="acme", name=name))
    error = await refused(ledger.DeleteBudget(pb.DeleteBudgetRequest(account="acme", name="a")))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.NOT_FOUND, "BUDGET_UNKNOWN")
    who = await customer(ledger)
    for _ in range(3):
        await who.Reserve(asking())


async def test_work_in_the_background_gets_a_token_of_the_key_that_handed_it_in(ledger: Ledger) -> None:
    made = await ledger.CreateKey(pb.CreateKeyRequest(account="acme/search"))
    token = (await ledger.ExchangeToken(pb.ExchangeTokenRequest(key_id=made.key.key_id))).token
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["account"], claims["sub"], claims["admin"]) == ("acme/search", made.key.key_id, False)
    other = Ledger(ledger.stub)
    other.key = made.secret
    assert (
        info_of(await refused(other.ExchangeToken(pb.ExchangeTokenRequest(key_id="key_admin")))).reason
        == "ADMINISTRATORS_ONLY"
    )
    await ledger.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id))
    assert (
        info_of(await refused(ledger.ExchangeToken(pb.ExchangeTokenRequest(key_id=made.key.key_id)))).reason
        == "KEY_REVOKED"
    )
    assert (
        info_of(await refused(ledger.ExchangeToken(pb.ExchangeTokenRequest(key_id="nobody")))).reason == "KEY_UNKNOWN"
    )


async def test_a_further_try_pays_when_the_earlier_ones_did_not(ledger: Ledger) -> None:
    who, asked = await customer(ledger), asking(1000)
    first = await who.Reserve(asked)
    await who.Release(pb.ReleaseRequest(reservation_id=asked.reservation_id, hold=first.hold))
    assert info_of(await refused(who.Reserve(asked))).reason == "ALREADY_SETTLED"
    asked.again = True
    second = await who.Reserve(asked)
    assert second.reservation_id not in ("", asked.reservation_id) and not second.paid
    assert (await who.Reserve(asked)).reservation_id == second.reservation_id, "the same try, not another one"
    named = pb.ReserveRequest(reservation_id=second.reservation_id)
    await who.Settle(settling(named, second, input_tokens=10))
    assert info_of(await refused(who.Reserve(asked))).reason == "ALREADY_SETTLED"


async def test_a_further_try_of_work_in_the_background_pays_once(ledger: Ledger) -> None:
    made = await ledger.CreateKey(pb.CreateKeyRequest(account="acme/search"))
    who = Ledger(ledger.stub)
    who.key = (await ledger.ExchangeToken(pb.ExchangeTokenRequest(key_id=made.key.key_id))).token
    asked = asking(1000, again=True)
    held = await who.Reserve(asked)
    assert held.hold and not held.reservation_id and not held.paid
    await who.Settle(settling(asked, held, input_tokens=10))
    other = pb.ReserveRequest(reservation_id=str(uuid4()), again=True)
    live = await who.Reserve(asking(1000, again=True, reservation_id=other.reservation_id))
    assert (await who.Reserve(other)).held_nano_usd == live.held_nano_usd, (
        "the hold of the try before, which still lives"
    )
    gone = pb.ReleaseRequest(reservation_id=other.reservation_id, hold=live.hold)
    await who.Release(gone)
    shared = pb.SettleRequest(reservation_id=other.reservation_id, hold=live.hold, model="m", input_tokens=3)
    assert info_of(await refused(who.Settle(shared))).reason == "ALREADY_SETTLED"
    shared.again = True
    assert (await who.Settle(shared)).cost_nano_usd == (await who.Settle(shared)).cost_nano_usd == 3000
    assert (await who.Reserve(other)).paid
    again = await who.Reserve(asked)
    assert again.paid and not again.hold
    rows = (await who.QueryUsage(pb.QueryUsageRequest())).rows
    assert [row.requests for row in rows] == [2]


async def test_a_suspended_account_stops_within_a_second_with_all_below_it(ledger: Ledger) -> None:
    who, other = await customer(ledger, "acme/search/api"), await customer(ledger, "acme/searching")
    asked = asking()
    held = await who.Reserve(asked)
    watch: Any = ledger.stub.Watch(pb.WatchRequest())
    assert not (await watch.read()).suspended_accounts
    made = await ledger.SuspendAccount(pb.SuspendAccountRequest(account="acme/search", reason="it loops"))
    again = await ledger.SuspendAccount(pb.SuspendAccountRequest(account="acme/search"))
    assert again.suspension == made.suspension and made.suspension.by_key_id == "key_admin"
    async with asyncio.timeout(1.0):
        assert list((await watch.read()).suspended_accounts) == ["acme/search"]
    error = await refused(who.Reserve(asking()))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.PERMISSION_DENIED, "ACCOUNT_SUSPENDED")
    secret = pb.AuthenticateRequest(api_key=who.key)
    assert info_of(await refused(ledger.stub.Authenticate(secret))).reason == "ACCOUNT_SUSPENDED"
    await other.Reserve(asking())
    await who.Settle(settling(asked, held, input_tokens=1))  # what was begun is paid for
    listed = (await ledger.ListSuspensions(pb.ListSuspensionsRequest())).suspensions
    assert [(one.account, one.reason) for one in listed] == [("acme/search", "it loops")]
    await ledger.ResumeAccount(pb.ResumeAccountRequest(account="acme/search"))
    async with asyncio.timeout(1.0):
        told = await watch.read()
    assert told.suspensions_told and not told.suspended_accounts
    await who.Reserve(asking())
    gone = await refused(ledger.ResumeAccount(pb.ResumeAccountRequest(account="acme/search")))
    assert info_of(gone).reason == "NOT_SUSPENDED"
    own = await refused(ledger.SuspendAccount(pb.SuspendAccountRequest(account="operator")))
    assert info_of(own).reason == "OWN_ACCOUNT"
    for call in (who.SuspendAccount(pb.SuspendAccountRequest(account="globex")),
                 who.ResumeAccount(pb.ResumeAccountRequest(account="globex")),
                 who.ListSuspensions(pb.ListSuspensionsRequest())):  # fmt: skip
        assert (await refused(call)).code() is grpc.StatusCode.PERMISSION_DENIED
    watch.cancel()


async def test_so_many_requests_at_once_and_no_more(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="at-once", unit=pb.UNIT_CONCURRENT_REQUESTS, limit=5)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who = await customer(ledger)
    asked = [asking() for _ in range(20)]
    made = await asyncio.gather(*(who.Reserve(one) for one in asked), return_exceptions=True)
    held = [(one, hold) for one, hold in zip(asked, made, strict=True) if not isinstance(hold, BaseException)]
    assert len(held) == 5
    for one, hold in held[:2]:
        await who.Settle(settling(one, hold, input_tokens=1))
    await who.Release(pb.ReleaseRequest(reservation_id=held[2][0].reservation_id, hold=held[2][1].hold))
    more = await asyncio.gather(*(who.Reserve(asking()) for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(one, BaseException) for one in more) == 3
    state = (await who.ListBudgets(pb.ListBudgetsRequest())).budgets[0]
    assert (state.spent, state.held, state.available) == (0, 5, 0)
    budget.window = pb.WINDOW_DAY
    unfit = await refused(ledger.SetBudget(pb.SetBudgetRequest(budget=budget)))
    assert info_of(unfit).reason == "WINDOW_UNFIT"


async def test_keys_bear_their_scopes_and_regions(ledger: Ledger) -> None:
    who = await customer(ledger, scopes=[pb.SCOPE_CHAT], regions=["eu"])
    token = (await ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=who.key))).token
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["scopes"], claims["regions"]) == (["chat"], ["eu"])
    listed = (await ledger.ListKeys(pb.ListKeysRequest(account="acme"))).keys[0]
    assert list(listed.scopes) == [pb.SCOPE_CHAT] and list(listed.regions) == ["eu"]
    error = await refused(who.QueryUsage(pb.QueryUsageRequest()))
    assert info_of(error).reason == "SCOPE_MISSING"
    rotated = await ledger.RotateKey(pb.RotateKeyRequest(key_id=listed.key_id))
    assert rotated.key.scopes == listed.scopes and rotated.key.regions == listed.regions


async def test_entries_are_listed_page_by_page_and_a_month_is_forecast(ledger: Ledger) -> None:
    who = await customer(ledger)
    for n in range(5):
        asked = asking()
        held = await who.Reserve(asked)
        await who.Settle(settling(asked, held, input_tokens=n, tags={"team": "blue"}))
    first = await who.ListEntries(pb.ListEntriesRequest(page_size=3))
    rest = await who.ListEntries(pb.ListEntriesRequest(page_size=3, page_token=first.next_page_token))
    assert [one.input_tokens for one in (*first.entries, *rest.entries)] == [0, 1, 2, 3, 4]
    assert not rest.next_page_token and dict(rest.entries[0].tags) == {"team": "blue"}
    wrong = await refused(who.ListEntries(pb.ListEntriesRequest(page_token="somewhere")))
    assert info_of(wrong).reason == "PAGE_UNKNOWN"
    used = await who.QueryUsage(
        pb.QueryUsageRequest(group_by="tag:team", tags={"team": "blue"}, time_zone="Asia/Tokyo")
    )
    assert [(row.group, row.requests) for row in used.rows] == [("blue", 5)]
    made = await who.ForecastUsage(pb.ForecastUsageRequest(time_zone="Europe/Berlin"))
    assert made.spent_nano_usd == made.expected_nano_usd == 10_000 and made.days == 0
    assert made.month_ends.ToDatetime(UTC) > datetime.now(UTC)
    zone = await refused(who.ForecastUsage(pb.ForecastUsageRequest(time_zone="Mars/Base")))
    assert info_of(zone).reason == "ZONE_UNKNOWN"


def vector(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


async def told(ledger: Ledger, kind: str) -> pb.Alert:
    async with asyncio.timeout(5):
        while True:
            found: list[pb.Alert] = (await ledger.ListAlerts(pb.ListAlertsRequest(account="*"))).alerts
            if mine := [one for one in found if one.kind == kind]:
                return mine[-1]
            await asyncio.sleep(0.05)


async def test_a_loop_is_told_slowed_down_or_stopped_as_its_safeguard_says(ledger: Ledger) -> None:
    loop = pb.LoopRule(likeness=0.95, most=5, within=Duration(seconds=60))
    guard = pb.Safeguard(account="acme", loop=loop, action=pb.SAFEGUARD_ACTION_FLAG)
    await ledger.SetSafeguard(pb.SetSafeguardRequest(safeguard=guard))
    assert (await ledger.ListSafeguards(pb.ListSafeguardsRequest())).safeguards[0] == guard
    who = await customer(ledger, "acme/agent")
    for n in range(8):
        held = await who.Reserve(asking(likeness=vector(1, 0.01 * n)))
        assert list(held.warnings) == (["loop"] if n >= 5 else [])
    assert not (await who.Reserve(asking(likeness=vector(0, 1)))).warnings
    assert not (await who.Reserve(asking())).warnings
    alert = await told(ledger, "loop")
    assert alert.account == "acme/agent" and "6 prompts" in alert.text
    assert [one.kind for one in (await who.ListAlerts(pb.ListAlertsRequest())).alerts] == ["loop"], "it is told once"
    assert not (await ledger.ListAlerts(pb.ListAlertsRequest(account="*", after=alert.alert_id))).alerts

    guard.account, guard.action = "acme/agent", pb.SAFEGUARD_ACTION_THROTTLE  # the nearest counts
    await ledger.SetSafeguard(pb.SetSafeguardRequest(safeguard=guard))
    await who.Reserve(asking(likeness=vector(1, 0)))
    error = await refused(who.Reserve(asking(likeness=vector(1, 0))))
    assert (error.code(), info_of(error).reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "THROTTLED")
    await who.Reserve(asking(likeness=vector(0, 1)))

    guard.action = pb.SAFEGUARD_ACTION_SUSPEND
    await ledger.SetSafeguard(pb.SetSafeguardRequest(safeguard=guard))
    stopped = await refused(who.Reserve(asking(likeness=vector(1, 0))))
    assert info_of(stopped).reason == "ACCOUNT_SUSPENDED"
    (standing,) = (await ledger.ListSuspensions(pb.ListSuspensionsRequest())).suspensions
    assert (standing.account, standing.by_key_id) == ("acme/agent", "") and "alike" in standing.reason
    assert (await told(ledger, "suspended")).account == "acme/agent"
    await ledger.DeleteSafeguard(pb.DeleteSafeguardRequest(account="acme/agent"))
    guard.account = "operator"
    await ledger.SetSafeguard(pb.SetSafeguardRequest(safeguard=guard))
    for _ in range(8):
        held = await ledger.Reserve(asking(likeness=vector(1, 0)))
    assert list(held.warnings) == ["loop"], "an administrator is told and not stopped"
    gone = await refused(ledger.DeleteSafeguard(pb.DeleteSafeguardRequest(account="acme/agent")))
    assert info_of(gone).reason == "SAFEGUARD_UNKNOWN"
    denied = await refused((await customer(ledger)).ListAlerts(pb.ListAlertsRequest(account="*")))
    assert denied.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_budget_past_its_mark_is_told_once(ledger: Ledger) -> None:
    budget = pb.Budget(account="acme", name="day", unit=pb.UNIT_TOKENS, limit=1000, window=pb.WINDOW_DAY, warn_at=0.5)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    who = await customer(ledger)
    asked = asking(400)
    held = await who.Reserve(asked)
    await who.Settle(settling(asked, held, input_tokens=300, output_tokens=300))
    alert = await told(ledger, "budget_warning")
    assert (alert.account, alert.subject) == ("acme", "day") and "60%" in alert.text
    await asyncio.sleep(1.5)
    assert len((await ledger.ListAlerts(pb.ListAlertsRequest(account="*"))).alerts) == 1


async def test_other_services_raise_alerts_once(ledger: Ledger) -> None:
    raised = pb.RaiseAlertRequest(kind="drift", account="acme", subject="m", text="it differs", request_id="r1")
    for _ in range(2):
        await ledger.RaiseAlert(raised)
    alert = await told(ledger, "drift")
    assert (alert.account, alert.subject, alert.text) == ("acme", "m", "it differs")
    assert len((await ledger.ListAlerts(pb.ListAlertsRequest(account="*"))).alerts) == 1
    denied = await refused((await customer(ledger)).RaiseAlert(raised))
    assert denied.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_savings_are_told_by_their_cause(ledger: Ledger) -> None:
    who = await customer(ledger)
    asked = asking()
    held = await who.Reserve(asked)
    await who.Settle(settling(asked, held, input_tokens=100, output_tokens=10))
    hit = pb.ReserveRequest(reservation_id=str(uuid4()))
    kept = await who.Reserve(hit)
    spared = pb.SettleRequest(reservation_id=hit.reservation_id, hold=kept.hold, cached=True, spared_input_tokens=50,
                              spared_output_tokens=5)  # fmt: skip
    await who.Settle(spared)
    (row,) = (await who.QueryUsage(pb.QueryUsageRequest())).rows
    assert (row.cost_nano_usd, row.baseline_nano_usd, row.cached_baseline_nano_usd) == (120_000, 1_800_000, 600_000)


async def test_an_erased_tenant_has_no_keys_budgets_or_spend(ledger: Ledger) -> None:
    mine, theirs = await customer(ledger), await customer(ledger, "globex")
    budget = pb.Budget(account="acme", name="main", unit=pb.UNIT_NANO_USD, limit=10**9, window=pb.WINDOW_TOTAL)
    await ledger.SetBudget(pb.SetBudgetRequest(budget=budget))
    asked = asking()
    held = await mine.Reserve(asked)
    await mine.Settle(settling(asked, held, input_tokens=1000, tags={"customer": "ann"}))
    gone = await ledger.Erase(pb.EraseRequest(tenant="acme", subject="ann"))
    assert gone.erased == {"entries": 1}
    gone = await ledger.Erase(pb.EraseRequest(tenant="acme", everything=True))
    assert (gone.erased["entries"], gone.erased["keys"], gone.erased["budgets"]) == (1, 1, 1)
    assert not (await ledger.ListBudgets(pb.ListBudgetsRequest(account="acme"))).budgets
    assert not (await ledger.QueryUsage(pb.QueryUsageRequest(account="acme", group_by="account"))).rows
    again = ledger.stub.Authenticate(pb.AuthenticateRequest(api_key=mine.key), timeout=5.0)
    assert (await refused(again)).code() is grpc.StatusCode.UNAUTHENTICATED
    assert (await theirs.Reserve(asking())).hold
    own = await refused(ledger.Erase(pb.EraseRequest(tenant="operator", everything=True)))
    assert (own.code(), info_of(own).reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OWN_ACCOUNT")
