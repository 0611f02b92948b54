"""`/v1/conversations`: OpenAI's conversations, kept with the jobs service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import grpc
import orjson
from tollway.jobs.v1 import conversations_pb2 as pb
from tollway.jobs.v1 import conversations_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Handler
from services.edge.wire import batch, response_items
from services.edge.wire import conversation as wire

PATH = "/v1/conversations"
FIELD = "conversation"
"""Of a response."""


@dataclass(frozen=True, slots=True)
class Conversations:
    stub: conversations_pb2_grpc.ConversationsServiceStub
    reach: Callable[[], Awaitable[None]]
    """Waits for the jobs service, or refuses."""
    idle_s: float

    async def whole(self, said: str) -> pb.GetConversationResponse:
        """To be gone on from.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        asked = pb.GetConversationRequest(conversation_id=wire.uuid_of(said, FIELD), with_items=True)
        await self.reach()
        try:
            found: pb.GetConversationResponse = await self.stub.GetConversation(asked)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise wire.unknown(said, FIELD) from None
            raise
        return found

    async def create(self, exchange: Exchange, door: Door) -> None:
        asked = wire.new(exchange.body)
        asked.idle_for.FromTimedelta(timedelta(seconds=self.idle_s))
        await self.reach()
        made = await self.stub.CreateConversation(asked)
        await exchange.answer(orjson.dumps(wire.shown(made.conversation)))

    async def read(self, exchange: Exchange, door: Door) -> None:
        name, rest = _parts(exchange)
        await self.reach()
        match rest:
            case []:
                found = await self.stub.GetConversation(pb.GetConversationRequest(conversation_id=name))
                await exchange.answer(orjson.dumps(wire.shown(found.conversation)))
            case ["items"]:
                newest, limit, after = response_items.ordered(exchange.query)
                asked = pb.ListItemsRequest(
                    conversation_id=name, newest_first=newest, page_size=limit, after_item_id=after[:64]
                )
                page = await self.stub.ListItems(asked)
                await exchange.answer(batch.listed(wire.items(page.items), more=page.more))
            case ["items", item]:
                found_item = await self.stub.GetItem(pb.GetItemRequest(conversation_id=name, item_id=item[:64]))
                await exchange.answer(orjson.dumps(wire.items([found_item.item])[0]))
            case _:
                raise exchange.unknown_url

    async def change(self, exchange: Exchange, door: Door) -> None:
        name, rest = _parts(exchange)
        await self.reach()
        match rest:
            case []:
                made = await self.stub.UpdateConversation(wire.change(exchange.body, name))
                await exchange.answer(orjson.dumps(wire.shown(made.conversation)))
            case ["items"]:
                asked = wire.more(exchange.body, name)
                if asked.items:
                    await self.stub.AddItems(asked)
                await exchange.answer(batch.listed(wire.items(asked.items), more=False))
            case _:
                raise exchange.unknown_url

    async def delete(self, exchange: Exchange, door: Door) -> None:
        name, rest = _parts(exchange)
        await self.reach()
        match rest:
            case []:
                await self.stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=name))
                await exchange.answer(batch.deleted(exchange.path.removeprefix(exchange.route), "conversation.deleted"))
            case ["items", item]:
                made = await self.stub.DeleteItem(pb.DeleteItemRequest(conversation_id=name, item_id=item[:64]))
                await exchange.answer(orjson.dumps(wire.shown(made.conversation)))
            case _:
                raise exchange.unknown_url

    def routes(self) -> dict[str, dict[str, Handler]]:
        return {PATH: {"POST": self.create}}

    def prefixes(self) -> dict[str, dict[str, Handler]]:
        return {f"{PATH}/": {"GET": self.read, "POST": self.change, "DELETE": self.delete}}


def _parts(exchange: Exchange) -> tuple[str, list[str]]:
    """The conversation, and what of it.

    Raises:
        Refusal: nothing is called so.
    """
    said, *rest = exchange.path.removeprefix(exchange.route).split("/")
    return wire.uuid_of(said), rest
