"""What is said to be surely well formed is so by protovalidate, for every message of every contract."""

import math
import random
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from protovalidate import ValidationError, validate
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.gateway.v1 import gateway_pb2
from tollway.guard.v1 import guard_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2
from tollway.router.v1 import router_pb2

from services.runtime.wellformed import surely
from tests.support.scale import sized

ASKED = chat.ChatRequest(
    model="auto",
    messages=[chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="What is photosynthesis?")])],
    max_output_tokens=100,
    temperature=0.5,
)
SAID = chat.ChatCompletion(
    id="one",
    model="mock",
    choices=[chat.Choice(message=chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text="Well")]))],
)
VECTOR = encoder_pb2.Vector(model="static", values=b"\0" * 1024)
HOLD = str(uuid.UUID(int=7))
WORKED = Duration(seconds=1, nanos=5)
ROAD: list[Message] = [
    gateway_pb2.CompleteRequest(chat=ASKED),
    encoder_pb2.EncodeRequest(texts=["What is photosynthesis?"]),
    guard_pb2.InspectPromptRequest(messages=ASKED.messages, vector=VECTOR),
    cache_pb2.LookupRequest(chat=ASKED, vector=VECTOR),
    router_pb2.RouteRequest(model="auto", text="What is photosynthesis?", vector=VECTOR),
    ledger_pb2.ReserveRequest(reservation_id=HOLD, attempts=[ledger_pb2.Attempt(model="mock", compute=WORKED)]),
    models_pb2.GenerateRequest(chat=ASKED, candidates=["mock"]),
    guard_pb2.InspectAnswerRequest(completion=SAID),
    ledger_pb2.SettleRequest(reservation_id=HOLD, hold=b"sealed", compute=WORKED),
    cache_pb2.StoreRequest(chat=ASKED, vector=VECTOR, completion=SAID),
]


def requests() -> Iterator[Descriptor]:
    """The request of every method of every contract."""
    for folder in sorted(Path("protos/tollway").glob("*/v1")):
        name = folder.parent.name
        if not (folder / f"{name}.proto").exists():
            continue
        import_module(f"tollway.{name}.v1.{name}_pb2")
        file = Default().FindFileByName(f"tollway/{name}/v1/{name}.proto")
        for service in file.services_by_name.values():
            for method in service.methods:
                yield method.input_type


REQUESTS = sorted({one.full_name: one for one in requests()}.values(), key=lambda one: one.full_name)
WORDS = ("", "a", "auto", "low", "é" * 255, "x" * 256, "x" * 257, "y" * 4096, HOLD, "not-a-uuid", "EUR", "a/b", "high")
NUMBERS = (-(2**31), -1, 0, 1, 2, 3, 10, 99, 100, 1000, 10_000, 65_536, 2**31 - 1)
REALS = (-1.0, -0.0, 0.0, 0.5, 1.0, 1.0000001, 2.0, 100.0, math.nan, math.inf, -math.inf)


def filled(descriptor: Descriptor, chance: random.Random, depth: int = 0) -> Message:
    """A message with some fields set, some of them as no rule allows."""
    message = GetMessageClass(descriptor)()
    for one in descriptor.fields:
        if chance.random() < (0.5 if depth < 3 else 0.9):
            continue
        if one.is_repeated:
            several(message, one, chance, depth)
        elif one.message_type is not None:
            if depth < 5:
                getattr(message, one.name).CopyFrom(filled(one.message_type, chance, depth + 1))
        else:
            setattr(message, one.name, single(one, chance))
    return message


def several(message: Message, one: FieldDescriptor, chance: random.Random, depth: int) -> None:
    kind, number = one.message_type, chance.choice((1, 1, 2, 3, 17, 65))
    kept = getattr(message, one.name)
    if kind is not None and kind.GetOptions().map_entry:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        for n in range(number):
            name = f"{n}{single(key, chance)}"[:300] if key.type == FieldDescriptor.TYPE_STRING else n
            if value.message_type is not None:
                kept[name].CopyFrom(filled(value.message_type, chance, depth + 1))
            else:
                kept[name] = single(value, chance)
    elif kind is not None:
        if depth < 5:
            kept.extend(filled(kind, chance, depth + 1) for _ in range(min(number, 3)))
    else:
        kept.extend(single(one, chance) for _ in range(number))


def single(one: FieldDescriptor, chance: random.Random) -> Any:
    match one.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            word = chance.choice(WORDS)
            return word.encode() if one.type == FieldDescriptor.TYPE_BYTES else word
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice((0, 1, 2, 3, 99))
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice(REALS)
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return abs(chance.choice(NUMBERS))
    return chance.choice(NUMBERS)


def good(message: Message) -> bool:
    try:
        validate(message)
    except ValidationError:
        return False
    return True


@settings(max_examples=sized(2_000, 50_000))
@given(st.integers(0, 2**32))
def test_what_is_surely_well_formed_is_so(seed: int) -> None:
    chance = random.Random(seed)
    for one in chance.sample(REQUESTS, 12):
        message = filled(one, chance)
        if surely(message):
            assert good(message), message


def test_rules_are_met_at_their_bounds() -> None:
    """Of the messages that are made up enough are good, and enough are not, to tell anything."""
    chance, told = random.Random(1), {True: 0, False: 0}
    for _ in range(40):
        for one in REQUESTS:
            message = filled(one, chance)
            told[surely(message)] += 1
            assert good(message) or not surely(message)
    assert min(told.values()) > 500


@pytest.mark.parametrize(
    ("length", "well"),
    [
        (Duration(), True),
        (Duration(seconds=604_800), True),
        (Duration(seconds=604_800, nanos=1), False),
        (Duration(nanos=-1), False),
        (Duration(seconds=2, nanos=-1), None),
        (Duration(seconds=10**12), False),
    ],
)
def test_a_length_of_time_is_within_its_bounds(length: Duration, well: bool | None) -> None:
    """None is no duration at all: whatever protovalidate says of it, it is asked."""
    message = ledger_pb2.SettleRequest(reservation_id=HOLD, hold=b"sealed", compute=length)
    assert surely(message) is bool(well)
    assert well is None or good(message) is well


@pytest.mark.parametrize("message", ROAD, ids=lambda one: one.DESCRIPTOR.name)
def test_what_a_request_says_on_its_road_needs_no_second_look(message: Message) -> None:
    assert surely(message) and good(message)


@pytest.mark.parametrize("message", ROAD, ids=lambda one: one.DESCRIPTOR.name)
def test_a_fault_deep_within_is_not_sure(message: Message) -> None:
    for spoilt in spoiled(message):
        assert not surely(spoilt) and not good(spoilt)


def spoiled(message: Message) -> Iterator[Message]:
    """The message with one rule broken, wherever it holds a conversation or an id."""
    for name in ("chat", "completion"):
        if name in message.DESCRIPTOR.fields_by_name:
            made = type(message).FromString(message.SerializeToString())
            inner = getattr(made, name)
            said = inner.messages[0] if name == "chat" else inner.choices[0].message
            said.parts[0].ClearField("text")
            yield made
    if "reservation_id" in message.DESCRIPTOR.fields_by_name:
        made = type(message).FromString(message.SerializeToString())
        made.reservation_id = "seven"  # type: ignore[attr-defined]
        yield made
