"""`/v1/responses`: OpenAI's Responses, at once, streamed, or in the background as jobs."""

import time
import uuid
from collections.abc import Sequence
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
from services.edge.kept import Kept
from services.edge.streaming import streamed
from services.edge.waiting import Handler
from services.edge.wire import answer, file_search, input_items, options, response, response_items, responses
from services.edge.wire.response_events import Events
from services.edge.wire.responses import ResponsesBody
from services.runtime import cohorts


@dataclass(frozen=True, slots=True)
class Responses:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    kept: Kept
    conversations: Conversations

    async def create(self, exchange: Exchange, door: Door) -> None:
        body = responses.parsed(exchange.body)
        work = await self._work(body, exchange)
        if body.background:
            await self._begin(work, exchange)
            return
        store, turn = await self.kept.wanted(body.store), bool(work.options.turn.conversation)
        job_id, created = str(uuid.uuid4()), int(time.time())
        frame = response.frame(work, response.response_id(job_id), created) | {"store": store}

        async def keep(said: dict[str, Any], whole: pb.CompleteResponse) -> None:
            """Keeps the answer, and says of it what of that went well."""
            if not await self.kept.keep(job_id, work, created, whole, turn_alone=not store):
                said |= {"store": False, "conversation": None}

        if body.stream:
            door.stream()
            call = self.gateway.StreamComplete(pb.StreamCompleteRequest(chat=work.chat, options=work.options))
            events = Events(frame)

            async def ending(last: pb.StreamCompleteResponse) -> None:
                await keep(events.said, events.gathered.whole(last))

            def begun(road: pb.Road) -> Events:
                events.searched = file_search.searched(work, road)
                return events

            await streamed(exchange, call, answer.headers, begun, ending if store or turn else None)
            return
        whole = await self.gateway.Complete(pb.CompleteRequest(chat=work.chat, options=work.options))
        if whole.deferred_job_id:
            found = await self.kept.job(response.response_id(whole.deferred_job_id))
            await exchange.answer(orjson.dumps(response.of_job(found)), status=202)
            return
        if store or turn:
            await keep(frame, whole)
        await cohorts.join("leave")
        said = response.answered(frame, whole.completion, file_search.searched(work, whole.road))
        await exchange.answer(orjson.dumps(said), answer.headers(whole.road))

    async def get(self, exchange: Exchange, door: Door) -> None:
        name, _, what = exchange.path.removeprefix(exchange.route).partition("/")
        if what not in ("", "input_items"):
            raise exchange.unknown_url
        found = await self.kept.job(name)
        if what:
            await exchange.answer(response_items.paged(kept.asked(found), name, exchange.query))
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

    async def _work(self, body: ResponsesBody, exchange: Exchange) -> jobs_pb2.Chat:
        """What is asked, the conversation that it goes on from before it."""
        wanted = responses.wanted(body, exchange.headers)
        named = await self.kept.items(input_items.references(body.input))
        said: Sequence[chat.Message] = ()
        if body.previous_response_id:
            before = await self.kept.before(body.previous_response_id)
            wanted.turn.before = before.job_id
            wanted.sealed_map = wanted.sealed_map or before.result.completion.road.sealed_map
            said = kept.conversation(before)
        elif body.conversation is not None:
            name = body.conversation if isinstance(body.conversation, str) else body.conversation.id
            held = await self.conversations.whole(name)
            said = input_items.spoken(one.message for one in held.items)
            wanted.turn.conversation, wanted.turn.known = held.conversation.conversation_id, len(said)
            wanted.sealed_map = wanted.sealed_map or held.sealed_map
        asked = responses.chat_request(body, said, named)
        options.label(asked, exchange.headers)
        return jobs_pb2.Chat(chat=asked, options=wanted)

    async def _begin(self, work: jobs_pb2.Chat, exchange: Exchange) -> None:
        """In the background."""
        await self.kept.reach()
        key, work.options.idempotency_key = work.options.idempotency_key, ""
        made = await self.kept.jobs.CreateJob(jobs_pb2.CreateJobRequest(chat=work, request_id=key))
        made.job.chat.CopyFrom(work)
        await exchange.answer(orjson.dumps(response.of_job(made.job)))

    def routes(self) -> dict[str, dict[str, Handler]]:
        return {responses.PATH: {"POST": self.create}}

    def prefixes(self) -> dict[str, dict[str, Handler]]:
        return {f"{responses.PATH}/": {"GET": self.get, "POST": self.cancel, "DELETE": self.delete}}
