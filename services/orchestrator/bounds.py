"""The most tokens that a request can be read as, without a tokenizer: no vocabulary spends two on one byte. Pure."""

import math
import struct
from collections.abc import Iterable

from tollway.chat.v1 import chat_pb2 as chat

AROUND_MESSAGE = 16
"""Tokens of a chat template around a message or a tool, at most."""
PICTURE = 4096
"""Tokens of a picture at its highest detail, for the dearest of the common providers."""
PICTURE_CHANGED = 8192
"""Tokens of a picture that is changed, kept to as closely as can be."""
WEB_SEARCH = 32_768
"""Tokens of what a search of the web finds, as far as a model is shown it."""
WEB_SEARCHES = 5
"""That are held for where nobody says how many there may be. Providers are told as many."""
AUDIO_BYTES_A_TOKEN = 500
"""Compressed sound: about 10 tokens a second at 5 kB a second, at least."""
FILE_BYTES_A_TOKEN = 1
LEAST_BYTES_A_SECOND = 750
"""Of sound that is packed: Opus at 6 kbit/s, which nothing in use goes below."""
RIFF = struct.Struct("<4sI4s4sIHHII")
APART = frozenset({"audio", "image"})
"""Parts whose tokens many providers bill at rates of their own."""


def input_tokens(request: chat.ChatRequest) -> int:
    """At least as many tokens as any model counts for `request`, with all that may be searched for it."""
    return said_tokens(request) + WEB_SEARCH * web_searches(request)


def said_tokens(request: chat.ChatRequest) -> int:
    """The same of what the request itself says."""
    total = sum(_message(one) for one in request.messages)
    total += sum(
        AROUND_MESSAGE + _bytes(tool.name) + _bytes(tool.description) + _bytes(tool.parameters_json)
        for tool in request.tools
    )
    return total + _bytes(request.response_format.schema_json)


def web_searches(request: chat.ChatRequest) -> int:
    """The most that a provider may make."""
    if not request.HasField("web_search"):
        return 0
    return request.web_search.most if request.web_search.HasField("most") else WEB_SEARCHES


def texts(read: Iterable[str]) -> int:
    """As [input_tokens][], of texts that are no conversation."""
    return sum(AROUND_MESSAGE + _bytes(one) for one in read)


def kinds(request: chat.ChatRequest) -> chat.TokenKinds | None:
    """Of the tokens that [input_tokens][] counts, at least those that are sound or pictures; None without any."""
    told = [part for message in request.messages for part in message.parts if part.WhichOneof("part") in APART]
    if not told:
        return None
    return chat.TokenKinds(
        audio_input_tokens=sum(_audio(part.audio) for part in told if part.HasField("audio")),
        image_input_tokens=PICTURE * sum(part.HasField("image") for part in told),
    )


def seconds(recording: bytes) -> int:
    """How long a recording is at most: of a plain WAV by its own rate, of what is packed by the least that a second takes."""
    rate = LEAST_BYTES_A_SECOND
    if len(recording) >= RIFF.size:
        riff, _, wave, fmt, _, plain, _, _, told = RIFF.unpack_from(recording)
        if (riff, wave, fmt, plain) == (b"RIFF", b"WAVE", b"fmt ", 1) and told:
            rate = told
    return math.ceil(len(recording) / rate)


def over(calls: int, one: chat.TokenKinds | None) -> chat.TokenKinds | None:
    """What so many calls read, each of which reads `one`."""
    if one is None:
        return None
    return chat.TokenKinds(
        audio_input_tokens=calls * one.audio_input_tokens, image_input_tokens=calls * one.image_input_tokens
    )


def _message(message: chat.Message) -> int:
    total = (
        AROUND_MESSAGE
        + _bytes(message.name)
        + _bytes(message.reasoning)
        + sum(len(one) * 3 // 4 for one in message.thoughts)
    )
    for part in message.parts:
        match part.WhichOneof("part"):
            case "text":
                total += _bytes(part.text)
            case "refusal":
                total += _bytes(part.refusal)
            case "image":
                total += PICTURE
            case "audio":
                total += _audio(part.audio)
            case "file":
                total += len(part.file.data) // FILE_BYTES_A_TOKEN + AROUND_MESSAGE
    return total + sum(
        AROUND_MESSAGE + _bytes(call.name) + _bytes(call.arguments) + _bytes(call.signature)
        for call in message.tool_calls
    )


def _audio(sound: chat.Audio) -> int:
    return len(sound.data) // AUDIO_BYTES_A_TOKEN + AROUND_MESSAGE


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
