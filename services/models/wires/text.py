"""OpenAI's older wire, as servers of open models have it: `/completions` goes on from a text as it is."""

from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.wires import sampling
from services.models.wires.adapter import Target
from services.models.wires.enduser import opaque
from services.models.wires.openai_request import begun

PATH = "completions"
PLAIN = ("temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty")
BETWEEN = 2
"""Parts of a message that has what comes after, too."""


def wanted(target: Target, request: chat.ChatRequest) -> bool:
    """Whether the request goes over this wire."""
    return request.text_completion and target.entry.goes_on


def fit(entry: Entry, name: str, request: chat.ChatRequest) -> None:
    """
    Raises:
        faults.Unsupported: there is something to fill in, and the model can only chat.
    """
    if request.text_completion and not entry.goes_on and len(request.messages[-1].parts) >= BETWEEN:
        raise faults.Unsupported(model=name, what="fill in between two texts")


def written(target: Target, request: chat.ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The body to post. What was put before the text for it to rest on stands before it."""
    request = sampling.defaulted(target, request)
    *before, last = request.messages
    text = "".join(f"{part.text}\n\n" for message in before for part in message.parts) + last.parts[0].text
    body = {**begun(target), "prompt": text}
    if len(last.parts) >= BETWEEN:
        body["suffix"] = last.parts[1].text
    body.update((name, getattr(request, name)) for name in PLAIN if request.HasField(name))  # type: ignore[arg-type]
    if request.HasField("max_output_tokens"):
        body["max_tokens"] = min(request.max_output_tokens, target.entry.max_output_tokens)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = dict(request.logit_bias)
    if request.user:
        body["user"] = opaque(request.user)
    body.update(sampling.told(target, request))
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def in_chat(body: dict[str, Any]) -> dict[str, Any]:
    """A `text_completion` object, whole or a piece of a stream, as the chat wire would say it."""
    choices = [
        {**one, "message": said, "delta": said, "logprobs": None}
        for one in body.get("choices") or ()
        for said in ({"role": "assistant", "content": one["text"]},)
    ]
    return {**body, "choices": choices}
