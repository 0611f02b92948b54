"""Tools through the gateway over every transport: the order of the steps, who may, what is judged, what is paid for."""

import orjson
import pytest
from google.protobuf.json_format import ParseDict
from grpc import StatusCode as Code
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.tools.v1 import tools_pb2 as tools

from services.orchestrator import results
from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_service import gateway, mesh  # noqa: F401 - fixtures
from tests.support.refusals import refused
from tests.support.stubs import Called
from tests.support.waiting import until

CALL = pb.CallToolRequest(name="box__say", arguments_json='{"text": "hello"}')


async def test_the_steps_in_their_order(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.returned = ParseDict({"contents": [{"text": "hello"}], "structuredJson": '{"said": "hello"}'}, tools.Result())
    made = await gateway.CallTool(CALL)
    assert made.result == mesh.returned and (made.road.model, made.road.held_nano_usd) == ("tools/box", 70)
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert [one for one in mesh.asked if one != "ledger.Settle"] == [
        "tools.GetTool",
        "guard.InspectPrompt",  # what the tool says of itself
        "guard.InspectPrompt",  # the arguments
        "ledger.Reserve",
        "tools.CallTool",
        "guard.InspectAnswer",  # the result, with the caller's own values
        "guard.InspectPrompt",  # and as a document
    ]
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert (attempt.model, attempt.provider, attempt.provider_model, attempt.calls) == (
        "tools/box",
        "tools",
        "box__say",
        1,
    )
    assert attempt.input_tokens == attempt.output_tokens == 0 and attempt.compute.seconds
    settled = mesh.messages["ledger.Settle"]
    assert (
        settled.model == "tools/box" and settled.hold == b"hold of tools/box" and settled.compute.ToMilliseconds() > 0
    )
    assert mesh.messages["guard.InspectPrompt"].origin == guard_pb2.ORIGIN_DOCUMENT


async def test_what_a_tool_says_of_itself_is_judged_once_a_minute(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    for _ in range(3):
        await gateway.ListTools(pb.ListToolsRequest())
    assert mesh.asked.count("guard.InspectPrompt") == 1
    mesh.offered = [tools.Tool(name="box__say", server="box", input_schema_json="{}", digest="d2")]
    await gateway.ListTools(pb.ListToolsRequest())
    assert mesh.asked.count("guard.InspectPrompt") == 2, "it has changed"
    await gateway.by("other/app").ListTools(pb.ListToolsRequest())
    assert mesh.asked.count("guard.InspectPrompt") == 3, "another tenant's policy"


async def test_of_many_tools_only_the_poisoned_one_is_withheld(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.poisoned = "evil"
    schema = orjson.dumps({"properties": {"a": {"description": "what the evil one wants"}}}).decode()
    mesh.offered = [
        tools.Tool(name=f"box__{n}", server="box", input_schema_json=schema if n == 3 else "{}", digest=f"d{n}")
        for n in range(6)
    ]
    made = await gateway.ListTools(pb.ListToolsRequest())
    assert [one.name for one in made.tools] == [f"box__{n}" for n in (0, 1, 2, 4, 5)]
    assert {one.name: one.reason for one in made.withheld}["box__3"] == "policy: injection.user"
    assert "box__gone" in {one.name for one in made.withheld}
    asked = pb.CallToolRequest(name="box__3")
    assert await refused(gateway.CallTool(asked)) == (Code.PERMISSION_DENIED, "TOOL_WITHHELD")
    assert "ledger.Reserve" not in mesh.asked


async def test_what_policy_forbids_is_not_sent_and_not_shown(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.poisoned = "hello"
    assert await refused(gateway.CallTool(CALL)) == (Code.PERMISSION_DENIED, "ARGUMENTS_BLOCKED")
    assert "ledger.Reserve" not in mesh.asked and "tools.CallTool" not in mesh.asked
    mesh.poisoned, mesh.returned = "evil", tools.Result(contents=[tools.Content(text="be evil")])
    assert await refused(gateway.CallTool(CALL)) == (Code.PERMISSION_DENIED, "RESULT_BLOCKED")
    await until(lambda: "ledger.Settle" in mesh.asked)


async def test_a_trusted_server_sees_and_says_what_it_likes(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.offered[0].trusted = True
    mesh.returned = tools.Result(contents=[tools.Content(text="be evil")])
    await gateway.CallTool(CALL)
    assert mesh.messages["tools.CallTool"].arguments_json == CALL.arguments_json
    assert "guard.InspectAnswer" not in mesh.asked
    mesh.poisoned = "evil"
    assert await refused(gateway.CallTool(CALL)) == (Code.PERMISSION_DENIED, "RESULT_BLOCKED"), "but for attacks"


async def test_who_may(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    named = gateway.by("acme/search", models=("m",))
    assert await refused(named.CallTool(CALL)) == (Code.PERMISSION_DENIED, "TOOL_NOT_ALLOWED")
    made = await named.ListTools(pb.ListToolsRequest())
    assert not made.tools and not made.servers and not made.withheld
    assert (await gateway.by("acme/search", models=("tools/box",)).ListTools(pb.ListToolsRequest())).tools
    chatty = gateway.by("acme/search", scopes=("chat",))
    assert await refused(chatty.CallTool(CALL)) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")


@pytest.mark.parametrize("away", ["tools", "guard", "ledger"])
async def test_nothing_is_called_when_a_service_is_away(gateway: Called, mesh: Mesh, away: str) -> None:  # noqa: F811
    mesh.away = {away: Code.UNAVAILABLE}
    code, _ = await refused(gateway.CallTool(CALL))
    assert code is Code.UNAVAILABLE and "tools.CallTool" not in mesh.asked


async def test_a_call_that_fails_costs_nothing(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.breaks = True
    assert (await refused(gateway.CallTool(CALL)))[0] is Code.UNAVAILABLE
    await until(lambda: "ledger.Release" in mesh.asked)
    assert "ledger.Settle" not in mesh.asked


def test_texts_of_a_result_and_back() -> None:
    said = {
        "contents": [
            {"text": "one"},
            {"image": {"data": "AAAA", "mimeType": "image/png"}},
            {"resource": {"uri": "file:///a", "text": "two"}},
            {"resource": {"uri": "file:///b", "data": "AAAA"}},
            {"link": {"uri": "file:///c", "description": "three"}},
        ],
        "structuredJson": '{"a": "four"}',
    }
    made = ParseDict(said, tools.Result())
    read = results.read(made)
    assert read is not None and [part.text for part in read.parts] == ["one", "two", "three"]
    shown = chat.Message.FromString(read.SerializeToString())
    for part in shown.parts:
        part.text = part.text.upper()
    shown.tool_calls[0].arguments = '{"a": "FOUR"}'
    again = results.rewritten(made, shown)
    assert [again.contents[0].text, again.contents[2].resource.text, again.contents[4].link.description] == [
        "ONE",
        "TWO",
        "THREE",
    ]
    assert again.structured_json == '{"a": "FOUR"}' and again.contents[3].resource.data == b"\0\0\0"
    assert results.read(tools.Result()) is None


def test_all_that_a_tool_says_in_words() -> None:
    schema = {"properties": {"a": {"title": "A", "description": "what", "items": {"anyOf": [{"description": "deep"}]}}}}
    tool = tools.Tool(title="T", description="does", input_schema_json=orjson.dumps(schema).decode())
    about, parameters = results.said_of(tool).parts
    assert about.text == "T\ndoes" and parameters.text == "A\nwhat\ndeep"


async def test_what_many_tools_say_is_judged_in_parts(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.offered = [
        tools.Tool(name=f"box__{n}", server="box", description="x" * 100_000, input_schema_json="{}", digest=f"{n}")
        for n in range(5)
    ]
    assert len((await gateway.ListTools(pb.ListToolsRequest())).tools) == 5
    assert mesh.asked.count("guard.InspectPrompt") == 3
