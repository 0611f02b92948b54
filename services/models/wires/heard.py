"""Speech as OpenAI's `/audio/transcriptions` and `/audio/translations` write it down, and what it is billed for."""

import math
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models.wires.adapter import Heard, Target
from services.models.wires.billed import kinds
from services.models.wires.form import File, Form

WRITTEN, TRANSLATED = "audio/transcriptions", "audio/translations"


def path(recording: models_pb2.Recording) -> str:
    return TRANSLATED if recording.translate else WRITTEN


def asked(target: Target, recording: models_pb2.Recording) -> Form:
    """JSON is asked for whatever is to be shown: in any other shape nobody tells what it costs."""
    timed = recording.segments or recording.words
    fields = [("model", target.model), ("response_format", "verbose_json" if timed else "json")]
    fields += [(name, value) for name in ("language", "prompt") if (value := getattr(recording, name))]
    if recording.HasField("temperature"):
        fields.append(("temperature", f"{recording.temperature:g}"))
    granular = (("segment", recording.segments), ("word", recording.words))
    if not recording.translate:  # there segments come of themselves
        fields += [("timestamp_granularities[]", name) for name, wanted in granular if wanted]
    return Form(fields, [File("file", recording.filename, recording.data)])


def read(body: dict[str, Any], most_s: int, each: int) -> Heard:
    """`most_s` is how long the recording is at most, and `each` what a second is billed for at most."""
    used = body.get("usage") or {}
    said = models_pb2.Transcript(
        text=body["text"],
        language=body.get("language") or "",
        duration_s=float(body.get("duration") or used.get("seconds") or 0),
        segments=[_spoken(one, "text") for one in body.get("segments") or ()],
        words=[_spoken(one, "word") for one in body.get("words") or ()],
    )
    return Heard(said, _usage(used, said.duration_s, most_s, each))


def in_tokens(said: dict[str, Any]) -> chat.Usage | None:
    """What a transcript is billed for, where that is told in tokens."""
    if "input_tokens" not in said:
        return None
    sound = (said.get("input_token_details") or {}).get("audio_tokens")
    written = said.get("output_tokens") or 0
    return chat.Usage(input_tokens=said["input_tokens"], output_tokens=written, kinds=kinds(audio_input_tokens=sound))


def _usage(said: dict[str, Any], duration_s: float, most_s: int, each: int) -> chat.Usage:
    """As told in tokens, in seconds, or not at all."""
    if (counted := in_tokens(said)) is not None:
        return counted
    if (told := float(said.get("seconds") or 0) or duration_s) < 0:
        raise ValueError
    tokens = math.ceil(told or most_s) * each
    return chat.Usage(input_tokens=tokens, estimated=not told, kinds=kinds(audio_input_tokens=tokens))


def _spoken(one: dict[str, Any], name: str) -> models_pb2.Spoken:
    return models_pb2.Spoken(start=float(one["start"]), end=float(one["end"]), text=one[name])
