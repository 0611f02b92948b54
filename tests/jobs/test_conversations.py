"""Conversations over every transport: item by item, turn by turn, and only their owner's."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import conversations_pb2 as pb
from tollway.jobs.v1 import jobs_pb2 as jobs_pb

from services.jobs import turns
from services.jobs.conversations import ConversationFull, Conversations, Item
from tests.jobs.test_service import Jobs, asking, both, ended
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called

__all__ = ["both"]
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "CONVERSATION_UNKNOWN")


@pytest.fixture
def talk(both: tuple[Jobs, Called]) -> tuple[Jobs, Called, Called]:
    """The service, its jobs' stub, and its conversations'."""
    jobs, stub = both
    return jobs, stub, jobs.conversations


def said(text: str, role: "chat.Role.ValueType" = chat.ROLE_USER) -> chat.Message:
    return chat.Message(role=role, parts=[chat.ContentPart(text=text)])


def item(name: str, text: str) -> pb.Item:
    return pb.Item(item_id=name, message=said(text))


def texts(items: Any) -> list[str]:
    return [one.message.parts[0].text for one in items]


async def begun(stub: Called, *items: pb.Item, **more: Any) -> str:
    made = await stub.CreateConversation(
        pb.CreateConversationRequest(conversation_id=str(uuid4()), items=items, **more)
    )
    return str(made.conversation.conversation_id)


async def whole(stub: Called, name: str) -> pb.GetConversationResponse:
    made: pb.GetConversationResponse = await stub.GetConversation(
        pb.GetConversationRequest(conversation_id=name, with_items=True)
    )
    return made


def turn(name: str, *before: chat.Message, new: str = "new") -> jobs_pb.Chat:
    """A request whose conversation holds `before`."""
    made = asking(new)
    made.chat.messages.insert(0, said("Be brief.", chat.ROLE_SYSTEM))
    for n, one in enumerate(before, 1):
        made.chat.messages.insert(n, one)
    made.options.turn.MergeFrom(gateway_pb2.Turn(instructed=True, conversation=name, known=len(before)))
    return made


def answer(text: str, sealed: bytes = b"") -> gateway_pb2.CompleteResponse:
    choice = chat.Choice(
        message=chat.Message(role=chat.ROLE_ASSISTANT, reasoning="hm", parts=[chat.ContentPart(text=text)])
    )
    return gateway_pb2.CompleteResponse(
        completion=chat.ChatCompletion(choices=[choice]), road=gateway_pb2.Road(sealed_map=sealed)
    )


async def test_a_conversation_from_first_to_last(talk: tuple[Jobs, Called, Called]) -> None:
    _, _, stub = talk
    name = await begun(stub, item("in_1", "one"), metadata={"topic": "rivers"})
    again = pb.CreateConversationRequest(conversation_id=name, items=[item("in_9", "other")])
    assert (await stub.CreateConversation(again)).conversation.metadata == {"topic": "rivers"}
    await stub.AddItems(pb.AddItemsRequest(conversation_id=name, items=[item("in_2", "two"), item("in_3", "three")]))
    await stub.AddItems(pb.AddItemsRequest(conversation_id=name, items=[item("in_3", "again"), item("in_4", "four")]))
    made = await whole(stub, name)
    assert texts(made.items) == ["one", "two", "three", "four"] and not made.sealed_map
    assert made.conversation.account == "acme/search" and made.conversation.idle_for.seconds == 30 * 86_400
    first = await stub.ListItems(pb.ListItemsRequest(conversation_id=name, newest_first=True, page_size=3))
    assert texts(first.items) == ["four", "three", "two"] and first.more
    rest = pb.ListItemsRequest(conversation_id=name, newest_first=True, page_size=3, after_item_id="in_2")
    last = await stub.ListItems(rest)
    assert texts(last.items) == ["one"] and not last.more
    assert (await stub.GetItem(pb.GetItemRequest(conversation_id=name, item_id="in_2"))).item == item("in_2", "two")
    await stub.DeleteItem(pb.DeleteItemRequest(conversation_id=name, item_id="in_2"))
    for gone in (
        stub.GetItem(pb.GetItemRequest(conversation_id=name, item_id="in_2")),
        stub.DeleteItem(pb.DeleteItemRequest(conversation_id=name, item_id="in_2")),
        stub.ListItems(pb.ListItemsRequest(conversation_id=name, after_item_id="in_2")),
    ):
        assert await refused(gone) == (grpc.StatusCode.NOT_FOUND, "ITEM_UNKNOWN")
    changed = await stub.UpdateConversation(pb.UpdateConversationRequest(conversation_id=name, metadata={"a": "b"}))
    assert changed.conversation.metadata == {"a": "b"}
    await stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=name))
    assert await refused(whole(stub, name)) == UNKNOWN


async def test_an_answer_that_is_kept_is_added_once(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name, kept = await begun(stub, item("in_1", "one")), str(uuid4())
    asked = jobs_pb.KeepAnswerRequest(job_id=kept, chat=turn(name, said("one")), completion=answer("yes", b"map"))
    await jobs.KeepAnswer(asked)
    await jobs.KeepAnswer(asked)
    made = await whole(stub, name)
    ids = [f"{kind}_{UUID(kept).hex}000{place}" for kind, place in (("in", 1), ("rs", 0), ("msg", 0))]
    assert [one.item_id for one in made.items] == ["in_1", *ids] and made.sealed_map == b"map"
    _, new, thought, text = (one.message for one in made.items)
    assert (new, thought.reasoning, text) == (said("new"), "hm", said("yes", chat.ROLE_ASSISTANT))


async def test_of_a_turn_alone_nothing_else_is_kept(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name, kept = await begun(stub), str(uuid4())
    asked = jobs_pb.KeepAnswerRequest(job_id=kept, chat=turn(name), completion=answer("yes"), turn_alone=True)
    await jobs.KeepAnswer(asked)
    await jobs.KeepAnswer(asked)
    assert len((await whole(stub, name)).items) == 3
    asked.chat.options.turn.conversation = ""
    assert await field_of(jobs.KeepAnswer(asked)) == "turn_alone"
    gone = jobs.GetJob(jobs_pb.GetJobRequest(job_id=kept))
    assert await refused(gone) == (grpc.StatusCode.NOT_FOUND, "JOB_UNKNOWN")


async def test_a_job_is_added_when_it_succeeds_and_not_when_it_fails(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name = await begun(stub)
    for text, state in (("hello", jobs_pb.STATE_SUCCEEDED), ("wrong", jobs_pb.STATE_FAILED)):
        asked = asking(text)
        asked.options.turn.conversation = name
        made = await jobs.CreateJob(jobs_pb.CreateJobRequest(chat=asked))
        assert (await ended(jobs, made.job.job_id)).state == state
    assert texts((await whole(stub, name)).items) == ["hello", "You said: hello"]


async def test_what_its_caller_went_on_with_is_added_when_it_is_reported(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name, kept, holder = await begun(stub), str(uuid4()), str(uuid4())
    holding = jobs_pb.Holding(job_id=kept, holder=holder)
    await jobs.CreateJob(jobs_pb.CreateJobRequest(chat=turn(name), holding=holding))
    report = jobs_pb.ReportJobRequest(job_id=kept, holder=holder, result=jobs_pb.Result(completion=answer("yes")))
    await jobs.ReportJob(report)
    assert [one.message.parts[0].text for one in (await whole(stub, name)).items if one.message.parts] == ["new", "yes"]


async def test_a_turn_of_what_was_deleted_meanwhile_ends_well(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name = await begun(stub)
    asked = asking("busy")  # tried again after a second
    asked.options.turn.conversation = name
    made = await jobs.CreateJob(jobs_pb.CreateJobRequest(chat=asked))
    await stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=name))
    assert (await ended(jobs, made.job.job_id)).state == jobs_pb.STATE_SUCCEEDED


async def test_a_conversation_is_its_owners_alone(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    name = await begun(stub, item("in_1", "secret"))
    other = stub.by("globex/app")
    here: Any = {"conversation_id": name}
    kept = jobs_pb.KeepAnswerRequest(job_id=str(uuid4()), chat=turn(name), completion=answer("x"))
    for call in (
        other.GetConversation(pb.GetConversationRequest(**here)),
        other.UpdateConversation(pb.UpdateConversationRequest(**here)),
        other.DeleteConversation(pb.DeleteConversationRequest(**here)),
        other.AddItems(pb.AddItemsRequest(items=[item("in_2", "x")], **here)),
        other.ListItems(pb.ListItemsRequest(**here)),
        other.GetItem(pb.GetItemRequest(item_id="in_1", **here)),
        other.DeleteItem(pb.DeleteItemRequest(item_id="in_1", **here)),
        jobs.by("globex/app").KeepAnswer(kept),
        jobs.by("globex/app").CreateJob(jobs_pb.CreateJobRequest(chat=turn(name))),
        jobs.CreateJob(jobs_pb.CreateJobRequest(chat=turn("no id"))),
    ):
        assert await refused(call) == UNKNOWN
    again = pb.CreateConversationRequest(**here)
    assert await refused(other.CreateConversation(again)) == (
        grpc.StatusCode.ALREADY_EXISTS, "CONVERSATION_ID_REUSED",
    )  # fmt: skip
    assert texts((await whole(stub, name)).items) == ["secret"]
    above = stub.by("acme")
    assert texts((await whole(above, name)).items) == ["secret"], "whoever is above may read it"
    assert await field_of(stub.AddItems(pb.AddItemsRequest(items=[pb.Item(item_id="in_2")], **here))) == (
        "items[0].message"
    )


async def test_nobody_adds_more_than_may_be(both: tuple[Jobs, Called]) -> None:
    jobs, _ = both
    few, name = Conversations(jobs.pool, most_items=2), uuid4()
    await few.begin(name, "acme/search", {}, Duration().ToTimedelta(), [Item("1", b"")])
    with pytest.raises(ConversationFull):
        await few.add(name, [Item("2", b""), Item("3", b"")])
    assert len(await few.whole(name)) == 1, "nothing half done"
    await few.add(name, [Item("2", b"")])
    with pytest.raises(ConversationFull):
        await few.whole(name)


async def test_together_they_add_no_more_than_may_be(both: tuple[Jobs, Called]) -> None:
    jobs, _ = both
    few, name = Conversations(jobs.pool, most_items=3), uuid4()
    await few.begin(name, "acme/search", {}, Duration().ToTimedelta(), [])
    added = await asyncio.gather(*(few.add(name, [Item(str(n), b"")]) for n in range(12)), return_exceptions=True)
    assert sum(one is None for one in added) == len(await few.items(name, "", 100)) == 3
    await few.add(name, [Item(str(added.index(None)), b"")])  # what is there already may come again


async def test_what_nobody_uses_goes(talk: tuple[Jobs, Called, Called]) -> None:
    jobs, _, stub = talk
    kept = Conversations(jobs.pool)
    old, used = [await begun(stub, item("in_1", "x"), idle_for=Duration(seconds=3600)) for _ in range(2)]
    more = "SELECT gen_random_uuid(), 'acme/search', 'acme', interval '1 hour' FROM generate_series(1, 250)"
    await jobs.pool.execute(f"INSERT INTO conversation (id, account, tenant, idle) {more}")
    await jobs.pool.execute("UPDATE conversation SET used = used - interval '2 hours'")
    await whole(stub, used)
    await kept.sweep()
    assert await jobs.pool.fetchval("SELECT count(*) FROM conversation") == 1
    assert await refused(whole(stub, old)) == UNKNOWN
    assert texts((await whole(stub, used)).items) == ["x"]


async def test_erasing_takes_what_an_end_user_had_a_turn_in(talk: tuple[Jobs, Called, Called]) -> None:
    _, jobs, stub = talk
    mine, other, theirs = await begun(stub), await begun(stub), await begun(stub.by("globex/app"))
    for name, user, by in ((mine, "ada", jobs), (other, "bob", jobs), (theirs, "ada", jobs.by("globex/app"))):
        asked = turn(name)
        asked.chat.user = user
        await by.KeepAnswer(jobs_pb.KeepAnswerRequest(job_id=str(uuid4()), chat=asked, completion=answer("x")))
    operator = jobs.by("operator", admin=True)
    gone = await operator.Erase(jobs_pb.EraseRequest(tenant="acme", subject="ada"))
    assert gone.erased["conversations"] == 1 and await refused(whole(stub, mine)) == UNKNOWN
    assert (await whole(stub, other)).items and (await whole(stub.by("globex/app"), theirs)).items
    gone = await operator.Erase(jobs_pb.EraseRequest(tenant="acme", everything=True))
    assert gone.erased["conversations"] == 1 and await refused(whole(stub, other)) == UNKNOWN


MESSAGES = st.builds(
    lambda text, calls: chat.Message(
        role=chat.ROLE_ASSISTANT,
        parts=[chat.ContentPart(text=text)] if text else [],
        tool_calls=[chat.ToolCall(id=f"call_{n}", name="weather") for n in range(calls)],
    ),
    st.text("ab", max_size=3), st.integers(0, 3),
)  # fmt: skip


@given(st.lists(MESSAGES, max_size=4), st.lists(MESSAGES, max_size=4), MESSAGES, st.booleans())
def test_of_a_turn_only_what_is_new_is_added(
    before: list[chat.Message], new: list[chat.Message], last: chat.Message, instructed: bool
) -> None:
    system = [said("Be brief.", chat.ROLE_SYSTEM)] if instructed else []
    asked = jobs_pb.Chat(chat=chat.ChatRequest(messages=[*system, *before, *new]))
    asked.options.turn.MergeFrom(gateway_pb2.Turn(instructed=instructed, conversation="c", known=len(before)))
    made = gateway_pb2.CompleteResponse(completion=chat.ChatCompletion(choices=[chat.Choice(message=last)]))
    found = list(turns.items(asked, made))
    assert len({(kind, place) for kind, place, _ in found}) == len(found)
    held = [one for _, _, one in found]
    assert all(len(one.tool_calls) <= 1 and not (one.tool_calls and one.parts) for one in held), "one thing each"
    kinds: list[Callable[[chat.Message], Iterable[Any]]] = [lambda one: one.tool_calls, lambda one: one.parts]
    for of in kinds:
        assert [part for one in held for part in of(one)] == [part for one in (*new, last) for part in of(one)]
