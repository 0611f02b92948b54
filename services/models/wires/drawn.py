"""Pictures as OpenAI's `/images/generations` and `/images/edits` give them, and what they are billed for."""

import base64
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models.wires.adapter import Drawn, Target, Wanted
from services.models.wires.billed import kinds
from services.models.wires.form import File, Form

MADE, CHANGED = "images/generations", "images/edits"


def path(wanted: Wanted) -> str:
    return CHANGED if wanted.pictures else MADE


def asked(target: Target, wanted: Wanted) -> dict[str, Any] | Form:
    body = {"model": target.model, "prompt": wanted.prompt, "n": wanted.count, **wanted.options}
    if not wanted.pictures:
        return body
    name = "image" if len(wanted.pictures) == 1 else "image[]"
    files = [File(name, one.filename, one.data) for one in wanted.pictures]
    if wanted.mask is not None:
        files.append(File("mask", wanted.mask.filename, wanted.mask.data))
    return Form([(field, str(value)) for field, value in body.items()], files)


def read(body: dict[str, Any], counted: int, each: int) -> Drawn:
    """`counted` are the prompt's tokens and `each` those of a picture, where the provider tells none.

    Raises:
        ValueError: there is no picture.
    """
    images = [_image(one) for one in body["data"]]
    if not images:
        raise ValueError
    if not (said := body.get("usage")):
        written = each * len(images)
        billed = kinds(image_output_tokens=written)
        usage = chat.Usage(input_tokens=counted, output_tokens=written, estimated=True, kinds=billed)
    else:
        read, written = said["input_tokens"], said["output_tokens"]
        seen = (said.get("input_tokens_details") or {}).get("image_tokens")
        billed = kinds(image_input_tokens=seen, image_output_tokens=written)
        usage = chat.Usage(input_tokens=read, output_tokens=written, kinds=billed)
    told = models_pb2.ImageOptions(
        size=body.get("size") or "",
        quality=body.get("quality") or "",
        background=body.get("background") or "",
        output_format=body.get("output_format") or "",
    )
    return Drawn(images, usage, told)


def _image(one: dict[str, Any]) -> models_pb2.GeneratedImage:
    made = models_pb2.GeneratedImage(revised_prompt=one.get("revised_prompt") or "")
    if one.get("b64_json"):
        made.data = base64.b64decode(one["b64_json"], validate=True)
    else:
        made.url = one["url"]
    return made
