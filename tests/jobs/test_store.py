"""Jobs in a real PostgreSQL: whose turn it is, who may write an end, what counts up to a batch."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.jobs.app import MIGRATIONS
from services.jobs.life import (
    ANSWER,
    ERASED,
    Fault,
    Job,
    JobEnded,
    JobIdReused,
    JobNotEnded,
    JobUnknown,
    Outcome,
    QueueFull,
    State,
)
from services.jobs.postgres import PAST, PostgresStore
from services.jobs.store import EVENTS, TICKETS
from services.runtime import postgres

LEASE = timedelta(seconds=30)
A, B = uuid4(), uuid4()


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with postgres.opened(postgres_url, "jobs", MIGRATIONS, 4) as pool:
        yield PostgresStore(pool)


def job(account: str = "acme/app", **more: object) -> Job:
    now = datetime.now(UTC)
    made = Job(uuid4(), "chat", account, "key_1", now, now, now + timedelta(hours=1), b"asked")
    return replace(made, **more)  # type: ignore[arg-type]


def batch(lines: int, **more: object) -> list[Job]:
    whole = replace(job(kind="batch", total=lines), **more)  # type: ignore[arg-type]
    return [whole, *(job(parent=whole.id, line=n, custom_id=f"line {n}") for n in range(lines))]


def done(one: Job, state: State = State.SUCCEEDED, **more: object) -> Outcome:
    return Outcome(one.id, state, **more)  # type: ignore[arg-type]


async def found(store: PostgresStore, job_id: UUID) -> Job:
    made = await store.job(job_id)
    assert made is not None
    return made


async def test_a_request_id_gives_the_same_job(store: PostgresStore) -> None:
    first = await store.add([job(request_id="r1")], 100)
    assert (await store.add([job(request_id="r1")], 100)).id == first.id
    assert (await store.add([job("globex/app", request_id="r1")], 100)).id != first.id


async def test_an_answer_is_kept_as_long_as_it_should_be_and_told_of_to_nobody(store: PostgresStore) -> None:
    now = datetime.now(UTC)
    kept = job(kind=ANSWER, state=State.SUCCEEDED, result=b"said", digest=b"1", succeeded=1)
    kept = replace(kept, created=now, ready=now, started=now, ended=now, deadline=now)
    await store.keep(kept)
    await store.keep(kept)
    assert await found(store, kept.id) == kept
    for other in (replace(kept, digest=b"2"), replace(kept, account="globex/app")):
        with pytest.raises(JobIdReused):
            await store.keep(other)
    async with store.outbox(100) as notes:
        assert not notes
    assert await store.listed("", None, "", None, 100) == []
    assert [one.id for one in await store.listed("acme/app", None, ANSWER, None, 100)] == [kept.id]
    await store.sweep(now + kept.keep - timedelta(minutes=1))
    assert await store.job(kept.id) is not None
    await store.sweep(now + kept.keep + timedelta(minutes=1))
    assert await store.job(kept.id) is None


async def test_what_is_claimed_is_nobody_elses_until_its_lease_ends(store: PostgresStore) -> None:
    one = await store.add([job()], 100)
    (mine,) = await store.claim(A, 10, 10, LEASE)
    assert mine.id == one.id and mine.state is State.RUNNING and mine.attempts == 1 and mine.request == b"asked"
    assert await store.claim(B, 10, 10, LEASE) == []
    assert await store.beat(A, timedelta(0), [one.id]) == {one.id}
    assert await store.sweep(datetime.now(UTC) + timedelta(seconds=1)) == 1
    (theirs,) = await store.claim(B, 10, 10, LEASE)
    assert theirs.attempts == 2
    assert await store.finish(A, [done(one, result=b"late")]) == [], "whoever lost the lease writes nothing"
    assert [made.id for made in await store.finish(B, [done(one, result=b"answer")])] == [one.id]
    kept = await found(store, one.id)
    assert kept.result == b"answer" and kept.state is State.SUCCEEDED and kept.ended is not None
    assert await store.finish(B, [done(one, result=b"twice")]) == []


async def test_tenants_take_turns_and_priority_goes_first_within_one(store: PostgresStore) -> None:
    many = [job("big/app") for _ in range(50)]
    for one in many:
        await store.add([one], 1000)
    urgent, other = job("big/app", priority=5), job("small/app")
    await store.add([urgent], 1000)
    await store.add([other], 1000)
    first = await store.claim(A, 4, 10, LEASE)
    assert urgent.id in {one.id for one in first} and other.id in {one.id for one in first}
    assert len(await store.claim(A, 100, 10, LEASE)) == 7, "ten of a tenant at once, three run already"
    late = job("small/app")
    await store.add([late], 1000)
    assert [one.id for one in await store.claim(A, 1, 100, LEASE)] == [late.id], "who has the fewest running is next"


async def test_nothing_begins_before_its_time(store: PostgresStore) -> None:
    await store.add([job(ready=datetime.now(UTC) + timedelta(minutes=1))], 100)
    assert await store.claim(A, 10, 10, LEASE) == []


async def test_a_batch_has_what_its_lines_have(store: PostgresStore) -> None:
    lines = batch(3, webhook="https://example.com/hook")
    whole = await store.add(lines, 100)
    claimed = await store.claim(A, 10, 10, LEASE)
    assert {one.custom_id for one in claimed} == {"line 0", "line 1", "line 2"}
    await store.finish(A, [done(lines[1]), done(lines[2], State.FAILED, fault=Fault(3, "BAD", "no"))])
    half = await found(store, whole.id)
    assert (half.state, half.succeeded, half.failed) == (State.RUNNING, 1, 1)
    await store.finish(A, [done(lines[3])])
    over = await found(store, whole.id)
    assert (over.state, over.succeeded, over.failed) == (State.SUCCEEDED, 2, 1) and over.ended is not None
    assert [one.state for one in await store.lines(whole.id, -1, 10)] == [
        State.SUCCEEDED,
        State.FAILED,
        State.SUCCEEDED,
    ]
    again = await store.retry(whole.id)
    assert (again.state, again.failed) == (State.RUNNING, 0)
    assert [one.custom_id for one in await store.claim(A, 10, 10, LEASE)] == ["line 1"]
    await store.finish(A, [done(lines[2])])
    assert (await found(store, whole.id)).succeeded == 3
    with pytest.raises(JobNotEnded):
        await store.retry(whole.id)


async def test_a_cancelled_batch_takes_its_lines_along(store: PostgresStore) -> None:
    lines = batch(3)
    await store.add(lines, 100)
    await store.claim(A, 1, 10, LEASE)
    assert (await store.cancel(lines[0].id)).state is State.CANCELLED
    assert await store.beat(A, LEASE, [one.id for one in lines]) == set() and await store.claim(A, 10, 10, LEASE) == []
    with pytest.raises(JobEnded):
        await store.cancel(lines[0].id)
    with pytest.raises(JobUnknown):
        await store.cancel(uuid4())


async def test_an_end_is_told_once_and_a_note_waits_until_it_is_sent(store: PostgresStore) -> None:
    one = await store.add([job(webhook="https://example.com/hook")], 100)
    await store.claim(A, 10, 10, LEASE)
    await store.finish(A, [done(one)])
    with pytest.raises(ZeroDivisionError):
        async with store.outbox(10) as notes:
            assert len(notes) == 2
            raise ZeroDivisionError
    async with store.outbox(10) as notes:
        assert {note.topic for note in notes} == {TICKETS, EVENTS}
        (event,) = [json.loads(note.body) for note in notes if note.topic == EVENTS]
        assert event["type"] == "dev.tollway.job.succeeded" and event["subject"] == str(one.id)
    async with store.outbox(10) as notes:
        assert notes == []
    (hook,) = await store.deliveries(10, timedelta(minutes=1))
    assert hook.url == "https://example.com/hook" and hook.attempts == 1
    assert await store.deliveries(10, timedelta(minutes=1)) == []
    await store.delivered(hook, 503, "", datetime.now(UTC))
    (again,) = await store.deliveries(10, timedelta(minutes=1))
    assert again.id == hook.id and again.attempts == 2


async def test_what_is_late_fails_and_what_is_old_is_forgotten(store: PostgresStore) -> None:
    now = datetime.now(UTC)
    late = await store.add([job(deadline=now + timedelta(seconds=1))], 100)
    await store.sweep(now + timedelta(seconds=2))
    over = await found(store, late.id)
    assert over.state is State.FAILED and over.fault is not None and over.fault.reason == "DEADLINE"
    old = await store.add([job(keep=timedelta(seconds=1))], 100)
    await store.claim(A, 10, 10, LEASE)
    await store.finish(A, [done(old)])
    await store.sweep(datetime.now(UTC) + timedelta(seconds=5))
    assert await store.job(old.id) is None and await store.job(late.id) is not None


async def test_what_is_old_is_found_by_an_index(postgres_url: str) -> None:
    """What is kept may be millions, and is looked through every two seconds."""
    async with postgres.opened(postgres_url, "jobs", MIGRATIONS, 4) as pool, pool.acquire() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {PAST}", datetime.now(UTC))
    told = "\n".join(row[0] for row in plan)
    assert "job_kept" in told and "Index Cond" in told, told


async def test_a_tenant_may_have_so_many_waiting(store: PostgresStore) -> None:
    await store.add(batch(3), 4)
    with pytest.raises(QueueFull):
        await store.add(batch(2), 4)
    assert [one.kind for one in await store.listed("acme", None, "", None, 10)] == ["batch"]
    await store.add([job()], 4)
    with pytest.raises(QueueFull):
        await store.add([job()], 4)
    await store.add([job("globex/app")], 4)
    waiting, age_s = await store.depth()
    assert waiting == 5 and age_s >= 0


async def test_what_a_worker_does_not_name_is_not_kept_for_it(store: PostgresStore) -> None:
    named, lost = await store.add([job()], 100), await store.add([job()], 100)
    await store.claim(A, 10, 10, LEASE)
    assert await store.beat(A, 2 * LEASE, [named.id]) == {named.id}
    assert await store.sweep(datetime.now(UTC) + 1.5 * LEASE) == 1
    assert [one.id for one in await store.claim(B, 10, 10, LEASE)] == [lost.id]


async def test_an_end_users_jobs_are_erased_and_batches_still_add_up(store: PostgresStore) -> None:
    lines = [replace(one, subject="ann" if one.line % 2 == 0 and one.parent else "") for one in batch(6)]
    whole = await store.add(lines, 100)
    alone, other = await store.add([job(subject="ann")], 100), await store.add([job(subject="ben")], 100)
    theirs = await store.add([job("globex/app", subject="ann")], 100)
    first, second = lines[1], lines[2]
    ran = {one.id for one in await store.claim(A, 10, 10, LEASE)}
    assert {first.id, second.id, alone.id} <= ran
    await store.finish(A, [done(first, result=b"hers"), done(second, result=b"his")])
    assert await store.erase("acme", "ann") == 4
    assert await store.job(alone.id) is None
    assert await store.job(other.id) is not None and await store.job(theirs.id) is not None
    hers, his = await found(store, first.id), await found(store, second.id)
    assert (hers.state, hers.request, hers.result, hers.custom_id) == (State.CANCELLED, b"", None, "erased-0")
    assert hers.fault is not None and hers.fault.reason == ERASED and his.result == b"his"
    assert await store.finish(A, [done(lines[3], result=b"late")]) == [], "what was under way is lost"
    assert (kept := await found(store, whole.id)).succeeded == 1 and kept.failed == 3 and kept.ended is None
    await store.finish(A, [done(lines[4]), done(lines[6])])
    kept = await found(store, whole.id)
    assert (kept.succeeded, kept.failed, kept.total) == (3, 3, 6) and kept.ended is not None
    with pytest.raises(JobNotEnded):
        await store.retry(whole.id)
    assert await store.erase("acme", "ann") == 0


async def test_a_tenants_jobs_are_erased(store: PostgresStore) -> None:
    await store.add(batch(3, webhook="https://example.com/hook"), 100)
    await store.add([job()], 100)
    theirs = await store.add([job("globex/app")], 100)
    await store.claim(A, 10, 10, LEASE)
    assert await store.erase("acme", "") == 5
    assert [one.id for one in await store.listed("", None, "", None, 10)] == [theirs.id]
    async with store.outbox(100) as notes:
        assert {note.key for note in notes} == {"globex"}
