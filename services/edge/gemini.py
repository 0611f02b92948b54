"""Gemini's wire: `POST /v1beta/models/{model}:generateContent` and its like, to any model of the mesh."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import orjson
from tollway.chat.v1.chat_pb2 import ChatRequest
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import EVENTS, JSON, Exchange
from services.edge.models import Models
from services.edge.streaming import streamed
from services.edge.waiting import Handler
from services.edge.wire import answer, gemini, generated, job, options
from services.edge.wire import gemini_body as wire
from services.edge.wire.gemini import PATH
from services.runtime import cohorts


@dataclass(frozen=True, slots=True)
class Gemini:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    models: Models

    def routes(self) -> dict[str, dict[str, Handler]]:
        return {PATH: {"GET": self.list}}

    def prefixes(self) -> dict[str, dict[str, Handler]]:
        return {f"{PATH}/": {"GET": self.get, "POST": self.act}}

    async def act(self, exchange: Exchange, door: Door) -> None:
        """What comes after the last colon of the path: a model's own name may have one."""
        model, _, what = exchange.path.removeprefix(exchange.route).rpartition(":")
        works = (self._generate, self._stream, self._count, self._embed, self._embed_all)
        named = dict(zip((*gemini.CHATS, *gemini.EMBEDS), works, strict=True))
        if not model or (work := named.get(what)) is None:
            raise exchange.unknown_url
        await work(exchange, door, model)

    async def list(self, exchange: Exchange, door: Door) -> None:
        found = [generated.model(one) async for one in self.models.all()]
        await exchange.answer(orjson.dumps({"models": found}))

    async def get(self, exchange: Exchange, door: Door) -> None:
        one = await self.models.one(exchange.path.removeprefix(exchange.route))
        await exchange.answer(orjson.dumps(generated.model(one)))

    async def _generate(self, exchange: Exchange, door: Door, model: str) -> None:
        body = wire.read(wire.Asked, exchange.body)
        chat, wanted = _asked(model, body, exchange.headers)
        made = await self.gateway.Complete(pb.CompleteRequest(chat=chat, options=wanted))
        if made.deferred_job_id:
            await exchange.answer(*job.deferred(made.deferred_job_id), status=202)
            return
        await cohorts.join("leave")
        said = generated.whole(made.completion, made.road, thoughts=_thinks(body))
        await exchange.answer(said, answer.headers(made.road))

    async def _stream(self, exchange: Exchange, door: Door, model: str) -> None:
        body = wire.read(wire.Asked, exchange.body)
        chat, wanted = _asked(model, body, exchange.headers)
        asked = pb.StreamCompleteRequest(chat=chat, options=wanted)
        door.stream()
        as_events = exchange.query.get("alt") == "sse"
        events = partial(generated.Events if as_events else generated.Listed, thoughts=_thinks(body))
        head = EVENTS if as_events else (JSON,)
        await streamed(exchange, self.gateway.StreamComplete(asked), answer.headers, events, head=head)

    async def _count(self, exchange: Exchange, door: Door, model: str) -> None:
        body = wire.read(wire.Counted, exchange.body)
        whole = body.generate_content_request
        asked = gemini.chat_request(model, whole) if whole else gemini.conversation(model, body.contents or ())
        made = await self.gateway.CountTokens(pb.CountTokensRequest(chat=asked))
        await exchange.answer(b'{"totalTokens":%d}' % made.input_tokens)

    async def _embed(self, exchange: Exchange, door: Door, model: str) -> None:
        one = wire.read(wire.Embedded, exchange.body)
        made = await self.gateway.Embed(gemini.embed_request(model, [one]))
        await exchange.answer(generated.embedded(made, alone=True), answer.headers(made.road))

    async def _embed_all(self, exchange: Exchange, door: Door, model: str) -> None:
        several = wire.read(wire.Batch, exchange.body).requests
        made = await self.gateway.Embed(gemini.embed_request(model, several))
        await exchange.answer(generated.embedded(made, alone=False), answer.headers(made.road))


def _asked(model: str, body: wire.Asked, headers: Mapping[bytes, bytes]) -> tuple[ChatRequest, pb.Options]:
    chat = gemini.chat_request(model, body)
    options.label(chat, headers)
    return chat, options.options(gemini.tollway(body), headers)


def _thinks(body: wire.Asked) -> bool:
    config = body.generation_config
    return bool(config and config.thinking_config and config.thinking_config.include_thoughts)
