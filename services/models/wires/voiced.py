"""Speech as OpenAI's `/audio/speech` makes it: a file as it comes, or events that tell what is billed, too."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.wires import http
from services.models.wires.adapter import Target, Voiced
from services.models.wires.billed import kinds

KINDS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Media types of the formats that OpenAI names."""
USUAL = KINDS["mp3"]
LONGEST_KIND = 64


def asked(target: Target, text: str, options: models_pb2.SpeechOptions) -> dict[str, Any]:
    body: dict[str, Any] = {"model": target.model, "input": text}
    if options.voice:
        body["voice"] = options.voice
    if options.format:
        body["response_format"] = options.format
    if options.HasField("speed"):
        body["speed"] = options.speed
    if options.instructions:
        body["instructions"] = options.instructions
    if target.entry.speech_events:
        body["stream_format"] = "sse"
    return body


async def read(
    target: Target, response: aiohttp.ClientResponse, wanted: str, most: chat.Usage
) -> AsyncGenerator[Voiced, None]:
    """Pieces of an answer; `most` is what is billed where it does not tell, and `wanted` the format where it does not say.

    Raises:
        Failure: it is no sound, there is none in it, or it was cut.
    """
    kind, usage, first = KINDS.get(wanted, USUAL), most, True
    if target.entry.speech_events:
        pieces = _of_events(target, response)
    else:
        kind = _kind(target, response, kind)
        pieces = _of_file(target, response)
    async with aclosing(pieces) as read:
        async for one in read:
            usage = one.usage or usage
            if one.audio:
                yield Voiced(one.audio, kind if first else "")
                first = False
    if first:
        raise faults.ProviderBroke(model=target.name, why="its answer has no sound")
    yield Voiced(usage=usage)


def most(text_tokens: int, characters: int, each: int) -> chat.Usage:
    """What is billed at most: of a provider that tells nothing, all that is known."""
    sound = characters * each
    return chat.Usage(
        input_tokens=text_tokens, output_tokens=sound, estimated=True, kinds=kinds(audio_output_tokens=sound)
    )


def _kind(target: Target, response: aiohttp.ClientResponse, usual: str) -> str:
    """As the provider says, where it says what sound it is."""
    said = response.content_type
    if said.startswith("text/") or said == http.JSON:
        raise faults.ProviderBroke(model=target.name, why="its answer is no sound")
    return said if said.startswith("audio/") and len(said) <= LONGEST_KIND else usual


async def _of_file(target: Target, response: aiohttp.ClientResponse) -> AsyncGenerator[Voiced, None]:
    async with aclosing(http.pieces(target, response)) as pieces:
        async for piece in pieces:
            yield Voiced(piece)


async def _of_events(target: Target, response: aiohttp.ClientResponse) -> AsyncGenerator[Voiced, None]:
    done = False
    async with aclosing(http.events(target, response)) as events:
        async for data in events:
            if data.strip() == b"[DONE]":
                continue
            said = http.event_object(target, data)
            done |= said.get("type") == "speech.audio.done"
            yield http.shaped(target, _piece, said)
    if not done:
        raise faults.ProviderBroke(model=target.name, why="its stream was cut")


def _piece(said: dict[str, Any]) -> Voiced:
    if said["type"] == "speech.audio.delta":
        return Voiced(base64.b64decode(said["audio"], validate=True))
    if said["type"] != "speech.audio.done":
        if "error" in said:
            raise ValueError
        return Voiced()  # a kind of event that is told beside the sound
    used = said["usage"]
    sound = int(used["output_tokens"])
    return Voiced(
        usage=chat.Usage(input_tokens=used["input_tokens"], output_tokens=sound, kinds=kinds(audio_output_tokens=sound))
    )
