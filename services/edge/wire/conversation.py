"""OpenAI's conversations in our words, and ours in theirs."""

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from tollway.jobs.v1 import conversations_pb2 as pb

from services.edge.wire import input_items, response_items
from services.edge.wire.body import Metadata
from services.edge.wire.errors import Refusal, decoded, unfit
from services.edge.wire.items import ASKED, item_id, single
from services.edge.wire.response import CONVERSATION, conversation_id

ID = re.compile(rf"{CONVERSATION}([0-9a-f]{{32}})")
PARAM, MOST = "conversation_id", 200


class ConversationBody(Struct, forbid_unknown_fields=True):
    items: Annotated[list[Raw], Meta(max_length=MOST)] | None = None
    metadata: Metadata | None = None


class ChangeBody(Struct, forbid_unknown_fields=True):
    metadata: Metadata | None


class ItemsBody(Struct, forbid_unknown_fields=True):
    items: Annotated[list[Raw], Meta(min_length=1, max_length=MOST)]


_NEW, _CHANGE = msgspec.json.Decoder(ConversationBody), msgspec.json.Decoder(ChangeBody)
_ITEMS = msgspec.json.Decoder(ItemsBody)


def new(raw: bytes) -> pb.CreateConversationRequest:
    """
    Raises:
        Refusal: a field that breaks a rule, or an item that is none.
    """
    body = decoded(_NEW, raw or b"{}")
    return pb.CreateConversationRequest(
        conversation_id=str(uuid.uuid4()), items=_items(body.items or ()), metadata=body.metadata or {}
    )


def change(raw: bytes, name: str) -> pb.UpdateConversationRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    body = decoded(_CHANGE, raw)
    return pb.UpdateConversationRequest(conversation_id=name, metadata=body.metadata or {})


def more(raw: bytes, name: str) -> pb.AddItemsRequest:
    """
    Raises:
        Refusal: a field that breaks a rule, or an item that is none.
    """
    body = decoded(_ITEMS, raw)
    return pb.AddItemsRequest(conversation_id=name, items=_items(body.items))


def uuid_of(said: str, param: str = PARAM) -> str:
    """
    Raises:
        Refusal: nothing is called so; `param` names it.
    """
    if (found := ID.fullmatch(said)) is None:
        raise unknown(said, param)
    return str(uuid.UUID(found[1]))


def unknown(said: str, param: str) -> Refusal:
    return Refusal(404, "not_found", f"no conversation {said[:64]!r} is kept", param=param)


def shown(one: pb.Conversation) -> dict[str, Any]:
    return {
        "id": conversation_id(one.conversation_id),
        "object": "conversation",
        "created_at": one.created.seconds,
        "metadata": dict(one.metadata),
    }


def items(found: Iterable[pb.Item]) -> list[dict[str, Any]]:
    return [response_items.shown(one.message, one.item_id) for one in found]


def _items(said: Sequence[Raw]) -> list[pb.Item]:
    """What says nothing to a model is left out."""
    (made, tools), origin = input_items.read(said, "items", {}), uuid.uuid4().hex
    if tools:
        raise unfit("items", "tools are brought with a request: a conversation keeps what was said")
    return [pb.Item(item_id=item_id(ASKED, origin, n), message=one) for n, one in enumerate(single(made))]
