"""`POST /v1/messages`: Anthropic's wire, in one piece or as server-sent events, to any model of the mesh."""

from dataclasses import dataclass
from typing import Any

import grpc
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import EVENTS, Exchange
from services.edge.wire import answer, job, message, messages, options
from services.edge.wire.errors import of_failure
from services.runtime import cohorts, telemetry

PATH = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Messages:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = messages.parsed(exchange.body)
        asked = messages.chat_request(body)
        wanted = options.options(bytes(body.tollway), exchange.headers)
        if body.stream:
            door.stream()
            await self._stream(exchange, pb.StreamCompleteRequest(chat=asked, options=wanted))
            return
        made = await self.gateway.Complete(pb.CompleteRequest(chat=asked, options=wanted))
        if made.deferred_job_id:
            where = [(b"location", job.path(made.deferred_job_id).encode())]
            await exchange.answer(job.deferred(made.deferred_job_id), where, status=202)
            return
        await cohorts.join("leave")
        await exchange.answer(message.whole(made.completion, made.road), _headers(made.road))

    async def _stream(self, exchange: Exchange, asked: pb.StreamCompleteRequest) -> None:
        """The first message of the stream brings the head of the answer, so a refusal still gets its own status."""
        call = self.gateway.StreamComplete(asked)
        try:
            first: Any = await call.read()
            events = message.Events(first.road)
            await exchange.begin(200, [*EVENTS, *_headers(first.road)])
            try:
                said: Any
                while (said := await call.read()) is not grpc.aio.EOF:
                    last = said.HasField("road")
                    if piece := b"".join(events.end(said.chunk) if last else events.add(said.chunk)):
                        await exchange.write(piece)
            except grpc.aio.AioRpcError as error:
                refusal = of_failure(error)
                telemetry.note(error__type=refusal.code)
                await exchange.write(message.error_event(refusal))
            await exchange.end()
        finally:
            call.cancel()


def _headers(road: pb.Road) -> list[tuple[bytes, bytes]]:
    return [(b"request-id", road.trace_id.encode()), *answer.headers(road)]
