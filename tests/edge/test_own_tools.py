"""Tools of agents: with a text in place of arguments, under a namespace, brought among the input; each told to models as a plain function,
and to the caller in its own words."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.edge.wire import own_tools, response, responses
from services.edge.wire.errors import Refusal
from services.edge.wire.own_tools import Own
from services.edge.wire.response_events import Events

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}
PATCH: dict[str, Any] = {"type": "custom", "name": "patch", "description": "Changes files.", "format": GRAMMAR}
LOOK: dict[str, Any] = {
    "type": "function", "name": "look", "description": None, "parameters": {"type": "object"}, "strict": False,
}  # fmt: skip
SPACE: dict[str, Any] = {
    "type": "namespace",
    "name": "crew",
    "description": "",
    "tools": [LOOK, {**PATCH, "name": "note"}],
}
TEXT = '*** Begin Patch\n+nine "crowns"\n*** End Patch'


def asked(**more: Any) -> chat.ChatRequest:
    body: dict[str, Any] = {"model": "m", "input": "hi", **more}
    return responses.chat_request(responses.parsed(orjson.dumps(body)))


def work(request: chat.ChatRequest) -> jobs_pb2.Chat:
    return jobs_pb2.Chat(chat=request)


def test_a_model_is_told_of_plain_functions_and_the_caller_of_what_it_brought() -> None:
    request = asked(tools=[PATCH, SPACE, LOOK])
    assert [one.name for one in request.tools] == ["patch", "crew__look", "crew__note", "look"]
    for one in (request.tools[0], request.tools[2]):
        schema = json.loads(one.parameters_json)
        assert (
            schema["required"] == ["input"]
            and "lark grammar:\nstart: /.+/s" in schema["properties"]["input"]["description"]
        )
    assert json.loads(request.tools[1].parameters_json) == {"type": "object"} and request.tools[1].strict is False
    assert response.frame(work(request), "resp_1", 0)["tools"] == [PATCH, SPACE, LOOK]


def test_what_a_group_says_of_itself_is_told_with_its_first_tool() -> None:
    space = {**SPACE, "description": "Tools of the crew."}
    request = asked(tools=[space, LOOK])
    own = SPACE["tools"][0]["description"] or ""
    assert request.tools[0].description == f"Tools of the crew.\n\n{own}"
    assert "Tools of the crew." not in request.tools[1].description + request.tools[2].description
    assert response.frame(work(request), "resp_1", 0)["tools"] == [space, LOOK]


def test_tools_that_come_among_the_input_are_tools_of_the_request() -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": [SPACE, {"type": "custom", "name": "run"}]}
    request = asked(input=[more, {"role": "user", "content": "hi"}], tools=[LOOK])
    assert [one.name for one in request.tools] == ["crew__look", "crew__note", "run", "look"]
    assert [one.role for one in request.messages] == [chat.ROLE_USER]


def test_calls_and_their_results_are_handed_in_as_the_model_knows_them() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": TEXT},
        {"type": "custom_tool_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "done"}]},
        {"type": "function_call", "call_id": "b", "name": "look", "namespace": "crew", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": "seen"},
    ]
    request = asked(input=items, tools=[PATCH, SPACE])
    calls = [(call.id, call.name, call.arguments) for one in request.messages for call in one.tool_calls]
    assert calls == [("a", "patch", json.dumps({"input": TEXT}, separators=(",", ":"))), ("b", "crew__look", "{}")]
    results = [(one.tool_call_id, one.parts[0].text) for one in request.messages if one.role == chat.ROLE_TOOL]
    assert results == [("a", "done"), ("b", "seen")]


@pytest.mark.parametrize(
    ("choice", "function"),
    [
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "look", "namespace": "crew"}, "crew__look"),
        ({"type": "function", "name": "look"}, "look"),
    ],
)
def test_one_that_must_be_called_is_told_as_it_was_named(choice: dict[str, str], function: str) -> None:
    request = asked(tools=[PATCH, SPACE, LOOK], tool_choice=choice)
    assert request.tool_choice.function == function
    assert response.frame(work(request), "resp_1", 0)["tool_choice"] == choice


def answer(*calls: tuple[str, str]) -> chat.ChatCompletion:
    made = chat.ChatCompletion(model="m")
    message = made.choices.add(finish_reason=chat.FINISH_REASON_TOOL_CALLS).message
    message.role = chat.ROLE_ASSISTANT
    for n, (name, arguments) in enumerate(calls):
        message.tool_calls.add(id=f"call_{n}", name=name, arguments=arguments)
    return made


CALLS = (
    ("patch", own_tools.as_arguments(TEXT)),
    ("crew__look", '{"at":1}'),
    ("crew__note", "not JSON"),
    ("look", "{}"),
)
ITEMS = [
    {"type": "custom_tool_call", "name": "patch", "input": TEXT},
    {"type": "function_call", "name": "look", "namespace": "crew", "arguments": '{"at":1}'},
    {"type": "custom_tool_call", "name": "note", "namespace": "crew", "input": "not JSON"},
    {"type": "function_call", "name": "look", "arguments": "{}"},
]


def bare(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("id", "call_id", "status")}


def test_a_whole_answer_tells_calls_in_the_callers_words() -> None:
    request = asked(tools=[PATCH, SPACE, LOOK])
    frame = response.frame(work(request), "resp_" + "0" * 32, 0)
    made = response.answered(frame, work(request), answer(*CALLS))
    assert [bare(one) for one in made["output"]] == ITEMS
    assert [one["call_id"] for one in made["output"]] == ["call_0", "call_1", "call_2", "call_3"]


def test_a_stream_tells_a_text_once_it_is_there_and_arguments_as_they_come() -> None:
    request = asked(tools=[PATCH, SPACE, LOOK])
    events = Events(response.frame(work(request), "resp_" + "0" * 32, 0), Own.of(request.tools))
    said = events.begin()
    for n, (name, arguments) in enumerate(CALLS):
        for at, piece in enumerate((arguments[:5], arguments[5:])):
            delta = chat.ChoiceDelta()
            delta.tool_calls.add(
                index=n, id=f"call_{n}" if not at else "", name=name if not at else "", arguments=piece
            )
            said += events.add(chat.ChatChunk(model="m", choices=[delta]))
    said += events.end(pb.StreamCompleteResponse())
    told = [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: ")]
    done = [one["item"] for one in told if one["type"] == "response.output_item.done"]
    assert [bare(one) for one in done] == ITEMS
    begun = [one["item"] for one in told if one["type"] == "response.output_item.added"]
    assert [one["type"] for one in begun] == [one["type"] for one in ITEMS]
    assert [one.get("input", one.get("arguments")) for one in begun] == [""] * 4
    texts = [one["delta"] for one in told if one["type"] == "response.custom_tool_call_input.delta"]
    assert (
        texts
        == [one["input"] for one in told if one["type"] == "response.custom_tool_call_input.done"]
        == [TEXT, "not JSON"]
    )
    pieces = [one["delta"] for one in told if one["type"] == "response.function_call_arguments.delta"]
    assert "".join(pieces) == '{"at":1}{}'
    assert told[-1]["response"]["output"] == done


@given(st.text())
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    try:
        arguments = own_tools.as_arguments(text)
    except TypeError:  # half a character
        return
    assert own_tools.text_of(arguments) == text


@pytest.mark.parametrize("arguments", ["", '{"input": 7}', "[1]", "{", '"text"'])
def test_what_a_model_gives_otherwise_is_given_as_it_is(arguments: str) -> None:
    assert own_tools.text_of(arguments) == arguments


def test_a_long_name_is_short_enough_for_every_provider_and_still_another() -> None:
    names = {
        own_tools.joined("mcp__a_server_with_a_very_long_name", f"a_tool_with_a_name_that_is_long_{n}")
        for n in range(9)
    }
    assert len(names) == 9 and all(len(one) <= 64 for one in names)
    request = asked(tools=[{**SPACE, "name": "n" * 60}])
    (look, _) = response.frame(work(request), "resp_1", 0)["tools"][0]["tools"]
    assert look["name"] == "look" and len(request.tools[0].name) == 64


def test_a_search_beside_other_tools_is_offered_and_alone_is_wanted() -> None:
    search = {"type": "web_search", "external_web_access": True}
    assert asked(tools=[search, PATCH]).web_search.offered
    alone = asked(tools=[search])
    assert alone.HasField("web_search") and not alone.web_search.offered
    assert not asked(tools=[PATCH]).HasField("web_search")


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "custom"}, "tools[0].name"),
        ({"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "bnf", "definition": ""}}, "tools[0].format.syntax"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}, "tools[0].tools[0].type"),
        ({"type": "computer"}, "tools[0].type"),
    ],
)  # fmt: skip
def test_what_is_no_tool_is_named(tool: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        asked(tools=[tool])
    assert refused.value.param == param
