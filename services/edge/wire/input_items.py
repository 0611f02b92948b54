"""The items of OpenAI's Responses and conversations in our words: what is handed in, and what is kept and handed in again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from tollway.chat.v1 import chat_pb2 as chat

from services.edge.wire import body as wire
from services.edge.wire import own_tools
from services.edge.wire.body import CallId, Text
from services.edge.wire.errors import Refusal, of_body
from services.edge.wire.signed import PARTS, Extra, handed_in
from services.edge.wire.tool_use import Server, ToolName, called

Id = Annotated[str, Meta(min_length=1, max_length=128)]


class InputText(Struct, tag_field="type", tag="input_text"):
    text: Text


class OutputText(Struct, tag_field="type", tag="output_text"):
    """Of an answer before, handed in again."""

    text: Text


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: Text


class InputImage(Struct, tag_field="type", tag="input_image"):
    image_url: Annotated[str, Meta(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class InputFile(Struct, tag_field="type", tag="input_file"):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


Part = InputText | OutputText | RefusalPart | InputImage | InputFile


class Message(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: Text | list[Part]


class FunctionCall(Struct):
    call_id: CallId
    name: wire.Name
    arguments: str
    namespace: wire.Name | None = None
    extra_content: Extra | None = None


class CustomCall(Struct):
    """Of a tool that takes a text."""

    call_id: CallId
    name: wire.Name
    input: Text
    namespace: wire.Name | None = None


class Reasoning(Struct):
    """What was thought: a model reads it again where it was handed out sealed, and thinks anew otherwise."""

    encrypted_content: str | None = None


class FunctionOutput(Struct):
    call_id: CallId
    output: Text | list[InputText | InputImage | InputFile]


class MoreTools(Struct):
    """Beside those of the request, as agents of OpenAI's newest models bring them."""

    tools: Annotated[list[own_tools.Brought], Meta(max_length=512)]


class McpCall(Struct):
    """Of an answer before: a tool that was called on the way to it."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    server_label: Server
    name: ToolName
    arguments: str
    output: str | None = None
    error: Any = None


class Reference(Struct):
    """To an item of a response that is kept."""

    id: Id


class Kind(Struct):
    type: str = "message"


_KIND = msgspec.json.Decoder(Kind)
_ITEMS: dict[str, msgspec.json.Decoder[Any]] = {
    "message": msgspec.json.Decoder(Message),
    "function_call": msgspec.json.Decoder(FunctionCall),
    "function_call_output": msgspec.json.Decoder(FunctionOutput),
    "custom_tool_call": msgspec.json.Decoder(CustomCall),
    "custom_tool_call_output": msgspec.json.Decoder(FunctionOutput),
    "additional_tools": msgspec.json.Decoder(MoreTools),
    "mcp_call": msgspec.json.Decoder(McpCall),
    "item_reference": msgspec.json.Decoder(Reference),
    "reasoning": msgspec.json.Decoder(Reasoning),
}
ANEW = ("web_search_call", "file_search_call", "mcp_list_tools")
"""Of an answer before: a model searches anew."""
ROLES = {
    "user": chat.ROLE_USER,
    "assistant": chat.ROLE_ASSISTANT,
    "system": chat.ROLE_SYSTEM,
    "developer": chat.ROLE_DEVELOPER,
}


def references(items: str | Iterable[Raw]) -> list[str]:
    """Ids of the items that the input names, and does not say again.

    Raises:
        Refusal: an item that is none.
    """
    if isinstance(items, str):
        return []
    said = (_read(bytes(raw), f"input[{n}]") for n, raw in enumerate(items) if b"item_reference" in bytes(raw))
    return [one.id for one in said if isinstance(one, Reference)]


def read(
    items: Iterable[Raw], of: str, named: Mapping[str, chat.Message]
) -> tuple[Sequence[chat.Message], Sequence[chat.Tool]]:
    """The items of field `of`, as a model reads them, and the tools that they bring.

    Raises:
        Refusal: an item that is none.
    """
    made = chat.ChatRequest()
    for n, raw in enumerate(items):
        at = f"{of}[{n}]"
        _add(made, _read(bytes(raw), at), at, named)
    return _said(made), made.tools


def spoken(items: Iterable[chat.Message]) -> Sequence[chat.Message]:
    """Items that are kept, as a model reads them."""
    made = chat.ChatRequest()
    for one in items:
        _again(made, one)
    return _said(made)


def _read(raw: bytes, at: str) -> Any:
    """An item; None for one that says nothing to a model.

    Raises:
        Refusal: it is none.
    """
    try:
        kind = _KIND.decode(raw).type
        if kind in ANEW:
            return None
        if kind not in _ITEMS:
            allowed = ", ".join((*_ITEMS, *ANEW))
            raise Refusal(
                400, "unsupported_value", f"invalid value for {at}.type: allowed are {allowed}", param=f"{at}.type"
            )
        return _ITEMS[kind].decode(raw)
    except msgspec.MsgspecError as error:
        refusal = of_body(error)
        where = f"{at}.{refusal.param}" if refusal.param else at
        raise Refusal(400, refusal.code, f"{at}: {refusal.message}", param=where) from None


def _add(made: chat.ChatRequest, said: Any, at: str, named: Mapping[str, chat.Message]) -> None:
    match said:
        case Message():
            _parts(_begun(made, ROLES[said.role]), said.content)
        case FunctionCall():
            name = own_tools.joined(said.namespace, said.name)
            call = _assistant(made).tool_calls.add(id=said.call_id, name=name, arguments=said.arguments)
            call.signature = said.extra_content.signature if said.extra_content is not None else ""
        case MoreTools():
            for n, tool in enumerate(said.tools):
                own_tools.add(made, tool, f"{at}.tools[{n}]")
            for one in made.tools:
                one.lasts = True
        case CustomCall():
            name, arguments = own_tools.joined(said.namespace, said.name), own_tools.as_arguments(said.input)
            _assistant(made).tool_calls.add(id=said.call_id, name=name, arguments=arguments)
        case Reasoning():
            _think(made, handed_in((said.encrypted_content or "").split(PARTS)))
        case McpCall():
            output = said.output if said.output is not None else str(said.error or "")
            step = chat.ToolStep(
                id=said.id, server=said.server_label, name=said.name, arguments=said.arguments, output=output,
                failed=said.error is not None,
            )  # fmt: skip
            made.messages.extend(called([step]))
        case Reference():
            if (found := named.get(said.id)) is None:
                raise Refusal(400, "item_not_found", f"no item {said.id[:64]!r} is kept", param=f"{at}.id")
            _again(made, found)
        case FunctionOutput():
            result = made.messages.add(role=chat.ROLE_TOOL, tool_call_id=said.call_id)
            _parts(result, said.output)


def _again(made: chat.ChatRequest, one: chat.Message) -> None:
    """An item that is kept, where it says something to a model."""
    if one.thoughts:
        _think(made, one.thoughts)
    if one.steps:
        made.messages.extend(called(one.steps))
    elif one.tool_calls and not one.parts:
        _assistant(made).tool_calls.extend(one.tool_calls)
    elif one.parts or one.refusal or one.role != chat.ROLE_ASSISTANT:
        _begun(made, one.role).MergeFrom(one)


def _think(made: chat.ChatRequest, thoughts: Iterable[str]) -> None:
    """Begins an assistant's message with what it thought."""
    if sealed := list(thoughts):
        _begun(made, chat.ROLE_ASSISTANT).thoughts.extend(sealed)


def _begun(made: chat.ChatRequest, role: "chat.Role.ValueType") -> chat.Message:
    """A message of `role`: the last one, where it is an assistant's of which nothing but thoughts is there."""
    last = made.messages[-1] if made.messages else None
    if last is not None and role == last.role == chat.ROLE_ASSISTANT and _bare(last):
        return last
    return made.messages.add(role=role)


def _bare(message: chat.Message) -> bool:
    return bool(message.thoughts) and not (message.parts or message.tool_calls or message.refusal)


def _said(made: chat.ChatRequest) -> Sequence[chat.Message]:
    """Without thoughts that led to nothing: no model is told of them alone."""
    return [one for one in made.messages if not _bare(one)]


def _assistant(made: chat.ChatRequest) -> chat.Message:
    """The assistant's message that is being said."""
    if made.messages and made.messages[-1].role == chat.ROLE_ASSISTANT:
        return made.messages[-1]
    return made.messages.add(role=chat.ROLE_ASSISTANT)


def _parts(made: chat.Message, said: str | Sequence[Part]) -> None:
    if isinstance(said, str):
        made.parts.add(text=said)
        return
    for part in said:
        match part:
            case InputText() | OutputText():
                made.parts.add(text=part.text)
            case RefusalPart():
                made.refusal = part.refusal
            case InputImage():
                made.parts.add().image.url = part.image_url
                made.parts[-1].image.detail = part.detail or ""
            case InputFile():
                one = made.parts.add().file
                one.filename, one.data, one.file_id = part.filename or "", part.file_data or "", part.file_id or ""
