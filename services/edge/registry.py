"""`/tollway/v1/artifacts`, `/labels`, `/shadows`, `/runs`, `/probes`, `/feedback`, `/records`, `/audit`: the registry over HTTP, for tools that speak no gRPC and for the console."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import query
from services.edge.wire import registry as wire
from services.edge.wire.page import listed, plain


@dataclass(frozen=True, slots=True)
class Registry:
    registry: registry_pb2_grpc.RegistryServiceStub

    async def artifacts(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListArtifacts(
            pb.ListArtifactsRequest(page_size=query.limit(asked), page_token=asked.get("page_token", ""))
        )
        await exchange.answer(listed(map(wire.artifact, page.artifacts), page.next_page_token))

    async def version(self, exchange: Exchange, door: Door) -> None:
        """What a version says: `/artifacts/NAME`, `NAME@LABEL`, `NAME@NUMBER`."""
        said = exchange.path.removeprefix(exchange.route)
        found = await self.registry.GetVersion(pb.GetVersionRequest(reference=said))
        await exchange.answer(orjson.dumps(wire.version(found.version)))

    async def propose(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        made = await self.registry.ProposeVersion(wire.proposal_of(name, exchange.body))
        await exchange.answer(orjson.dumps({**wire.version(made.version), "created": made.created}), status=201)

    async def diff(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        request = pb.DiffVersionsRequest(to=asked.get("to", ""), **{"from": asked.get("from", "")})
        await exchange.answer(orjson.dumps({"diff": (await self.registry.DiffVersions(request)).diff}))

    async def move(self, exchange: Exchange, door: Door) -> None:
        """Points a label at a version."""
        made = await self.registry.MoveLabel(wire.move_of(exchange.body))
        await exchange.answer(orjson.dumps(wire.label(made.label)))

    async def runs(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListRuns(
            pb.ListRunsRequest(
                dataset=asked.get("dataset", ""), page_size=query.limit(asked), page_token=asked.get("page_token", "")
            )
        )
        await exchange.answer(listed(map(wire.run, page.runs), page.next_page_token))

    async def run(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        found = await self.registry.GetRun(pb.GetRunRequest(run_id=name))
        await exchange.answer(orjson.dumps(wire.run(found.run)))

    async def probes(self, exchange: Exchange, door: Door) -> None:
        found = await self.registry.ListProbes(pb.ListProbesRequest())
        await exchange.answer(listed(map(wire.probe, found.probes), ""))

    async def shadows(self, exchange: Exchange, door: Door) -> None:
        found = await self.registry.ListShadows(pb.ListShadowsRequest())
        await exchange.answer(listed(map(wire.shadow, found.shadows), ""))

    async def shadow(self, exchange: Exchange, door: Door) -> None:
        """How a shadow stands."""
        name = exchange.path.removeprefix(exchange.route)
        made = await self.registry.GetShadowReport(pb.GetShadowReportRequest(name=name))
        await exchange.answer(orjson.dumps(wire.report(made)))

    async def compare(self, exchange: Exchange, door: Door) -> None:
        """Another system's answer, handed to a shadow."""
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "compare":
            raise exchange.unknown_url
        made = await self.registry.CompareShadow(wire.comparison_of(name, exchange.body))
        await exchange.answer(orjson.dumps({"comparison_id": made.comparison_id or None}), status=202)

    async def feedback(self, exchange: Exchange, door: Door) -> None:
        made = await self.registry.RecordFeedback(wire.feedback_of(exchange.body))
        await exchange.answer(orjson.dumps({"routed": made.routed, "stored": made.stored}), status=202)

    async def said(self, exchange: Exchange, door: Door) -> None:
        """What was said of answers, the newest first."""
        asked = exchange.query
        page = await self.registry.ListFeedback(
            pb.ListFeedbackRequest(
                trace_id=asked.get("trace_id", ""), page_size=query.limit(asked), page_token=asked.get("page_token", "")
            )
        )
        await exchange.answer(listed(map(plain, page.entries), page.next_page_token))

    async def records(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListRecords(
            pb.ListRecordsRequest(
                review=wire.review_of(asked.get("review", "")), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""),
            )
        )  # fmt: skip
        await exchange.answer(listed(map(wire.record, page.records), page.next_page_token))

    async def record(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        found = await self.registry.GetRecord(pb.GetRecordRequest(record_id=name))
        await exchange.answer(orjson.dumps(wire.record(found.record)))

    async def decide(self, exchange: Exchange, door: Door) -> None:
        """What a person says of an answer that was marked."""
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "decide":
            raise exchange.unknown_url
        made = await self.registry.DecideReview(wire.decision_of(name, exchange.body))
        await exchange.answer(orjson.dumps(wire.record(made.record)))

    async def audit(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.registry.ListAudit(
            pb.ListAuditRequest(page_size=query.limit(asked), page_token=asked.get("page_token", ""))
        )
        await exchange.answer(listed(map(wire.entry, page.entries), page.next_page_token))

    def routes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/artifacts": {"GET": behind(self.artifacts)},
            "/tollway/v1/diff": {"GET": behind(self.diff)},
            "/tollway/v1/labels": {"PUT": behind(self.move)},
            "/tollway/v1/runs": {"GET": behind(self.runs)},
            "/tollway/v1/probes": {"GET": behind(self.probes)},
            "/tollway/v1/shadows": {"GET": behind(self.shadows)},
            "/tollway/v1/feedback": {"GET": behind(self.said), "POST": behind(self.feedback)},
            "/tollway/v1/records": {"GET": behind(self.records)},
            "/tollway/v1/audit": {"GET": behind(self.audit)},
        }

    def prefixes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/artifacts/": {"GET": behind(self.version), "POST": behind(self.propose)},
            "/tollway/v1/runs/": {"GET": behind(self.run)},
            "/tollway/v1/shadows/": {"GET": behind(self.shadow), "POST": behind(self.compare)},
            "/tollway/v1/records/": {"GET": behind(self.record), "POST": behind(self.decide)},
        }
