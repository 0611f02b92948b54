"""`POST /v1/chat/completions`, in one piece or as server-sent events."""

from dataclasses import dataclass
from functools import partial

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.streaming import streamed
from services.edge.wire import answer, job, options, request
from services.runtime import cohorts


@dataclass(frozen=True, slots=True)
class Chat:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = request.parsed(exchange.body)
        asked = request.chat_request(body)
        wanted = request.wanted(body, exchange.headers)
        options.label(asked, exchange.headers)
        if body.stream:
            door.stream()
            call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=asked, options=wanted))
            await streamed(exchange, call, answer.headers, partial(answer.Chunks, with_usage=asked.include_usage))
            return
        made = await self.gateway.Complete(pb.CompleteRequest(chat=asked, options=wanted))
        if made.deferred_job_id:
            await exchange.answer(*job.deferred(made.deferred_job_id), status=202)
            return
        await cohorts.join("leave")
        await exchange.answer(answer.completion(made.completion, made.road), answer.headers(made.road))
