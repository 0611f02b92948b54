"""`/v1/responses`: OpenAI's Responses, at once, streamed, or in the background as jobs."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.jobs.v1 import jobs_pb2

from services.edge import kept
from services.edge.conversations import Conversations
from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.kept import Kept, Said
from services.edge.streaming import Listener, streamed
from services.edge.waiting import Handler
from services.edge.wire import answer, file_search, input_items, options, response, response_items, responses
from services.edge.wire.own_tools import Own
from services.edge.wire.response_events import Events
from services.edge.wire.responses import ResponsesBody
from services.runtime import cohorts

NONE: Mapping[str, Said] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response under way."""

    work: jobs_pb2.Chat
    job_id: str
    created: int
    frame: dict[str, Any]
    """As it is told before anything is said."""
    store: bool

    @property
    def kept(self) -> bool:
        """Whether it is stored, or a conversation takes it in."""
        return self.store or bool(self.work.options.turn.conversation)


@dataclass(frozen=True, slots=True)
class Responses:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    kept: Kept
    conversations: Conversations

    async def create(self, exchange: Exchange, door: Door) -> None:
        body = responses.parsed(exchange.body)
        work = await self.work(body, exchange.headers)
        if body.background:
            await self._begin(work, exchange)
            return
        one = await self.answer(work, body.store)
        if body.stream:
            door.stream()
            await self.stream(one, exchange, Events(one.frame, Own.of(work.chat.tools)))
            return
        whole = await self.gateway.Complete(pb.CompleteRequest(chat=work.chat, options=work.options))
        if whole.deferred_job_id:
            found = await self.kept.job(response.response_id(whole.deferred_job_id))
            await exchange.answer(orjson.dumps(response.of_job(found)), status=202)
            return
        await self._keep(one, one.frame, whole)
        await cohorts.join("leave")
        said = response.answered(one.frame, work, whole.completion, file_search.searched(work, whole.road))
        await exchange.answer(orjson.dumps(said), answer.headers(whole.road))

    async def answer(self, work: jobs_pb2.Chat, store: bool | None) -> Answer:
        """One that has begun, and of which nothing is said yet."""
        kept, job_id, created = await self.kept.wanted(store), str(uuid.uuid4()), int(time.time())
        frame = response.frame(work, response.response_id(job_id), created) | {"store": kept}
        return Answer(work, job_id, created, frame, kept)

    async def stream(
        self,
        one: Answer,
        listener: Listener,
        events: Events,
        made: Callable[[pb.CompleteResponse], None] | None = None,
    ) -> None:
        """Answers it piece by piece; `made` is told the whole of it."""
        work = one.work
        call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=work.chat, options=work.options))

        async def ending(last: pb.StreamCompleteResponse) -> None:
            whole = events.gathered.whole(last)
            if made is not None:
                made(whole)
            await self._keep(one, events.said, whole)

        def begun(road: pb.Road) -> Events:
            events.searched = file_search.searched(work, road)
            return events

        await streamed(listener, call, answer.headers, begun, ending if one.kept or made is not None else None)

    async def _keep(self, one: Answer, said: dict[str, Any], whole: pb.CompleteResponse) -> None:
        """Keeps the answer where it is to be kept, and says of it what of that went well."""
        if not one.kept:
            return
        if not await self.kept.keep(one.job_id, one.work, one.created, whole, turn_alone=not one.store):
            said |= {"store": False, "conversation": None}

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what not in ("", "input_items"):
            raise exchange.unknown_url
        found = await self.kept.job(name)
        if what:
            await exchange.answer(response_items.paged(kept.asked(found.chat), name, exchange.query))
            return
        await exchange.answer(orjson.dumps(response.of_job(found)))

    async def cancel(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what != "cancel":
            raise exchange.unknown_url
        job = await self.kept.job(name)
        if job.state <= jobs_pb2.STATE_RUNNING:
            made = (await self.kept.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=job.job_id))).job
            made.chat.CopyFrom(job.chat)
            job = made
        await exchange.answer(orjson.dumps(response.of_job(job)))

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name = exchange.path.removeprefix(exchange.route)
        job = await self.kept.job(name)
        await self.kept.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id))
        await exchange.answer(orjson.dumps({"id": name, "object": "response", "deleted": True}))

    async def work(
        self, body: ResponsesBody, headers: Mapping[bytes, bytes], at_hand: Mapping[str, Said] = NONE
    ) -> jobs_pb2.Chat:
        """What is asked, the conversation that it goes on from before it: of a response that is `at_hand`, or of one that is kept.

        Raises:
            Refusal: it goes on from what is not there, or names what is not.
        """
        wanted = responses.wanted(body, headers)
        named = await self.kept.items(input_items.references(body.input))
        said, tools = list[chat.Message](), list[chat.Tool]()
        if body.previous_response_id:
            name = body.previous_response_id
            before = at_hand.get(name) or await self.kept.before(name)
            wanted.turn.before, said, tools = before.job_id, [*before.messages], [*before.tools]
            wanted.sealed_map = wanted.sealed_map or before.sealed_map
        elif body.conversation is not None:
            name = body.conversation if isinstance(body.conversation, str) else body.conversation.id
            held = await self.conversations.whole(name)
            said = [*input_items.spoken(one.message for one in held.items)]
            wanted.turn.conversation, wanted.turn.known = held.conversation.conversation_id, len(said)
            wanted.sealed_map = wanted.sealed_map or held.sealed_map
        asked = responses.chat_request(body, said, named, tools)
        options.label(asked, headers)
        return jobs_pb2.Chat(chat=asked, options=wanted)

    async def count(self, exchange: Exchange, door: Door) -> None:
        """What a model would read of it, the conversation that it goes on from included."""
        work = await self.work(responses.counted(exchange.body), exchange.headers)
        made = await self.gateway.CountTokens(pb.CountTokensRequest(chat=work.chat))
        await exchange.answer(b'{"object":"response.input_tokens","input_tokens":%d}' % made.input_tokens)

    async def _begin(self, work: jobs_pb2.Chat, exchange: Exchange) -> None:
        """In the background."""
        await self.kept.reach()
        key, work.options.idempotency_key = work.options.idempotency_key, ""
        made = await self.kept.jobs.CreateJob(jobs_pb2.CreateJobRequest(chat=work, request_id=key))
        made.job.chat.CopyFrom(work)
        await exchange.answer(orjson.dumps(response.of_job(made.job)))

    def routes(self) -> dict[str, dict[str, Handler]]:
        return {responses.PATH: {"POST": self.create}, f"{responses.PATH}/input_tokens": {"POST": self.count}}

    def prefixes(self) -> dict[str, dict[str, Handler]]:
        return {f"{responses.PATH}/": {"GET": self.get, "POST": self.cancel, "DELETE": self.delete}}
