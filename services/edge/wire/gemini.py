"""Gemini's GenerateContent in our words: what the body of `POST /v1beta/models/{model}:generateContent` asks for."""

import re
from collections.abc import Sequence

import msgspec
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import as_json, from_base64, missing, unfit
from services.edge.wire.gemini_body import (
    Asked,
    Blob,
    CallingConfig,
    Config,
    Content,
    Declaration,
    Embedded,
    FileData,
    Part,
    Thinking,
)
from services.edge.wire.messages import effort_of
from services.edge.wire.request import searched
from services.edge.wire.schema import plain

PATH, LATER = "/v1beta/models", "/v1/models"
"""The later one is OpenAI's as well."""
CHATS, EMBEDS = ("generateContent", "streamGenerateContent", "countTokens"), ("embedContent", "batchEmbedContents")
"""What models are asked to do."""
WORK = re.compile(f":(?:{'|'.join((*CHATS, *EMBEDS))})$")
"""It stands at the end of a path."""


def tollway(asked: Asked) -> bytes:
    """The body's own word on how it is to be treated."""
    return b"" if asked.tollway is None else msgspec.json.encode(asked.tollway)


def chat_request(model: str, asked: Asked) -> chat.ChatRequest:
    """The conversation in our words.

    Raises:
        Refusal: a part that is none, or that nobody can read.
    """
    made = conversation(model, asked.contents, asked.system_instruction)
    for n, tool in enumerate(asked.tools or ()):
        for k, one in enumerate(tool.function_declarations or ()):
            made.tools.append(_tool(one, f"tools[{n}].functionDeclarations[{k}]"))
        if (search := tool.google_search) is not None:
            made.web_search.CopyFrom(searched(None, blocked_domains=search.exclude_domains))
    if asked.tool_config is not None and (calling := asked.tool_config.function_calling_config) is not None:
        _choose(made, calling)
    if asked.generation_config is not None:
        _configure(made, asked.generation_config)
    if asked.labels:
        made.metadata.update(asked.labels)
    made.include_usage = True
    return made


def conversation(model: str, contents: Sequence[Content], system: Content | None = None) -> chat.ChatRequest:
    """
    Raises:
        Refusal: as [chat_request][].
    """
    made = chat.ChatRequest(model=model)
    if system is not None:
        above = made.messages.add(role=chat.ROLE_SYSTEM)
        for n, part in enumerate(system.parts):
            _part(above, part, f"systemInstruction.parts[{n}]")
    calls = list[tuple[str, str]]()
    for n, content in enumerate(contents):
        if content.role == "model":
            calls += _answered(made.messages.add(role=chat.ROLE_ASSISTANT), content, f"contents[{n}]", len(calls))
        else:
            _said(made, content, f"contents[{n}]", calls)
    return made


def embed_request(model: str, texts: Sequence[Embedded]) -> pb.EmbedRequest:
    """
    Raises:
        Refusal: something else than text, none, or vectors of several lengths.
    """
    lengths = {one.output_dimensionality or 0 for one in texts}
    if len(lengths) > 1:
        raise unfit("outputDimensionality", "the same for all")
    made = pb.EmbedRequest(model=model, dimensions=lengths.pop())
    for n, one in enumerate(texts):
        if any(part.text is None for part in one.content.parts):
            raise unfit(f"requests[{n}].content.parts", "text")
        if not (text := "\n".join(part.text or "" for part in one.content.parts)):
            raise unfit(f"requests[{n}].content", "it is empty")
        made.texts.append(text)
    return made


def _answered(made: chat.Message, content: Content, at: str, before: int) -> list[tuple[str, str]]:
    """What a model said; its calls by id and name. Gemini's own have no ids: what comes back is told by the order."""
    calls = list[tuple[str, str]]()
    for n, part in enumerate(content.parts):
        if part.function_call is not None:
            called = part.function_call
            name = called.id or f"call_{before + len(calls)}"
            arguments = as_json(called.args or {}, f"{at}.parts[{n}].functionCall.args")
            signature = part.thought_signature or ""
            made.tool_calls.add(id=name, name=called.name, arguments=arguments, signature=signature)
            calls.append((name, called.name))
        elif part.thought:
            made.reasoning += part.text or ""
        else:
            _part(made, part, f"{at}.parts[{n}]")
    return calls


def _said(made: chat.ChatRequest, content: Content, at: str, calls: list[tuple[str, str]]) -> None:
    """What a user said, and what tools did: a message each."""
    said: chat.Message | None = None
    for n, part in enumerate(content.parts):
        if (came := part.function_response) is None:
            if said is None:
                said = made.messages.add(role=chat.ROLE_USER)
            _part(said, part, f"{at}.parts[{n}]")
            continue
        found = next((one for one in calls if came.id in (None, "", one[0]) and one[1] == came.name), None)
        if found is None:
            raise unfit(
                f"{at}.parts[{n}].functionResponse", "the answer to a functionCall before it, by its name or id"
            )
        calls.remove(found)
        text = as_json(came.response, f"{at}.parts[{n}].functionResponse.response")
        result = made.messages.add(role=chat.ROLE_TOOL, tool_call_id=found[0], failed="error" in came.response)
        result.parts.add(text=text)
        said = None


def _part(made: chat.Message, part: Part, at: str) -> None:
    match part:
        case Part(text=str(text)):
            made.parts.add(text=text)
        case Part(inline_data=Blob(mime_type=kind, data=data, display_name=name)):
            raw = from_base64(data, f"{at}.inlineData.data")
            if kind.startswith("image/"):
                made.parts.add().image.url = f"data:{kind};base64,{data}"
            elif kind.startswith("audio/"):
                audio = made.parts.add().audio
                audio.data, audio.format = raw, SOUNDS.get(kind, kind.removeprefix("audio/").removeprefix("x-"))
            else:
                file = made.parts.add().file
                file.filename, file.data = name or "", f"data:{kind};base64,{data}"
        case Part(file_data=FileData(file_uri=uri, mime_type=kind)):
            if not (uri.startswith(("http://", "https://")) and (not kind or kind.startswith("image/"))):
                raise unfit(f"{at}.fileData", "the address of a picture; files of Google's are not here")
            made.parts.add().image.url = uri
        case _:
            raise unfit(at, "text, a file, or what a tool was asked and said")


SOUNDS = {"audio/mpeg": "mp3"}
"""Formats that are not called as their kind is."""


def _tool(one: Declaration, at: str) -> chat.Tool:
    schema = plain(one.parameters) if one.parameters is not None else one.parameters_json_schema
    parameters = as_json(schema, f"{at}.parameters") if schema is not None else ""
    return chat.Tool(name=one.name, description=one.description or "", parameters_json=parameters)


def _choose(made: chat.ChatRequest, calling: CallingConfig) -> None:
    """
    Raises:
        Refusal: a function that is not there.
    """
    allowed = calling.allowed_function_names or ()
    if unknown := [name for name in allowed if all(one.name != name for one in made.tools)]:
        raise unfit("toolConfig.functionCallingConfig.allowedFunctionNames", f"{unknown[0][:64]} is not declared")
    made.tool_choice.mode = MODES[calling.mode]
    if calling.mode == "ANY" and len(allowed) == 1:
        made.tool_choice.mode, made.tool_choice.function = chat.ToolChoice.MODE_FUNCTION, allowed[0]
    elif allowed:
        kept = [one for one in made.tools if one.name in allowed]
        del made.tools[:]
        made.tools.extend(kept)


MODES = {
    "MODE_UNSPECIFIED": chat.ToolChoice.MODE_AUTO,
    "AUTO": chat.ToolChoice.MODE_AUTO,
    "VALIDATED": chat.ToolChoice.MODE_AUTO,
    "ANY": chat.ToolChoice.MODE_REQUIRED,
    "NONE": chat.ToolChoice.MODE_NONE,
}
SAME = {
    "temperature": "temperature",
    "top_p": "top_p",
    "candidate_count": "n",
    "max_output_tokens": "max_output_tokens",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "response_logprobs": "logprobs",
    "logprobs": "top_logprobs",
}


def _configure(made: chat.ChatRequest, config: Config) -> None:
    for theirs, ours in SAME.items():
        if (value := getattr(config, theirs)) is not None:
            setattr(made, ours, value)
    if config.top_k is not None:
        made.top_k = round(config.top_k)
    made.stop.extend(config.stop_sequences or ())
    schema = plain(config.response_schema) if config.response_schema is not None else config.response_json_schema
    if schema is not None:
        if config.response_mime_type != "application/json":
            raise missing("generationConfig.responseMimeType")
        made.response_format.type, made.response_format.name = chat.ResponseFormat.TYPE_JSON_SCHEMA, "answer"
        made.response_format.schema_json = as_json(schema, "generationConfig.responseSchema")
    elif config.response_mime_type == "application/json":
        made.response_format.type = chat.ResponseFormat.TYPE_JSON_OBJECT
    if (thinking := config.thinking_config) is not None:
        made.reasoning_effort = _effort(thinking)


def _effort(thinking: Thinking) -> str:
    """
    Raises:
        Refusal: a level that there is not.
    """
    if thinking.thinking_level is not None:
        level = thinking.thinking_level.lower()
        if level not in LEVELS:
            raise unfit("generationConfig.thinkingConfig.thinkingLevel", f"one of {', '.join(LEVELS).upper()}")
        return "" if level == LEVELS[0] else level
    if thinking.thinking_budget is None or thinking.thinking_budget < 0:
        return ""
    return effort_of(thinking.thinking_budget) if thinking.thinking_budget else "minimal"


LEVELS = ("thinking_level_unspecified", "minimal", "low", "medium", "high")
