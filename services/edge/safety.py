"""`/tollway/v1/policies`, `/findings`, `/explain`: what the guard does, has done and would do, over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta
from tollway.guard.v1 import guard_pb2 as pb
from tollway.guard.v1 import guard_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Behind
from services.edge.wire import query
from services.edge.wire.errors import decoded
from services.edge.wire.page import listed, plain

HOURS = 24


class ExplainBody(msgspec.Struct, forbid_unknown_fields=True):
    """What policy is asked of."""

    text: Annotated[str, Meta(min_length=1, max_length=262144)]


_EXPLAIN = msgspec.json.Decoder(ExplainBody)


@dataclass(frozen=True, slots=True)
class Safety:
    guard: guard_pb2_grpc.GuardServiceStub

    async def policies(self, exchange: Exchange, door: Door) -> None:
        page = await self.guard.ListPolicies(pb.ListPoliciesRequest())
        await exchange.answer(listed(map(plain, page.policies), page.next_page_token))

    async def findings(self, exchange: Exchange, door: Door) -> None:
        hours = query.number(exchange.query, "hours", HOURS)
        found = await self.guard.SummarizeFindings(pb.SummarizeFindingsRequest(hours=hours))
        await exchange.answer(orjson.dumps(plain(found)))

    async def explain(self, exchange: Exchange, door: Door) -> None:
        """Without vectors: topics are judged in requests alone."""
        made = await self.guard.ExplainPolicy(pb.ExplainPolicyRequest(text=decoded(_EXPLAIN, exchange.body).text))
        await exchange.answer(orjson.dumps(plain(made)))

    def routes(self, behind: Behind) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/policies": {"GET": behind(self.policies)},
            "/tollway/v1/findings": {"GET": behind(self.findings)},
            "/tollway/v1/explain": {"POST": behind(self.explain)},
        }
