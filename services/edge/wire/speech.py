"""Texts that are to be spoken, and their sound as events, as OpenAI has it."""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire import sse
from services.edge.wire.body import Name
from services.edge.wire.errors import Refusal, decoded


class SpeechBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent. Which voices and formats there are is the provider's business."""

    input: Annotated[str, Meta(min_length=1, max_length=32000)]
    model: Name | None = None
    voice: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    response_format: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] | None = None
    instructions: Annotated[str, Meta(max_length=4096)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_SPEECH = msgspec.json.Decoder(SpeechBody)


def parsed(raw: bytes) -> SpeechBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    return decoded(_SPEECH, raw)


def request(said: SpeechBody) -> pb.SpeakRequest:
    options = models_pb2.SpeechOptions(
        voice=said.voice or "",
        format=said.response_format or "",
        speed=said.speed,
        instructions=said.instructions or "",
    )
    return pb.SpeakRequest(model=said.model or "", text=said.input, options=options)


def events(piece: pb.SpeakResponse) -> bytes:
    """What is told of a piece; empty for nothing."""
    told = b""
    if piece.audio:
        told += sse.data({"type": "speech.audio.delta", "audio": base64.b64encode(piece.audio).decode()})
    if piece.HasField("usage"):
        used = piece.usage
        usage = {
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "total_tokens": used.input_tokens + used.output_tokens,
        }
        told += sse.data({"type": "speech.audio.done", "usage": usage})
    return told


def failed(refusal: Refusal) -> bytes:
    """It broke off: no `speech.audio.done` comes."""
    return sse.data({"type": "error", **refusal.body()})
