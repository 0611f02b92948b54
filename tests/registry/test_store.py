"""One suite, every store: what is kept, who may change it, and that nothing is kept without its entry in the log."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.registry import audit
from services.registry.app import MIGRATIONS
from services.registry.memory import MemoryStore
from services.registry.postgres import PostgresStore
from services.registry.rollouts import Rollout, Rules, Tally
from services.registry.store import Store
from services.registry.versions import (
    KindDiffers,
    LabelMoved,
    LabelUnknown,
    OwnProposal,
    Review,
    TooManyLabels,
    Version,
    VersionUnknown,
)
from services.runtime import postgres
from tests.registry.made import ANN, BEN, NOW, label, snippet, template, version


@pytest.fixture(params=("memory", "postgres"))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = request.getfixturevalue("postgres_url")
    async with postgres.opened(url, "registry", MIGRATIONS, 4) as pool:
        yield PostgresStore(pool)


async def kept(store: Store, *texts: str, **more: Any) -> list[Version]:
    return [(await store.propose(version(template(text), **more)))[0] for text in texts]


async def actions(store: Store, tenant: str = "acme") -> list[str]:
    import json

    entries = await store.audited(tenant, 0, 1000)
    audit.verified(entries)
    return [json.loads(one.json)["action"] for one in entries]


async def test_versions_are_numbered_and_never_kept_twice(store: Store) -> None:
    one, two = await kept(store, "a", "b")
    assert (one.number, two.number, two.parent) == (1, 2, 1)
    again, created = await store.propose(replace(version(template("a")), why="again", author=BEN))
    assert not created and again == one
    assert await store.version("acme", one.name, 2) == two
    assert await store.version("acme", one.name, 3) is None and await store.version("globex", one.name, 1) is None
    assert await store.digested("acme", one.name, two.digest[:19]) == two
    assert await store.digested("acme", one.name, "sha256:000000000000") is None
    assert [one.number for one in await store.versions("acme", one.name, 0, 10)] == [2, 1]
    assert [one.number for one in await store.versions("acme", one.name, 2, 10)] == [1]
    assert await actions(store) == ["version.propose"] * 2


async def test_many_at_once_get_one_number_each(store: Store) -> None:
    await asyncio.gather(*(kept(store, f"text {n % 5}") for n in range(20)))
    found = await store.versions("acme", "support/answer", 0, 100)
    assert [one.number for one in found] == [5, 4, 3, 2, 1]
    assert len(await actions(store)) == 5


async def test_what_cannot_follow_leaves_nothing(store: Store) -> None:
    await kept(store, "a")
    with pytest.raises(KindDiffers):
        await store.propose(version(snippet("b")))
    with pytest.raises(VersionUnknown):
        await kept(store, "c", parent=9)
    assert len(await store.versions("acme", "support/answer", 0, 10)) == 1 and len(await actions(store)) == 1


async def test_reviews_are_kept_with_their_version(store: Store) -> None:
    await kept(store, "a")
    review = Review(BEN.key_id, True, "good", NOW)
    made = await store.review("acme", "support/answer", 1, review, BEN)
    assert made.reviews == (review,)
    later = Review(BEN.key_id, False, "no, wait", NOW + timedelta(minutes=1))
    await store.review("acme", "support/answer", 1, later, BEN)
    found = await store.version("acme", "support/answer", 1)
    assert found is not None and found.reviews == (later,) and found.digest == made.digest
    with pytest.raises(OwnProposal):
        await store.review("acme", "support/answer", 1, Review(ANN.key_id, True, "", NOW), ANN)
    with pytest.raises(VersionUnknown):
        await store.review("acme", "support/answer", 2, review, BEN)
    assert await actions(store) == ["version.propose", "version.review", "version.review"]


async def test_artifacts_are_listed_with_their_labels(store: Store) -> None:
    await kept(store, "a", "b")
    await kept(store, "x", name="billing")
    await store.propose(version(snippet("c"), "rules"))
    await kept(store, "theirs", tenant="globex")
    await store.move(label(2))
    found = await store.artifacts("acme", "", "", 10)
    assert [(one.name, one.kind, one.newest) for one in found] == [
        ("billing", "template", 1), ("rules", "snippet", 1), ("support/answer", "template", 2),
    ]  # fmt: skip
    assert [one.number for one in found[2].labels] == [2] and found[0].labels == ()
    assert [one.name for one in await store.artifacts("acme", "", "billing", 1)] == ["rules"]
    assert [one.name for one in await store.artifacts("acme", "snippet", "", 10)] == ["rules"]


async def test_a_label_moves_under_its_revision(store: Store) -> None:
    await kept(store, "a", "b")
    rollout = Rollout(2, 0.25, Rules(ramp=(0.5,), step=timedelta(seconds=90), slowest=2.0, promote=True), 1, NOW, 7)
    first = await store.move(label(1, rollout=rollout, why="begin"))
    assert first.revision == 1 and await store.label("acme", "support/answer", "production") == first
    with pytest.raises(LabelMoved):
        await store.move(label(2))
    second = await store.move(replace(first, number=2, rollout=None, moved_by=BEN))
    assert second.revision == 2 and await store.labels("acme", "support/answer") == [second]
    assert await store.label("globex", "support/answer", "production") is None
    assert await actions(store) == ["version.propose"] * 2 + ["label.move"] * 2


async def test_of_many_that_move_a_label_one_does(store: Store) -> None:
    await kept(store, "a", "b")
    done = await asyncio.gather(*(store.move(label(1 + n % 2)) for n in range(10)), return_exceptions=True)
    assert sum(not isinstance(one, LabelMoved) for one in done) == 1
    assert (await actions(store)).count("label.move") == 1


async def test_labels_have_their_most(store: Store) -> None:
    await kept(store, "a")
    for n in range(100):
        await store.move(label(label=f"l{n}"))
    with pytest.raises(TooManyLabels):
        await store.move(label(label="more"))


async def test_a_label_is_taken_away_with_its_counts(store: Store) -> None:
    await kept(store, "a", "b")
    made = await store.move(label(1, rollout=Rollout(2, 0.5, began=1)))
    await store.tally(made, {2: Tally(1, 1)})
    with pytest.raises(LabelMoved):
        await store.drop("acme", "support/answer", "production", 9, BEN, NOW)
    await store.drop("acme", "support/answer", "production", 1, BEN, NOW)
    with pytest.raises(LabelUnknown):
        await store.drop("acme", "support/answer", "production", 1, BEN, NOW)
    again = await store.move(made if made.revision == 0 else replace(made, revision=0))
    assert await store.tally(again, {}) == {}
    assert (await actions(store))[-2:] == ["label.delete", "label.move"]


async def test_tallies_add_up_and_belong_to_one_rollout(store: Store) -> None:
    await kept(store, "a", "b")
    made = await store.move(label(1, rollout=Rollout(2, 0.5, began=1)))
    second = timedelta(seconds=1)
    await asyncio.gather(*(store.tally(made, {1: Tally(2, 1, second), 2: Tally(1, 0, second)}) for _ in range(10)))
    assert await store.tally(made, {}) == {1: Tally(20, 10, 10 * second), 2: Tally(10, 0, 10 * second)}
    assert await store.tally(replace(made, rollout=Rollout(2, 0.5, began=5)), {}) == {}


async def test_each_tenant_has_its_own_log_in_pages(store: Store) -> None:
    await asyncio.gather(
        *(kept(store, f"{n}", tenant=tenant, name=f"n{n}") for n in range(10) for tenant in ("acme", "globex"))
    )
    assert len(await actions(store)) == len(await actions(store, "globex")) == 10
    first, rest = await store.audited("acme", 0, 4), await store.audited("acme", 4, 100)
    assert [one.sequence for one in first + rest] == list(range(1, 11))
    audit.verified(rest, first[-1].sequence, first[-1].hash)
