"""Answers on whose way tools are called, over every transport: rounds, bounds, whose calls are whose, what is paid and what is told."""

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc.aio import AioRpcError, Metadata
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.tools.v1 import tools_pb2 as tools

from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_service import asking, gateway, mesh, streaming  # noqa: F401 - fixtures
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called

Code = grpc.StatusCode
OWN = chat.Tool(name="mine", parameters_json="{}")


def wanted(most: int = 0, **more: Any) -> pb.Options:
    return pb.Options(tools=pb.ToolUse(most_calls=most, **more))


def call(number: int, name: str = "box__say") -> chat.ToolCall:
    return chat.ToolCall(id=f"c{number}", name=name, arguments=f'{{"n": {number}}}')


def prompts(mesh: Mesh) -> list[chat.ChatRequest]:  # noqa: F811
    """What models were asked, in order."""
    return [one.chat for name, one in mesh.all if name == "Generate"]


@pytest.fixture(autouse=True)
def said(mesh: Mesh) -> None:  # noqa: F811
    mesh.returned = tools.Result(contents=[tools.Content(text="rain")])


async def test_what_the_model_calls_is_called_and_told(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants = [[call(1), call(2)], [call(3)]]
    made = await gateway.Complete(asking("m", wanted()))
    message = made.completion.choices[0].message
    assert message.parts[0].text == "one two" and not message.tool_calls
    assert [(one.id, one.server, one.name, one.output, one.failed) for one in message.steps] == [
        (f"c{n}", "box", "say", "rain", False) for n in (1, 2, 3)
    ]
    first, second, third = prompts(mesh)
    assert [one.name for one in first.tools] == ["box__say"] and len(first.messages) == 1
    asked, one, two = second.messages[1:]
    assert [each.id for each in asked.tool_calls] == ["c1", "c2"]
    assert [(each.role, each.tool_call_id, each.parts[0].text) for each in (one, two)] == [
        (chat.ROLE_TOOL, "c1", "rain"), (chat.ROLE_TOOL, "c2", "rain"),
    ]  # fmt: skip
    assert len(third.messages) == 6
    usage = made.completion.usage
    assert (usage.input_tokens, usage.output_tokens) == (27, 6), "three rounds"
    assert made.road.held_nano_usd == 210
    assert mesh.asked.count("ledger.Reserve") == 6, "a hold for each round and each call"


async def test_streamed(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants = [[call(1)]]
    request = streaming(asking("m", wanted()))
    request.whole = True
    pieces = [one async for one in gateway.StreamComplete(request)]
    assert pieces[0].HasField("road") and not any(one.HasField("road") for one in pieces[1:-1])
    deltas = [delta for one in pieces[:-1] for delta in one.chunk.choices]
    assert "".join(one.content for one in deltas) == "let me look one two"
    assert [step.id for one in deltas for step in one.steps] == ["c1"]
    assert not any(one.tool_calls for one in deltas)
    assert [one.finish_reason for one in deltas if one.finish_reason] == [chat.FINISH_REASON_STOP]
    last = pieces[-1]
    assert last.chunk.usage.input_tokens == 18 and last.road.cost_nano_usd == 14
    (choice,) = last.completion.choices
    assert "".join(part.text for part in choice.message.parts) == "let me look one two"
    assert len(choice.message.steps) == 1 and choice.finish_reason == chat.FINISH_REASON_STOP


async def test_no_more_calls_than_allowed(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants = [[call(n) for n in range(3)]]
    made = await gateway.Complete(asking("m", wanted(2)))
    steps = made.completion.choices[0].message.steps
    assert [one.failed for one in steps] == [False, False, True] and "no further calls" in steps[2].output
    assert mesh.asked.count("tools.CallTool") == 2
    assert prompts(mesh)[1].tool_choice.mode == chat.ToolChoice.MODE_NONE


async def test_a_call_of_the_callers_own_is_the_callers(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants = [[call(1)], [call(2), call(3, "mine")]]
    made = await gateway.Complete(asking("m", wanted(), tools=[OWN]))
    message = made.completion.choices[0].message
    assert [one.name for one in message.tool_calls] == ["box__say", "mine"] and len(message.steps) == 1
    assert made.completion.choices[0].finish_reason == chat.FINISH_REASON_TOOL_CALLS
    mesh.wants = [[call(4, "mine")]]
    pieces = [one async for one in gateway.StreamComplete(streaming(asking("m", wanted(), tools=[OWN])))]
    deltas = [delta for one in pieces for delta in one.chunk.choices]
    (ending,) = [one for one in deltas if one.finish_reason]
    assert [one.name for one in ending.tool_calls] == ["mine"] and ending.finish_reason == chat.FINISH_REASON_TOOL_CALLS


async def test_only_the_tools_that_are_wanted(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.offered = [tools.Tool(name=f"box__{n}", server="box", input_schema_json="{}", digest=f"{n}") for n in range(3)]
    await gateway.Complete(asking("m", wanted(servers=["box"], tools=["box__1"])))
    assert mesh.messages["tools.ListTools"].server == "box"
    assert [one.name for one in prompts(mesh)[0].tools] == ["box__1"]
    nobodys = asking("m", wanted(tools=["box__9"]))
    assert await refused(gateway.Complete(nobodys)) == (Code.NOT_FOUND, "NO_TOOLS")
    assert await field_of(gateway.Complete(asking("m", wanted(), n=2))) == "chat.n"
    chatty = gateway.by("acme/search", scopes=("chat",))
    assert await refused(chatty.Complete(asking("m", wanted()))) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")


async def test_what_fails_is_told_to_the_model(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants, mesh.poisoned = [[call(1)], [call(2)]], "rain"
    made = await gateway.Complete(asking("m", wanted()))
    steps = made.completion.choices[0].message.steps
    assert all(one.failed and "keeps the result" in one.output for one in steps) and len(steps) == 2
    assert all(one.failed for one in prompts(mesh)[1].messages if one.role == chat.ROLE_TOOL)


class Spent(AioRpcError):
    """What the ledger says of an empty budget."""

    def __init__(self) -> None:
        status = Status(code=Code.RESOURCE_EXHAUSTED.value[0], message="the budget is spent")
        status.details.add().Pack(ErrorInfo(reason="BUDGET_EXCEEDED", domain="ledger.tollway"))
        details = Metadata(("grpc-status-details-bin", status.SerializeToString()))
        super().__init__(Code.RESOURCE_EXHAUSTED, Metadata(), details, status.message)


async def test_an_empty_budget_ends_the_request(
    gateway: Called,  # noqa: F811
    mesh: Mesh,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh.wants, holds = [[call(1), call(2)]], mesh._Reserve

    def spent(request: Any) -> Any:
        if request.attempts[0].model == "tools/box":
            raise Spent
        return holds(request)

    monkeypatch.setattr(mesh, "_Reserve", spent)
    assert await refused(gateway.Complete(asking("m", wanted()))) == (Code.RESOURCE_EXHAUSTED, "BUDGET_EXCEEDED")
    assert len(prompts(mesh)) == 1 and "tools.CallTool" not in mesh.asked


async def test_each_round_of_a_request_with_a_key_has_its_own(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.wants = [[call(1)]]
    options = wanted()
    options.idempotency_key = "5f0c6e9e-3a0f-4b6e-9f5e-0f0f0f0f0f0f"
    await gateway.Complete(asking("m", options))
    ids = [one.reservation_id for name, one in mesh.all if name == "Reserve" and one.attempts[0].model == "m"]
    assert len(set(ids)) == 2
