"""Pictures that are asked for, and made, as OpenAI has it."""

import base64
import time
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.edge.wire.body import Name
from services.edge.wire.errors import decoded, missing, of_body, unfit
from services.edge.wire.multipart import Upload

LONGEST_PROMPT = 32_000
PICTURES, MASK = ("image", "image[]"), "mask"
Word = Annotated[str, Meta(min_length=1, max_length=32)]
OPTIONS = tuple(models_pb2.ImageOptions.DESCRIPTOR.fields_by_name)
TOLD = ("background", "output_format", "quality", "size")


class ImagesBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent. What an option may be is the provider's business."""

    prompt: Annotated[str, Meta(min_length=1, max_length=LONGEST_PROMPT)]
    model: Name | None = None
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: Word | None = None
    quality: Word | None = None
    style: Word | None = None
    background: Word | None = None
    output_format: Word | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    moderation: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: Literal[False] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


class ChangesBody(ImagesBody, forbid_unknown_fields=True):
    """Beside the files."""

    input_fidelity: Word | None = None


_IMAGES = msgspec.json.Decoder(ImagesBody)


def parsed(raw: bytes) -> ImagesBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    return decoded(_IMAGES, raw)


def changed(content_type: bytes, body: bytes) -> pb.GenerateImagesRequest:
    """
    Raises:
        Refusal: no such form, no picture in it, or a field that breaks a rule.
    """
    form = Upload(content_type, frozenset((*PICTURES, MASK)), {"prompt": 4 * LONGEST_PROMPT})
    form.feed(body)
    form.finish()
    if form.fields.get("stream", "false") == "false":
        form.fields.pop("stream", None)
    try:
        said = msgspec.convert(form.fields, ChangesBody, strict=False)
    except msgspec.MsgspecError as error:
        raise of_body(error) from None
    asked = request(said)
    for one in form.files:
        if not one.data:
            raise unfit(one.part, "it is empty")
        file = models_pb2.PictureFile(data=one.data, filename=one.filename)
        if one.part != MASK:
            asked.pictures.append(file)
        elif asked.HasField("mask"):
            raise unfit(MASK, "there is more than one")
        else:
            asked.mask.CopyFrom(file)
    if not asked.pictures:
        raise missing("image")
    return asked


def request(said: ImagesBody) -> pb.GenerateImagesRequest:
    options = {name: value for name in OPTIONS if (value := getattr(said, name, None)) is not None}
    return pb.GenerateImagesRequest(
        model=said.model or "", prompt=said.prompt, count=said.n or 0, options=models_pb2.ImageOptions(**options)
    )


def answer(made: pb.GenerateImagesResponse) -> bytes:
    told = {name: value for name in TOLD if (value := getattr(made.options, name))}
    images = [_image(one) for one in made.images]
    return orjson.dumps({"created": int(time.time()), "data": images, **told, "usage": _usage(made.usage)})


def _image(one: models_pb2.GeneratedImage) -> dict[str, Any]:
    where = {"url": one.url} if one.url else {"b64_json": base64.b64encode(one.data).decode()}
    return {**where, **({"revised_prompt": one.revised_prompt} if one.revised_prompt else {})}


def _usage(usage: chat.Usage) -> dict[str, Any]:
    seen = usage.kinds.image_input_tokens
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_details": {"text_tokens": usage.input_tokens - seen, "image_tokens": seen},
    }
