"""Tools of the caller's own beyond plain functions, as coding agents bring them to OpenAI's Responses: with a text in place of arguments, or
under a namespace. A model is told of plain functions, whoever provides it; the caller hears of calls in the words that it asked in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

import orjson
from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat

from services.edge.wire import body as wire
from services.edge.wire.errors import as_json

LONGEST_NAME = 64
"""Of a function, that every provider takes."""
JOINED = "__"
INPUT = "input"
"""The one argument of a function that takes a text."""
APART = "\n\n"
AS_TEXT = "The text, as it is to be used: it is not JSON itself."


class Function(Struct, tag_field="type", tag="function"):
    name: wire.Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class AnyText(Struct, tag_field="type", tag="text"):
    pass


class Grammar(Struct, tag_field="type", tag="grammar"):
    syntax: Literal["lark", "regex"]
    definition: Annotated[str, Meta(max_length=1_048_576)]


class Custom(Struct, tag_field="type", tag="custom"):
    name: wire.Name
    description: str | None = None
    format: AnyText | Grammar | None = None


class Namespace(Struct, tag_field="type", tag="namespace"):
    name: wire.Name
    tools: Annotated[list[Function | Custom], Meta(max_length=256)]
    description: str | None = None


Brought = Function | Custom | Namespace


def add(made: chat.ChatRequest, tool: Brought, at: str) -> None:
    """Tells the model of it.

    Raises:
        Refusal: a schema that is none.
    """
    if isinstance(tool, Namespace):
        first = len(made.tools)
        for n, one in enumerate(tool.tools):
            _add(made, one, f"{at}.tools[{n}]", tool.name)
        if tool.tools and tool.description:
            told = made.tools[first]
            told.namespace_description = tool.description
            told.description = f"{tool.description}{APART}{told.description}"
    else:
        _add(made, tool, at, "")


def joined(namespace: str | None, name: str) -> str:
    """What a model knows the tool as."""
    whole = f"{namespace}{JOINED}{name}" if namespace else name
    if not namespace or len(whole) <= LONGEST_NAME:
        return whole
    return f"{whole[: LONGEST_NAME - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"


def as_arguments(text: str) -> str:
    """A text as the arguments of the function that takes it."""
    return orjson.dumps({INPUT: text}).decode()


@dataclass(frozen=True, slots=True)
class Own:
    """The caller's tools that are no plain functions, by the names that a model knows them as."""

    by_name: Mapping[str, chat.Tool]

    @classmethod
    def of(cls, tools: Iterable[chat.Tool]) -> "Own":
        return cls({one.name: one for one in tools if one.namespace or one.HasField("text_format_json")})

    def called(self, call: chat.ToolCall) -> dict[str, Any]:
        """What of an item is in the caller's words: its type, the tool and what it is given."""
        if (tool := self.by_name.get(call.name)) is None:
            return {"type": "function_call", "name": call.name, "arguments": call.arguments}
        within = {"namespace": tool.namespace} if tool.namespace else {}
        name = tool.called or call.name
        if tool.HasField("text_format_json"):
            return {"type": "custom_tool_call", "name": name, **within, INPUT: text_of(call.arguments)}
        return {"type": "function_call", "name": name, **within, "arguments": call.arguments}


NO_OWN = Own({})


def chosen(tools: Iterable[chat.Tool], name: str) -> dict[str, Any]:
    """The tool that must be called, as the caller named it."""
    item = Own.of(tools).called(chat.ToolCall(name=name))
    kind = "custom" if item["type"] == "custom_tool_call" else "function"
    return {"type": kind, **{field: item[field] for field in ("name", "namespace") if field in item}}


def text_of(arguments: str) -> str:
    """What a model gives a tool that takes a text; what is not as it was told to is given as it is."""
    try:
        said = orjson.loads(arguments) if arguments else {INPUT: ""}
    except orjson.JSONDecodeError:
        return arguments
    text = said.get(INPUT) if isinstance(said, dict) else None
    return text if isinstance(text, str) else arguments


def told(tools: Iterable[chat.Tool]) -> list[dict[str, Any]]:
    """The caller's tools as it brought them."""
    made, spaces = list[dict[str, Any]](), dict[str, list[dict[str, Any]]]()
    for one in tools:
        if not one.namespace:
            made.append(_tool(one))
            continue
        if one.namespace not in spaces:
            spaces[one.namespace] = []
            of = {"name": one.namespace, "description": one.namespace_description, "tools": spaces[one.namespace]}
            made.append({"type": "namespace", **of})
        spaces[one.namespace].append(_tool(one))
    return made


def _tool(one: chat.Tool) -> dict[str, Any]:
    begins = one.namespace_description and f"{one.namespace_description}{APART}"
    named = {"name": one.called or one.name, "description": one.description.removeprefix(begins) or None}
    if one.HasField("text_format_json"):
        return {"type": "custom", **named, "format": orjson.loads(one.text_format_json)}
    return {
        "type": "function",
        **named,
        "parameters": orjson.loads(one.parameters_json) if one.parameters_json else None,
        "strict": one.strict if one.HasField("strict") else None,
    }


def _add(made: chat.ChatRequest, tool: Function | Custom, at: str, namespace: str) -> None:
    name = joined(namespace, tool.name)
    one = made.tools.add(name=name, description=tool.description or "", namespace=namespace)
    one.called = tool.name if name != tool.name else ""
    if isinstance(tool, Function):
        one.parameters_json = as_json(tool.parameters, f"{at}.parameters") if tool.parameters is not None else ""
        if tool.strict is not None:
            one.strict = tool.strict
        return
    schema = {"type": "string", "description": AS_TEXT}
    if isinstance(tool.format, Grammar):
        schema["description"] += f" It follows this {tool.format.syntax} grammar:\n{tool.format.definition}"
        one.text_format_json = as_json(
            {"type": "grammar", "syntax": tool.format.syntax, "definition": tool.format.definition}, at
        )
    else:
        one.text_format_json = '{"type":"text"}'
    one.parameters_json = orjson.dumps(
        {"type": "object", "properties": {INPUT: schema}, "required": [INPUT], "additionalProperties": False}
    ).decode()
