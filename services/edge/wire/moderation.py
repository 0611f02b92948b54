"""Texts to be judged, and what is said of them, as OpenAI has it."""

from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire.body import ImagePart, Name, TextPart
from services.edge.wire.errors import Refusal, decoded

MOST_TEXTS = 1024
Text = Annotated[str, Meta(min_length=1)]
Several = Annotated[list[Text | TextPart | ImagePart], Meta(min_length=1, max_length=MOST_TEXTS)]


class ModerationBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent."""

    input: Text | Several
    model: Name | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_MODERATION = msgspec.json.Decoder(ModerationBody)


def parsed(raw: bytes) -> ModerationBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    return decoded(_MODERATION, raw)


def request(said: ModerationBody) -> pb.ModerateRequest:
    """
    Raises:
        Refusal: a picture, or a part without a text.
    """
    given = [said.input] if isinstance(said.input, str) else said.input
    return pb.ModerateRequest(model=said.model or "", texts=[_text(one, n) for n, one in enumerate(given)])


def answer(made: pb.ModerateResponse) -> bytes:
    results = [_result(one) for one in made.moderations]
    return orjson.dumps({"id": f"modr-{made.road.trace_id}", "model": made.model, "results": results})


def _result(one: models_pb2.Moderation) -> dict[str, Any]:
    names = sorted(one.categories)
    return {
        "flagged": one.flagged,
        "categories": {name: one.categories[name].flagged for name in names},
        "category_scores": {name: one.categories[name].score for name in names},
        "category_applied_input_types": {name: ["text"] for name in names},
    }


def _text(one: str | TextPart | ImagePart, place: int) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, ImagePart):
        raise Refusal(400, "unsupported_value", "pictures are not moderated: texts alone", param=f"input[{place}].type")
    if not one.text:
        raise Refusal(400, "invalid_value", "at least one character", param=f"input[{place}].text")
    return one.text
