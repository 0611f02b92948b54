"""What every store must do. A new store joins the fixture and nothing else."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from services.ledger.app import MIGRATIONS
from services.ledger.books import Budget, Unit
from services.ledger.memory import MemoryStore
from services.ledger.postgres import PostgresStore
from services.ledger.safeguards import Action, Loop, Safeguard, Spike
from services.ledger.statements import OPEN_METERS
from services.ledger.store import Alert, ApiKey, Asked, Charge, Ending, Entry, MeterKey, Store
from services.ledger.suspensions import Suspension
from services.ledger.windows import BEGINNING, Window
from services.runtime import postgres

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=6)
METER = MeterKey("acme", "main", BEGINNING)
ONE, TWO = uuid4(), uuid4()


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with postgres.opened(request.getfixturevalue("postgres_url"), "ledger", MIGRATIONS, 10) as pool:
        yield PostgresStore(pool)


def key(name: str, account: str = "acme/search") -> ApiKey:
    return ApiKey(name, account, "", name.encode(), False, ("small",), NOW)


def ended(cost: int = 0, *, held: int = 0, replica: UUID = ONE, account: str = "acme", **more: object) -> Ending:
    facts: dict[str, object] = {"reservation_id": uuid4(), "outcome": "settled", "model": "m", **more}
    entry = Entry(at=NOW, key_id="k", account=account, cost=cost, held=held, **facts)  # type: ignore[arg-type]
    return Ending(entry, replica, (Charge(METER, cost, held),) if held else ())


async def test_keys_are_kept_found_listed_and_revoked(store: Store) -> None:
    for name in ("key_a", "key_b", "key_c"):
        await store.add_key(key(name), "")
    await store.add_key(key("key_d", "other"), "")
    assert await store.find_key(b"key_b") == key("key_b")
    assert await store.find_key(b"nothing") is None
    assert [one.id for one in await store.keys("acme", "key_a", 10)] == ["key_b", "key_c"]
    assert [one.id for one in await store.keys("", "", 2)] == ["key_a", "key_b"]
    revoked = await store.revoke_key("key_b", NOW)
    assert revoked is not None and revoked.revoked == NOW
    again = await store.revoke_key("key_b", LATER)
    assert again is not None and again.revoked == NOW
    assert await store.revoked_since(NOW) == ["key_b"]
    assert await store.revoke_key("nobody", NOW) is None
    assert await store.key("key_a") == key("key_a") and await store.key("nobody") is None
    ends = await store.expire_key("key_a", LATER)
    assert ends is not None and ends.expires == LATER
    sooner = await store.expire_key("key_a", NOW)
    assert sooner is not None and sooner.expires == NOW
    again = await store.expire_key("key_a", LATER)  # what ends sooner stays
    assert again is not None and again.expires == NOW and await store.expire_key("nobody", NOW) is None


async def test_an_account_is_no_prefix_of_its_neighbour(store: Store) -> None:
    await store.add_key(key("key_a", "acme_x/team"), "")
    await store.add_key(key("key_b", "acme-x/team"), "")
    assert [one.id for one in await store.keys("acme_x", "", 10)] == ["key_a"]


async def test_a_repeated_request_makes_no_second_key(store: Store) -> None:
    assert (await store.add_key(key("key_a"), "once")).id == "key_a"
    assert (await store.add_key(key("key_b"), "once")).id == "key_a"


async def test_signing_keys_end_and_secrets_are_shared(store: Store) -> None:
    await store.publish_signing_key("old", b"1", NOW - timedelta(days=1))
    await store.publish_signing_key("new", b"2", NOW + timedelta(days=1))
    assert await store.signing_keys(NOW) == {"new": b"2"}
    assert await store.shared_secret("holds", b"first") == b"first"
    assert await store.shared_secret("holds", b"second") == b"first"


async def test_budgets_are_set_changed_and_removed(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.TOKENS, 10))
    await store.set_budget(Budget("acme", "main", Unit.TOKENS, 20))
    assert [one.limit for one in await store.budgets()] == [20]
    assert await store.delete_budget("acme", "main")
    assert not await store.delete_budget("acme", "main")
    assert await store.lease(ONE, {METER: 1}, LATER) == {}


async def test_a_revision_tells_of_each_change_and_of_nothing_else(store: Store) -> None:
    seen = [await store.revision()]

    async def changed() -> bool:
        seen.append(await store.revision())
        return seen[-1] not in seen[:-1]

    await store.set_budget(Budget("acme", "main", Unit.TOKENS, 10))
    assert await changed()
    await store.standing([METER])
    await store.lease(ONE, {METER: 1}, LATER)
    await store.end([ended(1, held=1)])
    await store.extend(ONE, LATER, NOW)
    assert not await changed()
    await store.suspend(Suspension("acme", "", NOW))
    assert await changed()
    await store.resume("acme")
    assert await changed()
    await store.set_safeguard(Safeguard("acme"))
    assert await changed()
    await store.delete_safeguard("acme")
    assert await changed()
    await store.delete_budget("acme", "main")
    assert await changed()


async def test_many_meters_are_leased_and_given_back_at_once(store: Store) -> None:
    meters = [MeterKey(f"acme/team{n}", "main", BEGINNING) for n in range(300)]
    for meter in meters:
        await store.set_budget(Budget(meter.account, "main", Unit.REQUESTS, 100))
    gone = MeterKey("acme/gone", "main", BEGINNING)
    given = await store.lease(ONE, dict.fromkeys([*meters, gone], 5), LATER)
    assert given.keys() == set(meters) and all(5 <= amount <= 100 for amount in given.values())
    await store.give_back(ONE, {meter: given[meter] - 2 for meter in meters})
    stands = await store.standing([*meters, gone])
    assert stands.keys() == set(meters) and {one.leased for one in stands.values()} == {2}


async def test_what_others_lease_is_called_back_for_a_while(store: Store) -> None:
    budget = METER.budget
    await store.set_budget(Budget("acme", "main", Unit.REQUESTS, 1000))
    assert not await store.recall(ONE, METER, LATER) and not await store.recalled(NOW), "nobody leases any"
    many = (await store.lease(ONE, {METER: 1}, LATER))[METER]
    assert many > 1
    assert not await store.recall(ONE, METER, LATER), "nobody else does"
    assert await store.recall(TWO, METER, LATER) and await store.recall(TWO, METER, NOW), "the longer one stands"
    assert set(await store.recalled(NOW)) == {budget}
    assert await store.lease(TWO, {METER: 2}, LATER) == {METER: 2}, "by the request, though much is left"
    await store.give_back(ONE, {METER: many})
    assert await store.recall(ONE, METER, LATER) and not await store.recall(TWO, METER, LATER), (
        "what is back is nobody's"
    )
    assert not await store.recalled(LATER)
    assert (await store.lease(TWO, {METER: 2}, LATER))[METER] > 2
    await store.delete_budget("acme", "main")
    assert not await store.recall(ONE, METER, LATER)


async def test_steps_of_a_rolling_window_are_called_back_together(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.REQUESTS, 1000, Window.ROLLING_HOUR))
    earlier, now = MeterKey("acme", "main", NOW - timedelta(minutes=5)), MeterKey("acme", "main", NOW)
    await store.lease(ONE, {earlier: 1}, LATER)
    assert await store.recall(TWO, now, LATER)
    assert not await store.recall(TWO, MeterKey("acme", "main", NOW + timedelta(hours=2)), LATER), (
        "long out of the window"
    )


async def test_an_open_meter_is_not_counted_again(postgres_url: str) -> None:
    """Entries of a month are many, and each lease asks for its meters."""
    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 4) as pool:
        store = PostgresStore(pool)
        await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 100, Window.MONTH))
        month = datetime(2026, 3, 1, tzinfo=UTC)

        async def loops() -> int:
            """How often the plan's steps over entries ran."""
            said = await pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {OPEN_METERS}", ["acme"], ["main"], [month])
            return _loops(json.loads(said)[0]["Plan"])

        assert await loops() > 0
        assert await loops() == 0


def _loops(plan: dict[str, Any]) -> int:
    own = plan["Actual Loops"] if plan.get("Relation Name", "").startswith("entry") else 0
    return int(own) + sum(map(_loops, plan.get("Plans", ())))


async def test_a_lease_is_of_all_or_of_none(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.REQUESTS, 100))
    await store.set_budget(Budget("acme", "tight", Unit.REQUESTS, 1))
    tight = MeterKey("acme", "tight", BEGINNING)
    assert await store.lease(ONE, {METER: 5, tight: 2}, LATER) == {}
    assert (await store.standing([METER]))[METER].leased == 0
    assert (await store.lease(ONE, {METER: 1, tight: 1}, LATER)) == {METER: 12, tight: 1}


async def test_leases_never_pass_the_limit(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.REQUESTS, 100))
    given = await asyncio.gather(*(store.lease(uuid4(), {METER: 7}, LATER) for _ in range(40)))
    total = sum(one.get(METER, 0) for one in given)
    stands = (await store.standing([METER]))[METER]
    assert stands.leased == total and 93 < total <= 100


async def test_an_ending_charges_once(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    await store.lease(ONE, {METER: 15}, LATER)
    ending = ended(30, held=100)
    assert await store.end([ending]) == [None]
    stands = (await store.standing([METER]))[METER]
    assert (stands.spent, stands.leased) == (30, 25)  # the lease was 125
    assert await store.end([ending]) == [ending.entry]
    assert (await store.standing([METER]))[METER] == stands


async def test_a_group_ends_together_and_twins_count_once(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    await store.lease(ONE, {METER: 120}, LATER)
    first, second = ended(10, held=50), ended(20, held=50)
    await store.end([first])
    assert await store.end([first, second]) == [first.entry, None]
    assert (await store.standing([METER]))[METER].spent == 30


async def test_idle_parts_go_back_and_dead_leases_are_taken_back(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    await store.lease(ONE, {METER: 15}, NOW)
    await store.lease(TWO, {METER: 200}, NOW)
    await store.give_back(ONE, {METER: 25})
    assert (await store.standing([METER]))[METER].leased == 300
    assert await store.extend(ONE, LATER, NOW + timedelta(seconds=1)) == 1
    assert (await store.standing([METER]))[METER].leased == 100


async def test_an_ending_after_its_lease_was_taken_back_is_still_charged(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    await store.lease(TWO, {METER: 200}, NOW)
    await store.extend(ONE, LATER, NOW + timedelta(seconds=1))
    await store.end([ended(60, held=100, replica=TWO)])
    stands = (await store.standing([METER]))[METER]
    assert (stands.spent, stands.leased) == (60, 0)


async def test_an_allowance_is_a_part_of_every_budget_or_of_none(store: Store) -> None:
    for name, limit in (("main", 1000), ("tight", 80), ("spent", 7)):
        await store.set_budget(Budget("acme", name, Unit.REQUESTS, limit))
    tight, spent = MeterKey("acme", "tight", BEGINNING), MeterKey("acme", "spent", BEGINNING)
    assert await store.carve(ONE, {METER: 50, tight: 50, spent: 50}, LATER) == {}
    assert (await store.standing([METER]))[METER].leased == 0
    assert await store.carve(ONE, {METER: 50, tight: 50}, LATER) == {METER: 50, tight: 10}
    assert await store.carve(ONE, {METER: 60, tight: 50}, LATER) == {METER: 60, tight: 10}, "filled up, not given twice"
    assert (await store.standing([METER]))[METER].leased == 60
    assert await store.extend(TWO, LATER, LATER) == 2
    assert (await store.standing([METER]))[METER].leased == 0


async def test_what_is_granted_from_an_allowance_takes_no_more_out_of_it_than_it_has(store: Store) -> None:
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 1000))
    await store.carve(ONE, {METER: 100}, LATER)
    granted = [Ending(ended(cost, replica=ONE).entry, ONE, (Charge(METER, cost, cost),), True) for cost in (40, 50, 30)]
    assert await store.end(granted) == [None, None, None]
    assert await store.end(granted[:1]) == [granted[0].entry]
    stands = (await store.standing([METER]))[METER]
    assert (stands.spent, stands.leased) == (120, 0)
    assert await store.carve(ONE, {METER: 100}, LATER) == {METER: 100}
    assert (await store.standing([METER]))[METER].leased == 100


async def test_usage_is_grouped_and_paged(store: Store) -> None:
    await store.end(
        [ended(5, account="acme/a", input_tokens=10, output_tokens=1), ended(7, account="acme/b", model="n")]
    )
    await store.end([ended(1, account="acme_/x"), ended(0, account="acme/a", outcome="released")])
    await store.end([ended(0, account="acme/a", cached=True, model="")])
    since, until = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    asked = Asked("acme", since, until)
    rows = await store.usage(asked, "account", "", 10)
    assert [(row.group, row.requests, row.cached_requests, row.cost) for row in rows] == [
        ("acme/a", 2, 1, 5),
        ("acme/b", 1, 0, 7),
    ]
    assert [row.group for row in await store.usage(asked, "account", "acme/a", 10)] == ["acme/b"]
    assert (await store.usage(asked, "", "", 10))[0].input_tokens == 10
    assert [row.group for row in await store.usage(asked, "day", "", 10)] == ["2026-03-01"]
    assert await store.usage(Asked("acme", until, until + timedelta(hours=1)), "", "", 10) == []


async def test_every_posting_balances(postgres_url: str) -> None:
    async with postgres.opened(postgres_url, "ledger", MIGRATIONS, 4) as pool:
        await PostgresStore(pool).end([ended(cost) for cost in (0, 1, 10**15)])
        sums = await pool.fetch("SELECT sum(amount)::bigint AS s, count(*) AS n FROM posting GROUP BY reservation_id")
    assert [(row["s"], row["n"]) for row in sums] == [(0, 2), (0, 2)]


async def test_what_was_used_before_a_budget_was_set_counts(store: Store) -> None:
    await store.end([ended(40), ended(2, account="acme/below"), ended(1, account="acmebeside")])
    await store.set_budget(Budget("acme", "main", Unit.NANO_USD, 100))
    assert (await store.standing([METER]))[METER].spent == 42


async def test_changes_from_several_replicas_never_wait_for_each_other_in_a_circle(store: Store) -> None:
    names = [f"b{n}" for n in range(6)]
    for name in names:
        await store.set_budget(Budget("acme", name, Unit.NANO_USD, 10**9))
    meters = [MeterKey("acme", name, BEGINNING) for name in names]
    await store.standing(meters)  # all are open before the first charge
    spent = dict.fromkeys(meters, 0)

    async def busy(replica: UUID, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            some = chance.sample(meters, 3)
            given = await store.lease(replica, dict.fromkeys(some, 10), LATER)
            assert set(given) == set(some)
            chance.shuffle(some)
            charges = tuple(Charge(meter, 4, 10) for meter in some)
            await store.end([structs.replace(ended(4, replica=replica), charges=charges)])
            for meter in some:
                spent[meter] += 4
            await store.give_back(replica, {meter: given[meter] - 10 for meter in some})
            await store.extend(replica, LATER, NOW)
            await store.standing(chance.sample(meters, 6))

    await asyncio.gather(*(busy(replica, seed) for seed, replica in enumerate([ONE, TWO] * 4)))
    stands = await store.standing(meters)
    assert {meter: (one.spent, one.leased) for meter, one in stands.items()} == {
        meter: (amount, 0) for meter, amount in spent.items()
    }


async def test_how_a_reservation_ended_is_told(store: Store) -> None:
    ending = ended(7)
    assert await store.entry(ending.entry.reservation_id) is None
    await store.end([ending])
    assert await store.entry(ending.entry.reservation_id) == ending.entry


async def test_a_rolling_window_counts_its_steps(store: Store) -> None:
    budget = Budget("acme", "hour", Unit.REQUESTS, 100, Window.ROLLING_HOUR)
    await store.set_budget(budget)
    steps = [MeterKey("acme", "hour", NOW + timedelta(minutes=5 * n)) for n in range(14)]
    assert set(await store.lease(ONE, {steps[0]: 60}, LATER)) == {steps[0]}
    assert await store.lease(TWO, {steps[6]: 41}, LATER) == {}, "half an hour later they still count"
    charge = structs.replace(ended(30, replica=ONE), charges=(Charge(steps[0], 30, 60),))
    await store.end([charge])
    assert set(await store.lease(TWO, {steps[6]: 60}, LATER)) == {steps[6]}
    one = (await store.standing([steps[12]]))[steps[12]]
    assert (one.spent, one.leased) == (30, 60), "the step that the window begins in counts whole"
    assert (await store.standing([steps[13]]))[steps[13]].spent == 0


async def test_a_rolling_window_counts_what_came_before_its_budget(store: Store) -> None:
    await store.end(
        [ended(7), structs.replace(ended(5), entry=structs.replace(ended(5).entry, at=NOW - timedelta(minutes=30)))]
    )
    await store.end([structs.replace(ended(9), entry=structs.replace(ended(9).entry, at=NOW - timedelta(hours=2)))])
    await store.set_budget(Budget("acme", "hour", Unit.NANO_USD, 100, Window.ROLLING_HOUR))
    meter = MeterKey("acme", "hour", NOW)
    assert (await store.standing([meter]))[meter].spent == 12


async def test_what_was_held_in_a_window_is_counted_there_alone(store: Store) -> None:
    await store.set_budget(Budget("acme", "minute", Unit.NANO_USD, 100, Window.MINUTE))
    before, after = (MeterKey("acme", "minute", NOW - timedelta(minutes=n)) for n in (1, 0))
    await store.lease(ONE, {before: 50}, LATER)
    late = structs.replace(ended(20, replica=ONE), charges=(Charge(before, 20, 50),))
    await store.end([late])  # after the minute
    stands = await store.standing([before, after])
    assert (stands[before].spent, stands[after].spent) == (20, 0)


async def test_a_class_of_models_is_counted_by_its_pattern(store: Store) -> None:
    await store.end([ended(1, model=name) for name in ("big-1", "big-2", "small", "b%g-3", "bag_1")])
    for name, pattern, spent in (
        ("a", "big-*", 2),
        ("b", "*", 5),
        ("c", "b%g*", 1),
        ("d", "*_1", 1),
        ("e", "small", 1),
    ):
        await store.set_budget(Budget("acme", name, Unit.NANO_USD, 100, model=pattern))
        meter = MeterKey("acme", name, BEGINNING)
        assert (await store.standing([meter]))[meter].spent == spent, pattern


async def test_accounts_are_suspended_and_resumed(store: Store) -> None:
    first = Suspension("acme/x", "a loop", NOW, "key_1")
    assert await store.suspend(first) == first
    assert await store.suspend(Suspension("acme/x", "again", LATER)) == first
    await store.suspend(Suspension("acme", "all", LATER))
    assert [one.account for one in await store.suspensions()] == ["acme", "acme/x"]
    assert await store.resume("acme/x") and not await store.resume("acme/x")


async def test_keys_keep_their_scopes_and_regions(store: Store) -> None:
    made = replace(key("key_a"), scopes=("chat", "jobs"), regions=("eu",))
    await store.add_key(made, "")
    assert await store.key("key_a") == made


async def test_usage_by_tag_hour_and_model_and_entries_page_by_page(store: Store) -> None:
    blue, red = {"team": "blue", "app": "x"}, {"team": "red"}
    made = [ended(n, tags=blue if n % 2 else red, model="m" if n < 4 else "n") for n in range(1, 7)]
    await store.end(made)
    asked = Asked("acme", NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    by_tag = await store.usage(asked, "tag:team", "", 10)
    assert [(row.group, row.cost) for row in by_tag] == [("blue", 9), ("red", 12)]
    assert [row.group for row in await store.usage(asked, "tag:team", "blue", 10)] == ["red"]
    assert (await store.usage(replace(asked, tags={"team": "blue"}), "", "", 10))[0].cost == 9
    assert (await store.usage(replace(asked, model="n"), "", "", 10))[0].requests == 3
    (hour,) = await store.usage(replace(asked, time_zone="Asia/Tokyo"), "hour", "", 10)
    assert hour.group == "2026-03-01 21:00"
    assert [row.group for row in await store.usage(asked, "month", "", 10)] == ["2026-03"]
    first = await store.entries(asked, None, 4)
    rest = await store.entries(asked, (first[-1].at, first[-1].reservation_id), 4)
    assert {one.reservation_id for one in (*first, *rest)} == {one.entry.reservation_id for one in made}
    assert (len(first), len(rest)) == (4, 2)
    newest = await store.entries(asked, None, 2, newest_first=True)
    after = (newest[-1].at, newest[-1].reservation_id)
    assert [*newest, *await store.entries(asked, after, 9, newest_first=True)] == [*first, *rest][::-1]
    some = await store.entries(replace(asked, tags={"team": "blue"}, model="m", key_id="k"), None, 9)
    assert sorted(one.cost for one in some) == [1, 3]
    assert await store.entries(replace(asked, key_id="other"), None, 9) == []
    assert await store.daily(asked) == {NOW.date(): 21}


async def test_safeguards_are_set_changed_and_removed(store: Store) -> None:
    whole = Safeguard("acme", Loop(0.9, 20, 30.0), Spike(5.0, 10**9), Action.THROTTLE)
    await store.set_safeguard(replace(whole, loop=None))
    await store.set_safeguard(whole)
    await store.set_safeguard(Safeguard("acme/x"))
    assert await store.safeguards() == [whole, Safeguard("acme/x")]
    assert await store.delete_safeguard("acme") and not await store.delete_safeguard("acme")


async def test_alerts_are_numbered_in_order_and_kept_once(store: Store) -> None:
    async def add(n: int) -> None:
        await store.add_alert(Alert("loop", f"acme/{n % 2}", "key_1", "text", NOW), f"once {n % 10}")

    await asyncio.gather(*(add(n) for n in range(40)))
    found = await store.alerts("", 0, 100)
    assert len(found) == 10 and [one.id for one in found] == sorted({one.id for one in found})
    assert await store.alerts("", found[3].id, 2) == found[4:6]
    assert {one.account for one in await store.alerts("acme/1", 0, 100)} == {"acme/1"}


async def test_what_the_strongest_would_have_cost_is_summed(store: Store) -> None:
    await store.end([ended(1, baseline=10), ended(2), ended(0, cached=True, model="", baseline=5)])
    asked = Asked("acme", NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    (row,) = await store.usage(asked, "", "", 10)
    assert (row.cost, row.baseline, row.cached_baseline) == (3, 15, 5)


async def test_a_tenant_is_erased(store: Store) -> None:
    for account in ("acme", "acme/search", "acmex"):
        await store.add_key(key(f"key_{account.replace('/', '_')}", account), "")
        await store.set_budget(Budget(account, "main", Unit.NANO_USD, 1000))
        await store.set_safeguard(Safeguard(account))
        await store.add_alert(Alert("BUDGET", account, "main", "near its end", NOW), f"{account}/once")
        await store.suspend(Suspension(account, "why", NOW))
    mine, theirs = ended(5, account="acme/search", held=5), ended(7, account="acmex")
    await store.end([mine, theirs])
    gone = await store.erase("acme", "", NOW)
    assert gone == {"entries": 1, "keys": 2, "budgets": 2, "alerts": 2, "safeguards": 2, "role_bindings": 0}
    assert await store.entry(mine.entry.reservation_id) is None
    assert await store.entry(theirs.entry.reservation_id) == theirs.entry
    assert (
        [one.account for one in await store.budgets()] == ["acmex"] == [one.account for one in await store.safeguards()]
    )
    assert [one.account for one in await store.alerts("", 0, 10)] == ["acmex"]
    assert [one.account for one in await store.suspensions()] == ["acme", "acmex"], "nothing new comes in its name"
    assert not await store.keys("acme", "", 10) and await store.find_key(b"key_acme") is None
    assert set(await store.revoked_since(NOW)) == {"key_acme", "key_acme_search"}
    erased = await store.key("key_acme")
    assert erased is not None and (erased.account, erased.name) == ("", "")
    (row,) = await store.usage(Asked("", BEGINNING, LATER), "account", "", 10)
    assert (row.group, row.cost) == ("acmex", 7)
    await store.end([mine])
    assert await store.entry(mine.entry.reservation_id) is None, "it has ended, and ends no second time"
    assert await store.erase("acme", "", LATER) == dict.fromkeys(gone, 0)


async def test_an_end_users_name_is_erased_from_labels(store: Store) -> None:
    one = ended(5, account="acme/search", tags={"customer": "ann", "team": "support"})
    other, theirs = ended(7, account="acme", tags={"customer": "anna"}), ended(9, account="globex", tags={"who": "ann"})
    await store.end([one, other, theirs])
    assert await store.erase("acme", "ann", NOW) == {"entries": 1}
    kept = await store.entry(one.entry.reservation_id)
    assert kept == structs.replace(one.entry, tags={"team": "support"}), "what was spent stays"
    assert await store.entry(other.entry.reservation_id) == other.entry
    assert await store.entry(theirs.entry.reservation_id) == theirs.entry
    assert await store.erase("acme", "ann", NOW) == {"entries": 0}
