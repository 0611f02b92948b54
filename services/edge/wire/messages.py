"""Anthropic's Messages in our words: the conversation that a body asks for."""

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import Refusal, as_json, decoded, from_base64, missing, unfit
from services.edge.wire.messages_body import (
    Block,
    CountBody,
    DocumentBlock,
    ImageBlock,
    Inline,
    Linked,
    McpResult,
    McpUse,
    MessagesBody,
    Plain,
    Redacted,
    SearchResult,
    ServerToolUse,
    TextBlock,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)
from services.edge.wire.request import searched
from services.edge.wire.signed import handed_in
from services.edge.wire.tool_use import called
from services.edge.wire.toolsets import TOOLSET, connected

B = TypeVar("B", bound=CountBody)
_BODY, _COUNT = msgspec.json.Decoder(MessagesBody), msgspec.json.Decoder(CountBody)
MODES = {
    "auto": chat.ToolChoice.MODE_AUTO,
    "any": chat.ToolChoice.MODE_REQUIRED,
    "tool": chat.ToolChoice.MODE_FUNCTION,
    "none": chat.ToolChoice.MODE_NONE,
}
ROLES = {"user": chat.ROLE_USER, "assistant": chat.ROLE_ASSISTANT, "system": chat.ROLE_SYSTEM}
PATH = "/v1/messages"
WEB_SEARCH = re.compile(r"web_search_\d{8}")
EFFORTS = ((4_096, "low"), (16_384, "medium"))
"""The most tokens to think with, and the effort that this comes to; more of them is `high`."""


def parsed(raw: bytes) -> MessagesBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    return _fit(decoded(_BODY, raw))


def counted(raw: bytes) -> CountBody:
    """
    Raises:
        Refusal: as [parsed][].
    """
    return _fit(decoded(_COUNT, raw))


def _fit(body: B) -> B:
    if body.tool_choice is not None and body.tool_choice.type == "tool" and not body.tool_choice.name:
        raise Refusal(
            400, "missing_required_parameter", "tool_choice of type tool names none", param="tool_choice.name"
        )
    return body


def chat_request(body: MessagesBody) -> chat.ChatRequest:
    """The conversation in our words.

    Raises:
        Refusal: a block that is none.
    """
    made = read(body)
    made.max_output_tokens, made.include_usage = body.max_tokens, True
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(body, name)) is not None:
            setattr(made, name, value)
    made.stop.extend(body.stop_sequences or ())
    if (choice := body.tool_choice) is not None:
        made.tool_choice.mode, made.tool_choice.function = MODES[choice.type], choice.name or ""
        if choice.disable_parallel_tool_use is not None:
            made.parallel_tool_calls = not choice.disable_parallel_tool_use
    if body.output_config is not None and body.output_config.format is not None:
        made.response_format.type, made.response_format.name = chat.ResponseFormat.TYPE_JSON_SCHEMA, "answer"
        made.response_format.schema_json = as_json(body.output_config.format.schema, "output_config.format.schema")
    made.reasoning_effort = _effort(body)
    if body.metadata is not None:
        made.user = body.metadata.user_id or ""
    return made


def read(body: CountBody) -> chat.ChatRequest:
    """What a model reads of it: the conversation and the tools.

    Raises:
        Refusal: a block that is none.
    """
    made = chat.ChatRequest(model=body.model)
    if body.system:
        above = made.messages.add(role=chat.ROLE_SYSTEM)
        for block in _listed(body.system):
            _part(above, block, "system")
    for n, turn in enumerate(body.messages):
        _turn(made, turn, f"messages[{n}]")
    for n, tool in enumerate(body.tools or ()):
        _tool(made, tool, f"tools[{n}]")
    return made


def tool_use(made: pb.ToolUse, body: MessagesBody) -> None:
    """Adds the servers whose tools the mesh calls, where there are any.

    Raises:
        Refusal: a server that is elsewhere, or a choice of tools that cannot be kept to.
    """
    sets = [(n, tool.toolset) for n, tool in enumerate(body.tools or ()) if tool.type == TOOLSET]
    connected(made, body.mcp_servers or (), sets)


def _tool(made: chat.ChatRequest, tool: Tool, at: str) -> None:
    """
    Raises:
        Refusal: a tool of a kind that there is not, or without what it takes.
    """
    if tool.type == TOOLSET:
        return  # the mesh's to call, not the model's caller's
    if not tool.name:
        raise missing(f"{at}.name")
    if tool.type is not None and WEB_SEARCH.fullmatch(tool.type):
        sites = {"allowed_domains": tool.allowed_domains, "blocked_domains": tool.blocked_domains}
        made.web_search.CopyFrom(searched(tool.user_location, tool.max_uses, **sites))
        return
    if tool.type not in (None, "custom"):
        raise unfit(f"{at}.type", "the caller runs a tool, `custom`, or it is a `web_search_` with a date")
    if tool.input_schema is None:
        raise missing(f"{at}.input_schema")
    schema = as_json(tool.input_schema, f"{at}.input_schema")
    one = made.tools.add(name=tool.name, description=tool.description or "", parameters_json=schema)
    if tool.strict is not None:
        one.strict = tool.strict


def _turn(made: chat.ChatRequest, turn: Turn, at: str) -> None:
    """A turn of the user's may be several messages of ours: results of tools first, then what is said."""
    if isinstance(turn.content, str):
        made.messages.add(role=ROLES[turn.role]).parts.add(text=turn.content)
        return
    if turn.role == "system":
        above = made.messages.add(role=chat.ROLE_SYSTEM)
        for n, block in enumerate(turn.content):
            if not isinstance(block, TextBlock):
                raise unfit(f"{at}.content[{n}]", "the system says text")
            _part(above, block, f"{at}.content[{n}]")
        return
    if turn.role == "assistant":
        said_by_it = chat.Message(role=chat.ROLE_ASSISTANT)
        steps = _assistant(said_by_it, turn.content, at)
        made.messages.extend(called(steps))
        if len(turn.content) > 2 * len(steps) or not steps:
            made.messages.append(said_by_it)
        return
    said: chat.Message | None = None
    for n, block in enumerate(turn.content):
        if isinstance(block, ToolResult):
            result = made.messages.add(role=chat.ROLE_TOOL, tool_call_id=block.tool_use_id, failed=bool(block.is_error))
            for k, one in enumerate(_listed(block.content or "")):
                _part(result, one, f"{at}.content[{n}].content[{k}]")
            result.parts[-1].cache_mark |= block.cache_control is not None
            said = None
            continue
        if said is None:
            said = made.messages.add(role=chat.ROLE_USER)
        _part(said, block, f"{at}.content[{n}]")


def _assistant(made: chat.Message, blocks: list[Block], at: str) -> list[chat.ToolStep]:
    """What an assistant said; tools that the mesh called on the way to it, which come first, whatever stood between."""
    steps = dict[str, chat.ToolStep]()
    for n, block in enumerate(blocks):
        match block:
            case McpUse():
                arguments = bytes(block.input).decode()
                step = chat.ToolStep(id=block.id, server=block.server_name, name=block.name, arguments=arguments)
                steps[block.id] = step
            case McpResult():
                if (known := steps.get(block.tool_use_id)) is None:
                    raise unfit(f"{at}.content[{n}].tool_use_id", "the id of an mcp_tool_use before it")
                texts = [one.text for one in _listed(block.content or "") if isinstance(one, TextBlock)]
                known.output, known.failed = "\n".join(texts), bool(block.is_error)
            case TextBlock():
                _part(made, block, f"{at}.content[{n}]")
            case ToolUse():
                made.tool_calls.add(id=block.id, name=block.name, arguments=bytes(block.input).decode())
            case Thinking():
                made.reasoning += block.thinking
                made.thoughts.extend(handed_in([block.signature]))
            case Redacted() | ServerToolUse() | SearchResult():
                continue  # of who made it: a model thinks, and searches, anew
            case _:
                raise unfit(f"{at}.content[{n}]", "an assistant says text, calls tools and thinks")
    return list(steps.values())


def _part(made: chat.Message, block: Block, at: str) -> None:
    match block:
        case TextBlock():
            made.parts.add(text=block.text)
        case ImageBlock(source=Linked() as source):
            made.parts.add().image.url = source.url
        case ImageBlock(source=Inline() as source):
            made.parts.add().image.url = _data_url(source, f"{at}.source.data")
        case DocumentBlock(source=Plain() as source):
            made.parts.add(text=source.data)
        case DocumentBlock(source=Inline() as source):
            part = made.parts.add()
            part.file.filename, part.file.data = block.title or "", _data_url(source, f"{at}.source.data")
        case _:
            raise unfit(at, "a user says text, shows pictures and documents, and hands in results")
    made.parts[-1].cache_mark = block.cache_control is not None


def _data_url(source: Inline, at: str) -> str:
    from_base64(source.data, at)
    return f"data:{source.media_type};base64,{source.data}"


def _listed(said: str | Sequence[Block]) -> Sequence[Block]:
    return [TextBlock(said)] if isinstance(said, str) else said


def _effort(body: MessagesBody) -> str:
    if body.output_config is not None and body.output_config.effort is not None:
        return {"max": "xhigh"}.get(body.output_config.effort, body.output_config.effort)
    if body.thinking is None or body.thinking.type != "enabled":
        return ""
    return effort_of(body.thinking.budget_tokens or 0)


def effort_of(budget: int) -> str:
    """What so many tokens to think with come to."""
    return next((effort for most, effort in EFFORTS if budget <= most), "high")
