"""What tools say, as texts that the guard reads, and back. Pure."""

from collections.abc import Iterator
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.tools.v1 import tools_pb2

DEEPEST = 16
"""How far down in a schema descriptions are looked for."""


def said_of(tool: tools_pb2.Tool | tools_pb2.Prompt | tools_pb2.ResourceEntry) -> chat.Message:
    """All that a model, or a person, reads of it in words: what it is, and its parameters together, whose few words say little alone."""
    about = [one for one in (tool.title, tool.description) if one]
    if isinstance(tool, tools_pb2.Tool):
        parameters = _parameters(tool)
    elif isinstance(tool, tools_pb2.Prompt):
        parameters = [one.description for one in tool.arguments if one.description]
    else:
        about, parameters = [tool.name, *about], []
    texts = ["\n".join(lines) for lines in (about, parameters) if lines]
    return chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text) for text in texts])


def _parameters(tool: tools_pb2.Tool) -> list[str]:
    return [
        text
        for schema in (tool.input_schema_json, tool.output_schema_json)
        if schema
        for text in _described(orjson.loads(schema), DEEPEST)
    ]


def read(made: tools_pb2.Result) -> chat.Message | None:
    """The texts of a result, its JSON as a tool call's arguments: the guard rewrites those as JSON. None where it has no text."""
    texts = [text for one in made.contents if (text := _text(one)) is not None]
    if not texts and not made.structured_json:
        return None
    calls = [chat.ToolCall(arguments=made.structured_json)] if made.structured_json else []
    return chat.Message(parts=[chat.ContentPart(text=text) for text in texts], tool_calls=calls)


def rewritten(made: tools_pb2.Result, shown: chat.Message) -> tools_pb2.Result:
    """A result with the texts of `shown`, which was `read` of it."""
    texts = iter(shown.parts)
    for one in made.contents:
        if _text(one) is not None:
            _write(one, next(texts).text)
    if shown.tool_calls:
        made.structured_json = shown.tool_calls[0].arguments
    return made


def told(made: tools_pb2.Result) -> str:
    """What a model reads of a result."""
    texts = [_shown(one) for one in made.contents]
    return "\n".join(texts) if texts else made.structured_json


def _shown(one: tools_pb2.Content) -> str:
    if (text := _text(one)) is not None:
        return f"{one.link.uri} {text}".strip() if one.HasField("link") else text
    match one.WhichOneof("content"):
        case "image" | "audio" as kind:
            blob = getattr(one, kind)
            return f"[{kind}, {blob.mime_type}, {len(blob.data)} bytes]"
        case "resource":
            return f"[{one.resource.uri}, {len(one.resource.data)} bytes]"
    return ""


def _text(one: tools_pb2.Content) -> str | None:
    match one.WhichOneof("content"):
        case "text":
            return one.text
        case "resource" if one.resource.HasField("text"):
            return one.resource.text
        case "link":
            return one.link.description
    return None


def _write(one: tools_pb2.Content, text: str) -> None:
    match one.WhichOneof("content"):
        case "text":
            one.text = text
        case "resource":
            one.resource.text = text
        case "link":
            one.link.description = text


def _described(schema: Any, deep: int) -> Iterator[str]:
    """Titles and descriptions, wherever they stand."""
    if not deep:
        return
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("title", "description") and isinstance(value, str):
                yield value
            else:
                yield from _described(value, deep - 1)
    elif isinstance(schema, list):
        for value in schema:
            yield from _described(value, deep - 1)
