"""Probes at work: models are asked the same again and again, and an alert is raised when they begin to answer otherwise."""

import asyncio
import logging
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import drifting
from services.registry.drifting import Detector
from services.registry.evaluating import cases_of
from services.registry.messages import stamp
from services.registry.probes import Probe, Probes, Watched
from services.registry.shelf import Shelf, reached
from services.registry.versions import Actor, KindDiffers, ReferenceUnfit, RegistryAway, reference
from services.runtime.errors import Failure
from services.runtime.identity import Acting

log = logging.getLogger(__name__)

EVERY_S, AT_ONCE = 0.5, 16
HOURLY, LOOKS_AGAIN = timedelta(hours=1), timedelta(seconds=1)
WITHIN_S = 30.0
ANSWERS, LENGTH, LATENCY, REFUSALS = "answers", "length", "latency", "refusals"
SCALED = (ANSWERS, LENGTH, LATENCY)
BASELINE = 5
"""Rounds after the first that only tell what is usual for each case."""
LEAST_S = 1e-3
SAME = jobs_pb2.Measure(name=ANSWERS, kind=jobs_pb2.Measure.KIND_SIMILARITY)
ANYTHING = jobs_pb2.Measure(name=ANSWERS, kind=jobs_pb2.Measure.KIND_REGEX, pattern=".")
"""Of the first round, which has nothing to be like."""
REFUSAL = re.compile(
    r"^\W*(?:i['’]?m sorry|sorry|i (?:can(?:not|['’]t)|am unable|won['’]t)|as an ai\b|unfortunately,? i)", re.IGNORECASE
)
MOST_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer, as far as it is watched."""

    case_id: str
    text: str
    likeness: float
    tokens: int
    took_s: float
    refused: bool
    reported: str


@dataclass(slots=True)
class Probing:
    probes: Probes
    shelf: Shelf
    jobs: jobs_pb2_grpc.JobsServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    acting: Acting

    async def set(self, spec: pb.Probe, tenant: str, by: Actor, said: Mapping[str, object]) -> Probe:
        """
        Raises:
            ReferenceUnfit, KindDiffers, TooManyProbes, what is said of a dataset that is not there.
        """
        wanted = reference(spec.dataset)
        if not wanted.number:
            raise ReferenceUnfit(reference=spec.dataset)
        found = await self.shelf.found(tenant, wanted)
        if found.kind != "dataset":
            raise KindDiffers(name=found.name, known=found.kind, proposed="dataset")
        made = Probe(tenant, spec.name, spec.SerializeToString(), by)
        async with reached():
            await self.probes.set(made, list(spec.models), said, datetime.now(UTC))
        return made

    async def run(self) -> None:
        """Asks and looks when it is time, until cancelled."""
        while True:
            try:
                async with reached():
                    await asyncio.gather(*(self._turn(one) for one in await self.probes.due(AT_ONCE)))
            except RegistryAway:
                log.warning("the registry's database is away: probes wait")
            await asyncio.sleep(EVERY_S)

    async def _turn(self, one: Watched) -> None:
        probe = await self.probes.probe(one.tenant, one.name)
        if probe is None:
            return
        spec = pb.Probe.FromString(probe.spec)
        every = spec.every.ToTimedelta() or HOURLY
        try:
            if one.job is None:
                one.job, one.asked = await self._asked(one, spec, probe), datetime.now(UTC)
                await self.probes.keep(one, LOOKS_AGAIN)
                return
            seen = await self._answers(one.job)
            if seen is None:
                await self.probes.keep(one, LOOKS_AGAIN)
                return
            alarm = judged(one, seen, spec.false_alarm_every or drifting.FALSE_ALARM_EVERY, random.Random())
            one.job = None
            if alarm and one.alarmed is None:
                one.alarmed, one.alarm = datetime.now(UTC), alarm
                await self._raise(one, probe)
            await self.probes.keep(one, every)
        except (grpc.aio.AioRpcError, Failure) as error:
            why = error.code().name if isinstance(error, grpc.aio.AioRpcError) else error.reason
            log.warning("probe %s of %s does not reach %s: %s", one.name, one.tenant, one.model, why)
            one.job = None
            await self.probes.keep(one, min(every, timedelta(minutes=1)))

    async def _asked(self, one: Watched, spec: pb.Probe, probe: Probe) -> UUID:
        """Begins a round, its questions in an order of chance."""
        version = await self.shelf.found(one.tenant, reference(spec.dataset))
        cases = cases_of(version, pb.Candidate(model=one.model), set())
        random.shuffle(cases)
        for case in cases:
            case.expected = (one.reference or {}).get(case.case_id, "")
            case.chat.chat.temperature = 0.0
        measure = SAME if one.reference is not None else ANYTHING
        made = await self.jobs.CreateJob(
            jobs_pb2.CreateJobRequest(
                request_id=f"probe-{uuid4()}",
                evaluation=jobs_pb2.Evaluation(cases=cases, measures=[measure]),
                metadata={"probe": one.name},
            ),
            metadata=(("authorization", f"Bearer {await self.acting.token(probe.by.key_id)}"),),
            timeout=WITHIN_S,
        )
        return UUID(made.job.job_id)

    async def _answers(self, job_id: UUID) -> list[Seen] | None:
        """Of a round that is over; None while it goes on."""
        own, name = (("authorization", f"Bearer {self.acting.key}"),), str(job_id)
        job = (await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=name), metadata=own, timeout=WITHIN_S)).job
        if job.state <= jobs_pb2.STATE_RUNNING:
            return None
        made, token = list[Seen](), ""
        while True:
            request = jobs_pb2.ListResultsRequest(job_id=name, page_size=1000, page_token=token)
            page = await self.jobs.ListResults(request, metadata=own, timeout=WITHIN_S)
            made += [_seen(line) for line in page.results if line.state == jobs_pb2.STATE_SUCCEEDED]
            if not (token := page.next_page_token):
                return made

    async def _raise(self, one: Watched, probe: Probe) -> None:
        """Tells people. The alarm stands whether or not the ledger is there to hear of it."""
        assert one.alarmed is not None
        request = ledger_pb2.RaiseAlertRequest(
            kind="drift", account=probe.by.account, subject=one.model, text=f"{one.model}: {one.alarm}"[:4096],
            request_id=f"{one.tenant}/{one.name}/{one.model}/{one.alarmed.isoformat()}"[:128],
        )  # fmt: skip
        await self.ledger.RaiseAlert(
            request, metadata=(("authorization", f"Bearer {self.acting.key}"),), timeout=WITHIN_S
        )


def judged(one: Watched, seen: Sequence[Seen], false_alarm_every: int, chance: random.Random) -> str:
    """Takes in a round; says what has changed, with the evidence, or ''. The first round is what later answers are likened to, the
    next few tell what is usual for each case."""
    if not seen:
        return ""
    reported = seen[0].reported
    if one.reference is None:
        one.reference, one.reported = {each.case_id: each.text for each in seen}, reported
        return ""
    one.rounds += 1
    found = []
    if one.rounds <= BASELINE:
        for each in seen:
            sums = one.baseline.setdefault(each.case_id, [0.0] * (1 + len(SCALED)))
            one.baseline[each.case_id] = [a + b for a, b in zip(sums, [1.0, *_scaled(each)], strict=True)]
    else:
        for name, (values, shown) in _series(one, seen).items():
            detector = one.signals.setdefault(name, Detector())
            evidence = detector.round(values, [chance.random() for _ in values], shown)
            if evidence >= false_alarm_every:
                found.append(f"{name} {detector.usual:.3g} before, {detector.last:.3g} now (evidence {evidence:.3g})")
    if reported != one.reported:
        found.append(f"the provider reports {reported or 'nothing'}, before {one.reported or 'nothing'}")
        one.reported = reported
    return "; ".join(found)


def _scaled(each: Seen) -> list[float]:
    """What is compared with the same case's own usual, in the order of `SCALED`."""
    return [1 - each.likeness, math.log1p(each.tokens), math.log(each.took_s + LEAST_S)]


def _series(one: Watched, seen: Sequence[Seen]) -> dict[str, tuple[list[float], list[float]]]:
    """By what is watched: how far each answer is from what is usual for its case, and what people are shown of it."""
    known = [each for each in seen if each.case_id in one.baseline]
    off = [
        [value - total / one.baseline[each.case_id][0] for value, total in zip(_scaled(each), one.baseline[each.case_id][1:], strict=True)]
        for each in known
    ]  # fmt: skip
    shown = [
        [1 - each.likeness for each in known],
        [float(each.tokens) for each in known],
        [each.took_s for each in known],
    ]
    made = {name: ([row[n] for row in off], shown[n]) for n, name in enumerate(SCALED)}
    refused = [float(each.refused) for each in seen]
    return {**made, REFUSALS: (refused, refused)}


def message(probe: Probe) -> pb.Probe:
    made = pb.Probe.FromString(probe.spec)
    made.key_id = probe.by.key_id
    return made


def report(probe: Probe, models: Sequence[Watched]) -> pb.ProbeReport:
    made = pb.ProbeReport(probe=message(probe))
    for one in models:
        said = made.models.add(model=one.model, rounds=one.rounds, reported=one.reported, alarm=one.alarm)
        for name, each in one.signals.items():
            said.signals.add(name=name, usual=each.usual, last=each.last, evidence=each.evidence)
        if one.alarmed is not None:
            said.alarmed.CopyFrom(stamp(one.alarmed))
        if one.asked is not None:
            said.asked.CopyFrom(stamp(one.asked))
    return made


def _seen(line: jobs_pb2.LineResult) -> Seen:
    made: chat.ChatCompletion = line.result.completion.completion
    choice = made.choices[0] if made.choices else chat.Choice()
    text = "".join(part.text for part in choice.message.parts)[:MOST_ANSWER]
    refused = choice.message.HasField("refusal") or choice.finish_reason == chat.FINISH_REASON_CONTENT_FILTER
    return Seen(
        case_id=line.custom_id,
        text=text,
        likeness=line.scores.get(ANSWERS, 0.0),
        tokens=made.usage.output_tokens,
        took_s=line.result.took.ToTimedelta().total_seconds(),
        refused=refused or REFUSAL.match(text) is not None,
        reported=made.system_fingerprint,
    )
