"""Azure OpenAI's paths and bodies in OpenAI's words: `/openai/deployments/NAME/chat/completions` asks the model NAME."""

import msgspec
from python_multipart.multipart import parse_options_header

PREFIX = "/openai/"
DEPLOYMENTS = f"{PREFIX}deployments/"
LATER = f"{PREFIX}v1/"
"""Of Azure's later interface, whose bodies name their model."""
DEPLOYED = (
    "chat/completions",
    "completions",
    "embeddings",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "images/generations",
    "images/edits",
)
"""What is asked of a deployment; its name may have slashes in it, so it is known by its end."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def translated(path: str) -> tuple[str, str]:
    """The path as OpenAI has it, and the deployment that it names; '' for none."""
    if path.startswith(LATER):
        return f"/v1/{path.removeprefix(LATER)}", ""
    said = path.removeprefix(DEPLOYMENTS)
    if said != path:
        for what in DEPLOYED:
            name = said.removesuffix(f"/{what}")
            if name and name != said:
                return f"/v1/{what}", name
    return f"/v1/{path.removeprefix(PREFIX)}", ""


def asking(deployment: str, body: bytes, content_type: bytes) -> bytes:
    """`body` as it asks for `deployment`, whatever model it names. One that is none is left to whoever reads it."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        boundary = b"--" + options.get(b"boundary", b"")
        end = body.rfind(boundary + b"--")
        named = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + deployment.encode() + b"\r\n"
        return body[:end] + boundary + named + body[end:] if end >= 0 else body
    try:
        said = _OBJECT.decode(body)
    except msgspec.MsgspecError:
        return body
    return msgspec.json.encode({**said, "model": msgspec.Raw(msgspec.json.encode(deployment))})
