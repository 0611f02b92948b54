"""`POST /v1/messages`: Anthropic's wire, in one piece or as server-sent events, to any model of the mesh; and how long a request is."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.streaming import streamed
from services.edge.wire import answer, job, limits, message, messages, options
from services.runtime import cohorts, telemetry

COUNT = f"{messages.PATH}/count_tokens"


@dataclass(frozen=True, slots=True)
class Messages:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = messages.parsed(exchange.body)
        asked = messages.chat_request(body)
        wanted = options.options(bytes(body.tollway), exchange.headers)
        messages.tool_use(wanted.tools, body)
        options.label(asked, exchange.headers)
        if body.stream:
            door.stream()
            call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=asked, options=wanted))
            await streamed(exchange, call, _headers, message.Events)
            return
        made = await self.gateway.Complete(pb.CompleteRequest(chat=asked, options=wanted))
        if made.deferred_job_id:
            await exchange.answer(*job.deferred(made.deferred_job_id), status=202)
            return
        await cohorts.join("leave")
        await exchange.answer(message.whole(made.completion, made.road), _headers(made.road))

    async def count(self, exchange: Exchange, door: Door) -> None:
        asked = pb.CountTokensRequest(chat=messages.read(messages.counted(exchange.body)))
        made = await self.gateway.CountTokens(asked)
        trace = telemetry.current()
        headers = [(b"request-id", trace.hex.encode())] if trace is not None else []
        await exchange.answer(b'{"input_tokens":%d}' % made.input_tokens, headers)


def _headers(road: pb.Road) -> list[tuple[bytes, bytes]]:
    return [(b"request-id", road.trace_id.encode()), *answer.headers(road), *limits.anthropic(road.limits)]
