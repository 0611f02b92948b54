"""`POST /v1/completions`, OpenAI's older API: texts gone on from, in one piece or as server-sent events."""

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.streaming import streamed
from services.edge.wire import answer, completion, options
from services.edge.wire.errors import Refusal


@dataclass(frozen=True, slots=True)
class Completions:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def answer(self, exchange: Exchange, door: Door) -> None:
        body = completion.parsed(exchange.body)
        wanted = options.options(bytes(body.tollway), exchange.headers)
        if wanted.HasField("defer_after"):
            raise Refusal(400, "invalid_value", "a text completion cannot be deferred: ask for a chat completion")
        asked = [completion.chat_request(body, text) for text in completion.texts(body)]
        for request in asked:
            options.label(request, exchange.headers)
        if body.stream:
            door.stream()
            call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=asked[0], options=wanted))
            told = partial(completion.Chunks, with_usage=asked[0].include_usage)
            await streamed(exchange, call, answer.headers, told)
            return
        calls = [pb.CompleteRequest(chat=one, options=_nth(wanted, n)) for n, one in enumerate(asked)]
        made = [asyncio.ensure_future(self.gateway.Complete(call)) for call in calls]
        try:
            answers = await asyncio.gather(*made)
        finally:
            for one in made:  # where one was refused, nobody waits for the others
                one.cancel()
        await exchange.answer(completion.completion(answers), answer.headers(answers[0].road))


def _nth(wanted: pb.Options, n: int) -> pb.Options:
    """Each text is a request of its own, and so is its repetition."""
    if not (n and wanted.idempotency_key):
        return wanted
    made = pb.Options()
    made.CopyFrom(wanted)
    made.idempotency_key = sha256(f"{wanted.idempotency_key}/{n}".encode()).hexdigest()
    return made
