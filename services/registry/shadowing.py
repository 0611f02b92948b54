"""Shadows at work: the candidate is asked what others answered, by a job, under its own budget; then both are compared."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import verdicts
from services.registry.comparisons import Comparison, Comparisons, Shadow
from services.registry.promoting import Promoting
from services.registry.shelf import reached
from services.registry.verdicts import Measure, Pair
from services.registry.versions import RegistryAway
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Acting
from services.runtime.metrics import Counted

log = logging.getLogger(__name__)

EVERY_S, FIRST_LOOK, LONGEST_WAIT = 0.25, timedelta(seconds=0.25), timedelta(seconds=10)
AT_ONCE = 64
MOST_WAITING = 1000
"""Comparisons of one shadow under way: what comes beyond is left out."""
KEPT = timedelta(days=30)
JOB_KEPT_S = 7 * 86_400
SWEPT_EVERY_S = 3600.0
LABEL = "tollway.shadow"
"""Marks the candidate's own requests among the labels of a request: they are not mirrored again."""
AUTO = "auto"
CANDIDATE, LIVE = "candidate", "live"
NOT_ITS_FAULT = frozenset(
    ("BUDGET_EXCEEDED", "THROTTLED", "ACCOUNT_SUSPENDED", "SCOPE_MISSING", "MODEL_NOT_ALLOWED", "JOB_CANCELLED")
)
"""Why a candidate was not asked at all, by the reason of its job's error."""
JUDGES = (jobs_pb2.Measure.KIND_JUDGE, jobs_pb2.Measure.KIND_REGEX, jobs_pb2.Measure.KIND_SCHEMA)
"""They need no answer to compare with."""

VERDICTS = Counted(
    "tollway.registry.verdicts", "{pair}", "Pairs, by what all of them said once they were in", ("shadow", "verdict")
)
COMPARED = Counted("tollway.registry.comparisons", "{pair}", "Pairs that shadows compared", ("shadow", "state"))


class ShadowFull(Failure):
    kind, reason = Kind.EXHAUSTED, "SHADOW_FULL"
    text = "shadow {name} has 1000 comparisons under way"


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was given, and what it was given to."""

    chat: chat.ChatRequest
    options: gateway_pb2.Options
    answer: str
    cost: int
    took: timedelta
    expected: str = ""
    """The correct answer, where it is known."""
    trace: str = ""


@dataclass(slots=True)
class Shadowing:
    comparisons: Comparisons
    jobs: jobs_pb2_grpc.JobsServiceStub
    acting: Acting
    promoting: Promoting
    _swept: float = field(default=0.0)

    async def compare(self, shadow: Shadow, given: Given) -> UUID:
        """Asks the candidate by a job; both answers are compared once it has ended.

        Raises:
            ShadowFull, RegistryAway
            AioRpcError: the jobs service is away, or cannot take it.
        """
        spec = pb.Shadow.FromString(shadow.spec)
        async with reached():
            if await self.comparisons.waiting(shadow.tenant, shadow.name) >= MOST_WAITING:
                await self.comparisons.skip(shadow.tenant, shadow.name)
                raise ShadowFull(name=shadow.name, retry_after_s=1.0)
        one = Comparison(
            id=uuid4(), tenant=shadow.tenant, name=shadow.name, revision=shadow.revision, job=UUID(int=0),
            trace=given.trace, expected=bool(given.expected), live_cost=given.cost, live_took=given.took,
            at=datetime.now(UTC) + FIRST_LOOK,
        )  # fmt: skip
        try:
            token = await self.acting.token(shadow.by.key_id)
            made = await self.jobs.CreateJob(
                _work(one, spec, given), metadata=(("authorization", f"Bearer {token}"),), timeout=10.0
            )
        except grpc.aio.AioRpcError:
            async with reached():
                await self.comparisons.skip(shadow.tenant, shadow.name)
            raise
        async with reached():
            await self.comparisons.begin(replace(one, job=UUID(made.job.job_id)))
        return one.id

    async def run(self) -> None:
        """Looks for comparisons whose job has ended, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            found = 0
            try:
                async with reached():
                    due = await self.comparisons.due(AT_ONCE)
                    found = len(due)
                    await asyncio.gather(*(self._looked(one) for one in due))
                    if loop.time() - self._swept > SWEPT_EVERY_S:
                        self._swept = loop.time()
                        await self.comparisons.forget(datetime.now(UTC) - KEPT)
            except RegistryAway:
                log.warning("the registry's database is away: comparisons wait")
            if found < AT_ONCE:
                await asyncio.sleep(EVERY_S)

    async def _looked(self, one: Comparison) -> None:
        own = (("authorization", f"Bearer {self.acting.key}"),)
        asked = jobs_pb2.GetJobRequest(job_id=str(one.job))
        try:
            job = (await self.jobs.GetJob(asked, metadata=own, timeout=10.0)).job
            if job.state <= jobs_pb2.STATE_RUNNING:
                wait = min(FIRST_LOOK * 2 ** min(one.looks, 8), LONGEST_WAIT)
                await self.comparisons.again(one, wait * (0.5 + random.random()))
                return
            lines = jobs_pb2.ListResultsRequest(job_id=str(one.job))
            results = (await self.jobs.ListResults(lines, metadata=own, timeout=10.0)).results
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                await self._end(one, "skipped", None, {})
            else:
                await self.comparisons.again(one, LONGEST_WAIT)
            return
        sides = {line.custom_id: line for line in results}
        candidate, live = sides.get(CANDIDATE), sides.get(LIVE)
        if candidate is None or live is None or live.state != jobs_pb2.STATE_SUCCEEDED:
            await self._end(one, "skipped", None, {})
        elif candidate.state == jobs_pb2.STATE_SUCCEEDED:
            await self._end(one, "done", Pair(candidate.scores, live.scores, one.expected), candidate)
        elif candidate.error.reason in NOT_ITS_FAULT or candidate.state == jobs_pb2.STATE_CANCELLED:
            await self._end(one, "skipped", None, {})
        else:
            await self._end(one, "failed", Pair({}, live.scores, one.expected), candidate)

    async def _end(self, one: Comparison, state: str, pair: Pair | None, line: Any) -> None:
        try:
            shadow = await self.comparisons.shadow(one.tenant, one.name)
        except Failure:
            return  # it was deleted meanwhile, and its comparisons with it
        spec = pb.Shadow.FromString(shadow.spec)
        cost = line.result.completion.road.cost_nano_usd if pair is not None else 0
        took = line.result.took.ToTimedelta() if pair is not None else timedelta()
        await self.comparisons.end(one, state, pair, measures(spec), cost, took)
        COMPARED.add(1, one.name, state)
        if shadow.revision != one.revision or pair is None:
            return
        standing = await self.comparisons.standing(shadow)
        verdict = verdicts.overall(by_measure(spec, standing.found), spec.error or verdicts.ERROR)
        VERDICTS.add(1, one.name, verdict)
        if verdict == "better" and spec.HasField("promotion") and shadow.promoted is None:
            await self.promoting.promote(shadow, spec)


def measures(spec: pb.Shadow) -> Sequence[Measure]:
    return [
        Measure(one.measure.name, one.target or verdicts.TARGET, one.measure.kind in JUDGES) for one in spec.measures
    ]


def by_measure(spec: pb.Shadow, found: Mapping[str, verdicts.Found]) -> list[verdicts.Found]:
    """In the order of the shadow's measures; of those without a pair yet, nothing."""
    return [found.get(one.measure.name, verdicts.Found()) for one in spec.measures]


def _work(one: Comparison, spec: pb.Shadow, given: Given) -> jobs_pb2.CreateJobRequest:
    """The job: the candidate is asked, and both answers are judged."""
    asked = jobs_pb2.Chat(chat=given.chat, options=given.options)
    candidate, options = spec.candidate, asked.options
    if candidate.model or spec.legacy:  # another system's models are not the mesh's
        asked.chat.model = candidate.model or ("" if candidate.prompt else AUTO)
    if candidate.routing:
        options.routing = candidate.routing
    if candidate.prompt:
        options.prompt.reference = candidate.prompt
    asked.chat.metadata[LABEL] = spec.name
    options.ClearField("idempotency_key")
    options.ClearField("attempt")
    options.ClearField("defer_after")
    options.cache.no_cache = options.cache.no_store = True  # the candidate itself is to answer
    expected = given.expected or given.answer
    cases = [
        jobs_pb2.Case(case_id=CANDIDATE, chat=asked, expected=expected),
        jobs_pb2.Case(case_id=LIVE, chat=asked, expected=expected, answer=given.answer),
    ]
    made = jobs_pb2.CreateJobRequest(
        request_id=str(one.id),
        evaluation=jobs_pb2.Evaluation(cases=cases, measures=[each.measure for each in spec.measures]),
        priority=-10,
        metadata={LABEL: spec.name},
    )
    made.keep.FromSeconds(JOB_KEPT_S)
    return made
