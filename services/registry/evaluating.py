"""Runs at work: every case of a dataset is asked by one job; what it found is kept once the job has ended."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import documents
from services.registry.runs import Result, Run, Runs
from services.registry.shelf import Shelf, reached
from services.registry.versions import Actor, KindDiffers, RegistryAway, Version, reference
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Acting
from services.runtime.metrics import Counted

log = logging.getLogger(__name__)

SCORES = Counted(
    "tollway.registry.scores", "{score}", "What cases of runs that ended scored, summed", ("dataset", "measure")
)
SCORED = Counted("tollway.registry.scored", "{case}", "Cases of runs that ended", ("dataset", "measure"))

EVERY_S, AT_ONCE, LOOKS_AGAIN = 0.5, 16, timedelta(seconds=1)
PAGE = 1000
AUTO = "auto"
WITHIN_S = 30.0


class NoCases(Failure):
    kind, reason = Kind.PRECONDITION, "NO_CASES"
    text = "{dataset} has no case with one of these tags"


@dataclass(frozen=True, slots=True)
class Evaluating:
    runs: Runs
    shelf: Shelf
    jobs: jobs_pb2_grpc.JobsServiceStub
    acting: Acting

    async def start(self, request: pb.StartRunRequest, tenant: str, by: Actor) -> Run:
        """
        Raises:
            KindDiffers, NoCases, what is said of a version that is not there, AioRpcError of the jobs service.
        """
        found = await self.shelf.found(tenant, reference(request.dataset))
        if found.kind != "dataset":
            raise KindDiffers(name=found.name, known=found.kind, proposed="dataset")
        candidate = await self._pinned(request.candidate, tenant)
        cases = cases_of(found, candidate, set(request.tags))
        if not cases:
            raise NoCases(dataset=request.dataset)
        run_id = UUID(request.request_id) if request.request_id else uuid4()
        evaluation = jobs_pb2.Evaluation(cases=cases, measures=request.measures)
        made = await self.jobs.CreateJob(
            jobs_pb2.CreateJobRequest(request_id=f"run-{run_id}", evaluation=evaluation, metadata={"run": str(run_id)}),
            metadata=(("authorization", f"Bearer {await self.acting.token(by.key_id)}"),),
            timeout=WITHIN_S,
        )
        run = Run(
            id=run_id, tenant=tenant, dataset=found.name, version=found.number,
            candidate=candidate.SerializeToString(), measures=tuple(one.name for one in request.measures),
            job=UUID(made.job.job_id), cases=len(cases), by=by, created=datetime.now(UTC),
        )  # fmt: skip
        async with reached():
            return await self.runs.add(run)

    async def counts(self, run: Run) -> tuple[int, int]:
        """How many cases of a run that goes on are judged, and how many failed."""
        job = await self._job(run)
        return job.succeeded, job.failed

    async def run(self) -> None:
        """Looks for runs whose job has ended, until cancelled."""
        while True:
            try:
                async with reached():
                    await asyncio.gather(*(self._looked(one) for one in await self.runs.due(AT_ONCE)))
            except RegistryAway:
                log.warning("the registry's database is away: runs wait")
            await asyncio.sleep(EVERY_S)

    async def _looked(self, run: Run) -> None:
        try:
            job = await self._job(run)
            if job.state <= jobs_pb2.STATE_RUNNING:
                await self.runs.again(run, LOOKS_AGAIN)
                return
            results = await self._results(run)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                await self.runs.end(run, "cancelled", ())
            else:
                await self.runs.again(run, LOOKS_AGAIN * 10)
            return
        await self.runs.end(run, "cancelled" if job.state == jobs_pb2.STATE_CANCELLED else "done", results)
        for measure, score in (pair for one in results for pair in one.scores.items()):
            SCORES.add(score, run.dataset, measure)
            SCORED.add(1, run.dataset, measure)

    async def _results(self, run: Run) -> Sequence[Result]:
        made, token = list[Result](), ""
        while True:
            page = await self.jobs.ListResults(
                jobs_pb2.ListResultsRequest(job_id=str(run.job), page_size=PAGE, page_token=token),
                metadata=self._own, timeout=WITHIN_S,
            )  # fmt: skip
            for line in page.results:
                road, answered = line.result.completion.road, line.state == jobs_pb2.STATE_SUCCEEDED
                error = "" if answered else line.error.reason or "CANCELLED"
                took = line.result.took.ToTimedelta()
                made.append(Result(len(made), line.custom_id, dict(line.scores), error, road.cost_nano_usd, took))
            if not (token := page.next_page_token):
                return made

    async def _job(self, run: Run) -> jobs_pb2.Job:
        asked = jobs_pb2.GetJobRequest(job_id=str(run.job))
        return (await self.jobs.GetJob(asked, metadata=self._own, timeout=WITHIN_S)).job

    async def _pinned(self, asked: pb.Candidate, tenant: str) -> pb.Candidate:
        """With its prompt by number: what a run is of must not move."""
        made = pb.Candidate()
        made.CopyFrom(asked)
        if asked.prompt:
            found = await self.shelf.found(tenant, reference(asked.prompt))
            if found.kind != "template":
                raise KindDiffers(name=found.name, known=found.kind, proposed="template")
            made.prompt = f"{found.name}@{found.number}"
        return made

    @property
    def _own(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.acting.key}"),)


def cases_of(version: Version, candidate: pb.Candidate, tags: set[str]) -> list[jobs_pb2.Case]:
    """What a candidate is asked of a dataset; only cases with one of `tags`, where there are any."""
    dataset = pb.Dataset()
    documents.read(version.content["dataset"], dataset)
    made = []
    for one in dataset.cases:
        if tags and not tags & set(one.tags):
            continue
        asked = jobs_pb2.Chat()
        asked.chat.model = candidate.model or ("" if candidate.prompt else AUTO)
        for message in one.messages:
            asked.chat.messages.append(chat.Message(role=message.role, parts=[chat.ContentPart(text=message.text)]))
        if candidate.prompt:
            asked.options.prompt.reference = candidate.prompt
            asked.options.prompt.variables_json = one.variables_json
        asked.options.routing = candidate.routing
        asked.options.cache.no_cache = asked.options.cache.no_store = True  # the candidate itself is to answer
        made.append(jobs_pb2.Case(case_id=one.case_id, chat=asked, expected=one.expected))
    return made
