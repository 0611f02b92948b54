"""An answer and what was wanted of it, as the judge of a cascade sees them."""

import json

from tollway.chat.v1 import chat_pb2 as chat

from services.router.cascading import Answer, Wanted


def answers(made: chat.ChatCompletion) -> list[Answer]:
    """One for each choice."""
    return [
        Answer(
            "".join(part.text for part in one.message.parts) or one.message.refusal,
            tuple(call.name for call in one.message.tool_calls),
            one.finish_reason == chat.FINISH_REASON_LENGTH,
            one.finish_reason == chat.FINISH_REASON_CONTENT_FILTER or bool(one.message.refusal),
        )
        for one in made.choices
    ] or [Answer("")]


def wanted(request: chat.ChatRequest) -> Wanted:
    asked = request.response_format
    shaped = asked.type in (chat.ResponseFormat.TYPE_JSON_OBJECT, chat.ResponseFormat.TYPE_JSON_SCHEMA)
    tool = request.tool_choice.mode in (chat.ToolChoice.MODE_REQUIRED, chat.ToolChoice.MODE_FUNCTION)
    return Wanted(shaped, _required(asked.schema_json), tool)


def _required(schema: str) -> tuple[str, ...]:
    """The names that an object of this JSON schema must have."""
    try:
        found = json.loads(schema) if schema else {}
    except ValueError:
        return ()  # what is no schema asks for nothing: the provider has said so, or not minded
    names = found.get("required", ()) if isinstance(found, dict) else ()
    return tuple(name for name in names if isinstance(name, str))
