"""`POST /v1/chat/completions`, in one piece or as server-sent events."""

from dataclasses import dataclass
from typing import Any

import grpc
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import EVENTS, Exchange
from services.edge.wire import answer, job, options, prompt, request
from services.edge.wire.errors import of_failure
from services.runtime import cohorts, telemetry


@dataclass(frozen=True, slots=True)
class Chat:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = request.parsed(exchange.body)
        asked = request.chat_request(body)
        wanted = prompt.named(options.options(bytes(body.tollway), exchange.headers), body.prompt)
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
        await exchange.answer(answer.completion(made.completion, made.road), answer.headers(made.road))

    async def _stream(self, exchange: Exchange, asked: pb.StreamCompleteRequest) -> None:
        """The first message of the stream brings the head of the answer, so a refusal still gets its own status."""
        with_usage = asked.chat.include_usage
        call = self.gateway.StreamComplete(asked)
        try:
            first: Any = await call.read()
            await exchange.begin(200, [*EVENTS, *answer.headers(first.road)])
            try:
                said: Any
                while (said := await call.read()) is not grpc.aio.EOF:
                    if not said.HasField("road"):
                        if said.chunk.choices:
                            await exchange.write(answer.chunk(said.chunk, first.road, with_usage=with_usage))
                    elif with_usage:
                        await exchange.write(answer.last_chunk(said.chunk, said.road))
            except grpc.aio.AioRpcError as error:
                await self._broke(exchange, error)
                return
            await exchange.write(answer.DONE)
            await exchange.end()
        finally:
            call.cancel()

    async def _broke(self, exchange: Exchange, error: grpc.aio.AioRpcError) -> None:
        """After the first byte a failure is an event of its own and no `[DONE]`."""
        refusal = of_failure(error)
        telemetry.note(error__type=refusal.code)
        await exchange.write(answer.error_event(refusal.body()))
        await exchange.end()
