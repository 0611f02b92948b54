"""Messages to conversations and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from tollway.jobs.v1 import conversations_pb2 as pb
from tollway.jobs.v1.conversations_pb2_grpc import ConversationsServiceServicer

from services.jobs import messages
from services.jobs.conversations import Conversation, Conversations, Item
from services.jobs.service import reached
from services.runtime import identity

PAGE = 100


@dataclass(slots=True)
class ConversationsService(ConversationsServiceServicer):
    conversations: Conversations

    async def CreateConversation(
        self, request: pb.CreateConversationRequest, context: object
    ) -> pb.CreateConversationResponse:
        name, account = UUID(request.conversation_id), identity.scoped("jobs").account
        with reached():
            made = await self.conversations.begin(
                name, account, request.metadata, request.idle_for.ToTimedelta(), _items(request.items)
            )
        return pb.CreateConversationResponse(conversation=messages.conversation(made))

    async def GetConversation(self, request: pb.GetConversationRequest, context: object) -> pb.GetConversationResponse:
        found = await self._own(request.conversation_id)
        made = pb.GetConversationResponse(conversation=messages.conversation(found))
        if request.with_items:
            with reached():
                made.items.extend(map(messages.item, await self.conversations.whole(found.id)))
            made.sealed_map = found.sealed
        return made

    async def UpdateConversation(
        self, request: pb.UpdateConversationRequest, context: object
    ) -> pb.UpdateConversationResponse:
        found = await self._own(request.conversation_id)
        with reached():
            made = await self.conversations.change(found.id, request.metadata)
        return pb.UpdateConversationResponse(conversation=messages.conversation(made))

    async def DeleteConversation(
        self, request: pb.DeleteConversationRequest, context: object
    ) -> pb.DeleteConversationResponse:
        found = await self._own(request.conversation_id)
        with reached():
            await self.conversations.delete(found.id)
        return pb.DeleteConversationResponse()

    async def AddItems(self, request: pb.AddItemsRequest, context: object) -> pb.AddItemsResponse:
        found = await self._own(request.conversation_id)
        with reached():
            await self.conversations.add(found.id, _items(request.items))
        return pb.AddItemsResponse()

    async def ListItems(self, request: pb.ListItemsRequest, context: object) -> pb.ListItemsResponse:
        found, most = await self._own(request.conversation_id), request.page_size or PAGE
        with reached():
            page = await self.conversations.items(found.id, request.after_item_id, most + 1, request.newest_first)
        return pb.ListItemsResponse(items=map(messages.item, page[:most]), more=len(page) > most)

    async def GetItem(self, request: pb.GetItemRequest, context: object) -> pb.GetItemResponse:
        found = await self._own(request.conversation_id)
        with reached():
            return pb.GetItemResponse(item=messages.item(await self.conversations.item(found.id, request.item_id)))

    async def DeleteItem(self, request: pb.DeleteItemRequest, context: object) -> pb.DeleteItemResponse:
        found = await self._own(request.conversation_id)
        with reached():
            await self.conversations.drop(found.id, request.item_id)
        return pb.DeleteItemResponse(conversation=messages.conversation(found))

    async def _own(self, name: str) -> Conversation:
        """
        Raises:
            ConversationUnknown
        """
        caller = identity.scoped("jobs")
        with reached():
            return await self.conversations.own(UUID(name), caller)


def _items(said: Iterable[pb.Item]) -> list[Item]:
    return [Item(one.item_id, one.message.SerializeToString()) for one in said]
