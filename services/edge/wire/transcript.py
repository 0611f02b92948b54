"""Recordings to be written down, and what was said, as OpenAI has it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire.errors import Refusal, unfit
from services.edge.wire.multipart import Upload

GRANULARITIES = "timestamp_granularities[]"
TRANSLATED = frozenset(("model", "prompt", "response_format", "temperature"))
WRITTEN = TRANSLATED | {"language", "stream", GRANULARITIES}
"""The fields there are beside the file."""
LONGEST_LANGUAGE = 16
JSON, TEXT = b"application/json", b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Asked:
    file: bytes = field(repr=False)
    filename: str
    fields: Mapping[str, str] = field(repr=False)
    format: str
    granularities: frozenset[str]
    temperature: float | None


def parsed(content_type: bytes, body: bytes, known: frozenset[str] = WRITTEN) -> Asked:
    """A form whose fields are `known`.

    Raises:
        Refusal: no such form, or a field that breaks a rule.
    """
    upload = Upload(content_type)
    file = upload.feed(body)
    upload.finish()
    if not file:
        raise unfit("file", "it is empty")
    if unknown := sorted(upload.fields.keys() - known):
        raise Refusal(400, "unknown_parameter", f"unknown parameter: {unknown[0][:64]}", param=unknown[0][:64])
    if upload.fields.get("stream", "false") != "false":
        raise Refusal(400, "unsupported_value", "transcripts are not streamed", param="stream")
    shape = upload.fields.get("response_format", "json")
    if shape not in SHAPES:
        raise unfit("response_format", f"one of {', '.join(SHAPES)}")
    if len(upload.fields.get("language", "")) > LONGEST_LANGUAGE:
        raise unfit("language", f"at most {LONGEST_LANGUAGE} characters")
    granular = frozenset(upload.lists.get(GRANULARITIES, ()))
    if not granular <= {"segment", "word"}:
        raise unfit("timestamp_granularities", "`segment`, `word`")
    if granular and shape != "verbose_json":
        raise unfit("timestamp_granularities", "only with response_format verbose_json")
    return Asked(file, upload.filename, upload.fields, shape, granular, _temperature(upload.fields))


def request(said: Asked, translate: bool = False) -> pb.TranscribeRequest:
    timed = said.format in ("srt", "vtt") or (said.format == "verbose_json" and not said.granularities)
    recording = models_pb2.Recording(
        data=said.file,
        filename=said.filename,
        language=said.fields.get("language", ""),
        prompt=said.fields.get("prompt", ""),
        temperature=said.temperature,
        segments=timed or "segment" in said.granularities,
        words="word" in said.granularities,
        translate=translate,
    )
    return pb.TranscribeRequest(model=said.fields.get("model", ""), recording=recording)


def answer(shape: str, made: pb.TranscribeResponse, task: str = "transcribe") -> tuple[bytes, bytes]:
    """The body, and its content type."""
    render, kind = SHAPES[shape]
    return render(made, task), kind


def _json(made: pb.TranscribeResponse, _: str) -> bytes:
    return orjson.dumps({"text": made.transcript.text, "usage": _usage(made)})


def _verbose(made: pb.TranscribeResponse, task: str) -> bytes:
    said = made.transcript
    shown: dict[str, Any] = {
        "task": task,
        "language": said.language,
        "duration": said.duration_s,
        "text": said.text,
        "usage": _usage(made),
    }
    if said.segments:
        shown["segments"] = [{"id": n, **_spoken(one, "text")} for n, one in enumerate(said.segments)]
    if said.words:
        shown["words"] = [_spoken(one, "word") for one in said.words]
    return orjson.dumps(shown)


def _text(made: pb.TranscribeResponse, _: str) -> bytes:
    return f"{made.transcript.text}\n".encode()


def _srt(made: pb.TranscribeResponse, _: str) -> bytes:
    pieces = (
        f"{n}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{one.text.strip()}\n\n"
        for n, one in enumerate(_pieces(made.transcript), 1)
    )
    return "".join(pieces).encode()


def _vtt(made: pb.TranscribeResponse, _: str) -> bytes:
    pieces = (
        f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{one.text.strip()}\n\n"
        for one in _pieces(made.transcript)
    )
    return f"WEBVTT\n\n{''.join(pieces)}".encode()


SHAPES: Mapping[str, tuple[Callable[[pb.TranscribeResponse, str], bytes], bytes]] = {
    "json": (_json, JSON),
    "text": (_text, TEXT),
    "srt": (_srt, TEXT),
    "verbose_json": (_verbose, JSON),
    "vtt": (_vtt, TEXT),
}


def _pieces(said: models_pb2.Transcript) -> Sequence[models_pb2.Spoken]:
    """The segments; all in one where the provider tells none."""
    if said.segments or not said.text.strip():
        return said.segments
    return [models_pb2.Spoken(end=said.duration_s, text=said.text)]


def _spoken(one: models_pb2.Spoken, name: str) -> dict[str, Any]:
    return {"start": one.start, "end": one.end, name: one.text}


def _clock(at: float, point: str) -> str:
    milliseconds = round(at * 1000)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _usage(made: pb.TranscribeResponse) -> dict[str, Any]:
    """In tokens where they are of a text, too; else in seconds, as providers tell it who bill by them."""
    usage: chat.Usage = made.usage
    if not usage.output_tokens and made.transcript.duration_s:
        return {"type": "duration", "seconds": math.ceil(made.transcript.duration_s)}
    sound = usage.kinds.audio_input_tokens
    return {
        "type": "tokens",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_token_details": {"audio_tokens": sound, "text_tokens": usage.input_tokens - sound},
    }


def _temperature(fields: Mapping[str, str]) -> float | None:
    if (said := fields.get("temperature")) is None:
        return None
    try:
        found = float(said)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:
        raise unfit("temperature", "a number from 0 to 1")
    return found
