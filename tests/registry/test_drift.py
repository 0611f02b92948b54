"""Drift: what is an alarm, what is none, and what it takes to see a change. Simulated answers of a provider that changes at a random time."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.jobs.v1 import jobs_pb2
from tollway.registry.v1 import registry_pb2 as pb

from services.registry.app import MIGRATIONS
from services.registry.drifting import FALSE_ALARM_EVERY, Detector, bets
from services.registry.probes import Probe, Probes, Watched
from services.registry.probing import REFUSAL, Seen, judged
from services.registry.versions import Actor
from services.runtime.postgres import opened
from tests.registry.served import Jobs, Ledger, propose, served
from tests.registry.test_runs import dataset
from tests.support.refusals import field_of, refused
from tests.support.scale import sized
from tests.support.waiting import eventually

CASES = 20


class Provider:
    """Answers a round: a little unlike the reference each time, some cases more than others."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.cases = [(f"c{n}", chance.uniform(0.85, 1.0), chance.randint(20, 200)) for n in range(CASES)]
        self.changed = False
        self.kind = "answers"

    def round(self) -> list[Seen]:
        cases, chance = self.cases[:], self.chance
        chance.shuffle(cases)
        return [self._answer(*case) for case in cases]

    def _answer(self, name: str, alike: float, tokens: int) -> Seen:
        chance, kind = self.chance, self.kind if self.changed else ""
        likeness = min(alike + chance.gauss(0, 0.03), 1.0) - (0.15 if kind == "answers" else 0.0)
        count = max(int(tokens * chance.uniform(0.8, 1.25) * (1.8 if kind == "length" else 1.0)), 1)
        took = count * 0.01 * chance.lognormvariate(0, 0.3) * (2.0 if kind == "latency" else 1.0)
        refused = chance.random() < (0.4 if kind == "refusals" else 0.01)
        return Seen(name, "text", likeness, count, took, refused, "fp_1" if kind != "reported" else "fp_2")


def watched() -> Watched:
    return Watched("acme", "probe", "m")


@pytest.mark.parametrize("kind", ["answers", "length", "latency", "refusals"])
def test_a_change_is_seen_within_three_rounds(kind: str) -> None:
    late, runs = 0, sized(40, 400)
    for n in range(runs):
        chance = random.Random(n)
        provider, one = Provider(chance), watched()
        provider.kind = kind
        changes = chance.randint(10, 40)
        for _ in range(changes):
            assert not judged(one, provider.round(), FALSE_ALARM_EVERY, chance), "a false alarm"
        provider.changed = True
        took = next((k for k in range(1, 11) if judged(one, provider.round(), FALSE_ALARM_EVERY, chance)), 11)
        late += took > 3
    assert late <= runs * 0.05, (kind, late)


def test_without_a_change_there_is_no_alarm_beyond_the_stated_rate() -> None:
    """1,000 runs of 20 rounds of 20 answers, four things watched: 1.6 of 100 runs may have one false alarm."""
    runs, rounds, alarms = 1000, 20, 0
    stated = rounds * CASES * 4 / FALSE_ALARM_EVERY
    for n in range(runs):
        chance = random.Random(10_000 + n)
        provider, one = Provider(chance), watched()
        alarms += any([bool(judged(one, provider.round(), FALSE_ALARM_EVERY, chance)) for _ in range(rounds + 1)])
    assert alarms / runs <= stated, alarms


def test_another_version_reported_is_told_at_once() -> None:
    chance = random.Random(1)
    provider, one = Provider(chance), watched()
    for _ in range(3):
        assert not judged(one, provider.round(), FALSE_ALARM_EVERY, chance)
    provider.kind, provider.changed = "reported", True
    assert judged(one, provider.round(), FALSE_ALARM_EVERY, chance) == "the provider reports fp_2, before fp_1"
    assert not judged(one, provider.round(), FALSE_ALARM_EVERY, chance), "once"
    assert not judged(one, [], FALSE_ALARM_EVERY, chance), "a round without answers says nothing"


def test_a_bet_is_fair() -> None:
    """The mean of each over ranks that are uniform is 1 (a sum misses a little at the ends)."""
    count = 100_000
    means = [sum(each) / count for each in zip(*(bets((n + 0.5) / count) for n in range(count)), strict=True)]
    assert all(0.9 < mean < 1.001 for mean in means)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_detector_knows_its_means(values: list[float]) -> None:
    made = Detector()
    for value in values:
        made.round([value], [0.5], [value])
    assert made.last == values[-1] and made.count == len(values)
    if len(values) > 1:
        assert made.usual == pytest.approx(sum(values[:-1]) / (len(values) - 1), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("I'm sorry, but no.", True),
        ("I cannot help with that", True),
        ("Sorry - no", True),
        ("The answer is 4.", False),
    ],
)
def test_refusals_are_told_by_their_words(text: str, is_one: bool) -> None:
    assert (REFUSAL.match(text) is not None) == is_one


# The service.


def probe(**more: Any) -> pb.Probe:
    said: dict[str, Any] = {"name": "golden", "dataset": "questions@1", "models": ["m"], **more}
    made = pb.Probe(**said)
    made.every.FromMilliseconds(1)
    return made


async def test_who_is_overtaken_by_a_renewal_changes_nothing(postgres_url: str) -> None:
    now, ann = datetime.now(UTC), Actor("key_ann", "acme")
    async with opened(postgres_url, "registry", MIGRATIONS, 2) as pool:
        probes = Probes(pool)
        for again in (partial(probes.renew, "acme", "golden", "", ann, now), partial(_set, probes, ann, now)):
            await _set(probes, ann, now)
            (claimed,) = await probes.due(1)
            claimed.alarmed, claimed.alarm, claimed.rounds = now, "as it was before", 9
            await again()
            await probes.keep(claimed, timedelta(0))
            ((_, (one,)),) = await probes.listed("acme")
            assert (one.alarmed, one.rounds) == (None, 0)
        (claimed,) = await probes.due(1)
        claimed.rounds = 9
        for _ in range(2):  # the second has an old mark
            await probes.keep(claimed, timedelta(0))
            claimed.rounds = 10
        ((_, (one,)),) = await probes.listed("acme")
        assert one.rounds == 9


async def _set(probes: Probes, ann: Actor, now: datetime) -> None:
    await probes.set(Probe("acme", "golden", probe().SerializeToString(), ann), ["m"], {}, now)


async def test_a_model_that_begins_to_answer_otherwise_raises_an_alert(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.registry.probing.EVERY_S", 0.02)
    monkeypatch.setattr("services.registry.probing.LOOKS_AGAIN", timedelta(0))
    likeness, ledger = {"value": 1.0}, Ledger()
    jobs = Jobs(scores=lambda case: {"answers": likeness["value"]})
    async with served(postgres_url, jobs, ledger=ledger) as stub:
        await propose(stub, "questions", dataset(30))
        asked = probe(false_alarm_every=1_000_000)
        assert (await stub.SetProbe(pb.SetProbeRequest(probe=asked))).probe.key_id == "key_ann"

        async def seen() -> pb.Watched:
            (one,) = (await stub.ListProbes(pb.ListProbesRequest())).probes
            made: pb.Watched = one.models[0]
            return made

        async def rounds() -> bool:
            return (await seen()).rounds >= 8

        await eventually(rounds, 60)
        first, later = [one.evaluation for one in jobs.asked.values()][:2]
        assert first.measures[0].kind == jobs_pb2.Measure.KIND_REGEX
        assert later.measures[0].kind == jobs_pb2.Measure.KIND_SIMILARITY and later.cases[0].chat.chat.model == "m"
        assert [one.case_id for one in later.cases] != [one.case_id for one in first.cases], "in an order of chance"
        assert not ledger.alerts
        likeness["value"] = 0.5

        async def alarmed() -> bool:
            return (await seen()).HasField("alarmed")

        await eventually(alarmed, 60)
        found = await seen()
        assert "answers 0 before, 0.5 now" in found.alarm and {one.name for one in found.signals} >= {
            "answers",
            "latency",
        }
        await eventually(_told(ledger))
        (alert,) = ledger.alerts
        assert (alert.kind, alert.account, alert.subject) == ("drift", "acme/search", "m")
        await stub.RenewProbe(pb.RenewProbeRequest(name="golden"))
        assert not (await seen()).HasField("alarmed")
        assert (await refused(stub.RenewProbe(pb.RenewProbeRequest(name="golden", model="x"))))[1] == "PROBE_UNKNOWN"


def _told(ledger: Ledger) -> Any:
    async def told() -> bool:
        return bool(ledger.alerts)

    return told


async def test_probes_are_set_and_taken_away(postgres_url: str) -> None:
    async with served(postgres_url, Jobs(held=True)) as stub:
        await propose(stub, "questions", dataset())
        assert await field_of(stub.SetProbe(pb.SetProbeRequest(probe=probe(dataset="questions")))) == "reference"
        assert (await refused(stub.SetProbe(pb.SetProbeRequest(probe=probe(dataset="questions@7")))))[
            1
        ] == "VERSION_UNKNOWN"
        await stub.SetProbe(pb.SetProbeRequest(probe=probe(models=["a", "b"])))
        (found,) = (await stub.ListProbes(pb.ListProbesRequest())).probes
        assert [one.model for one in found.models] == ["a", "b"]
        assert not (await stub.by("globex/app").ListProbes(pb.ListProbesRequest())).probes
        await stub.DeleteProbe(pb.DeleteProbeRequest(name="golden"))
        assert (await refused(stub.DeleteProbe(pb.DeleteProbeRequest(name="golden"))))[1] == "PROBE_UNKNOWN"
