"""The registry in a real PostgreSQL, before a jobs service that only obeys."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError, Metadata
from tollway.cache.v1 import cache_pb2
from tollway.jobs.v1 import jobs_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc
from tollway.router.v1 import router_pb2

from services.registry import documents
from services.registry.app import MIGRATIONS
from services.registry.comparisons import Comparisons
from services.registry.erasing import Erasing
from services.registry.evaluating import Evaluating
from services.registry.outcomes import Outcomes
from services.registry.postgres import PostgresStore
from services.registry.probes import Probes
from services.registry.probing import Probing
from services.registry.promoting import Approvals, Promoting
from services.registry.records import Records
from services.registry.reviewing import Policy, Reviewing
from services.registry.runs import Runs
from services.registry.service import RegistryService
from services.registry.shadowing import Shadowing
from services.registry.shelf import Shelf
from services.runtime import postgres
from services.runtime.background import running
from services.runtime.identity import Acting, Directory
from services.runtime.server import Service
from tests.registry.made import template
from tests.support.callers import identity
from tests.support.serve import channel_to
from tests.support.stubs import Called


@dataclass
class Jobs:
    """Takes evaluations and has their results at once, unless they are `held`."""

    scores: Callable[[str], dict[str, float]] = field(default=lambda case: {"same": 1.0})
    """By case: of a shadow `candidate` and `live`."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why cases have no answer, by case."""
    away: bool = False
    held: bool = False
    asked: dict[str, jobs_pb2.CreateJobRequest] = field(default_factory=dict)
    callers: list[str] = field(default_factory=list)

    async def CreateJob(self, request: Any, metadata: Any, **_: Any) -> Any:
        if self.away:
            raise AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "away", None)
        known = [job_id for job_id, one in self.asked.items() if one.request_id == request.request_id]
        job_id = known[0] if known else str(uuid4())
        self.asked[job_id] = request
        self.callers.append(dict(metadata)["authorization"].removeprefix("Bearer "))
        return jobs_pb2.CreateJobResponse(job=jobs_pb2.Job(job_id=job_id))

    async def GetJob(self, request: Any, **_: Any) -> Any:
        state = jobs_pb2.STATE_RUNNING if self.held else jobs_pb2.STATE_SUCCEEDED
        return jobs_pb2.GetJobResponse(job=jobs_pb2.Job(job_id=request.job_id, state=state, succeeded=1, failed=2))

    async def ListResults(self, request: Any, **_: Any) -> Any:
        cases, begin = self.asked[request.job_id].evaluation.cases, int(request.page_token or 0)
        page = cases[begin : begin + (request.page_size or 100)]
        more = str(begin + len(page)) if begin + len(page) < len(cases) else ""
        return jobs_pb2.ListResultsResponse(results=map(self._line, page), next_page_token=more)

    def _line(self, case: jobs_pb2.Case) -> jobs_pb2.LineResult:
        made = jobs_pb2.LineResult(custom_id=case.case_id, state=jobs_pb2.STATE_SUCCEEDED)
        if reason := self.errors.get(case.case_id):
            made.state, made.error.reason = jobs_pb2.STATE_FAILED, reason
            return made
        made.scores.update(self.scores(case.case_id))
        if not case.HasField("answer"):
            made.result.completion.road.cost_nano_usd = 30
            made.result.took.seconds = 3
        return made


@dataclass
class Ledger:
    alerts: list[ledger_pb2.RaiseAlertRequest] = field(default_factory=list)

    async def ExchangeToken(self, request: Any, **_: Any) -> Any:
        until = Timestamp(seconds=2_000_000_000)
        return ledger_pb2.ExchangeTokenResponse(token=f"token of {request.key_id}", expires=until)

    async def RaiseAlert(self, request: Any, **_: Any) -> Any:
        self.alerts.append(request)
        return ledger_pb2.RaiseAlertResponse()


@dataclass
class Learners:
    """The cache and the router, as far as feedback goes."""

    away: bool = False
    told: list[Any] = field(default_factory=list)

    async def _told(self, request: Any, answer: Any) -> Any:
        if self.away:
            raise AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "away", None)
        self.told.append(request)
        return answer

    async def ReportOutcome(self, request: Any, **_: Any) -> Any:
        return await self._told(request, router_pb2.ReportOutcomeResponse(known=True))

    async def ReportHit(self, request: Any, **_: Any) -> Any:
        return await self._told(request, cache_pb2.ReportHitResponse(known=True))

    async def Invalidate(self, request: Any, **_: Any) -> Any:
        return await self._told(request, cache_pb2.InvalidateResponse(dropped=2))


@asynccontextmanager
async def served(
    url: str,
    jobs: Jobs | None = None,
    transport: str = "inproc",
    learners: Learners | None = None,
    policies: dict[str, Policy] | None = None,
    ledger: Ledger | None = None,
    **approvals: int,
) -> AsyncIterator[Called]:
    obedient: Any = jobs or Jobs()
    listening: Any = ledger or Ledger()
    learning: Any = learners or Learners()
    async with postgres.opened(url, "registry", MIGRATIONS, 4) as pool:
        store, comparisons, needed = PostgresStore(pool), Comparisons(pool), Approvals({"*": approvals})
        acting, shelf = Acting(Directory(listening, ledger_pb2), "tw_own"), Shelf(store)
        shadowing = Shadowing(comparisons, obedient, acting, Promoting(store, comparisons, needed))
        evaluating = Evaluating(Runs(pool), shelf, obedient, acting)
        reviewing = Reviewing(Records(pool), store, learning, learning, policies or {})
        probing = Probing(Probes(pool), shelf, obedient, listening, acting)
        servicer = RegistryService(
            store, shelf, Outcomes(store), needed, shadowing, evaluating, reviewing, probing, Erasing(pool)
        )
        service = Service(
            name="tollway.registry.v1.RegistryService",
            domain="registry.tollway",
            register=partial(registry_pb2_grpc.add_RegistryServiceServicer_to_server, servicer),
            identity=identity(),
        )
        async with (
            running(shadowing.run(), evaluating.run(), reviewing.run(), probing.run()),
            channel_to(service, transport) as channel,
        ):
            yield Called(registry_pb2_grpc.RegistryServiceStub(channel), key="key_ann")


async def propose(stub: Called, name: str, *contents: dict[str, Any]) -> None:
    for content in contents:
        made = pb.Content()
        documents.read(content, made)
        await stub.ProposeVersion(pb.ProposeVersionRequest(name=name, content=made))


def templates(*texts: str, **more: Any) -> list[dict[str, Any]]:
    return [template(text, **more) for text in texts]
