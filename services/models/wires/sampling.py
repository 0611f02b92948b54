"""Sampling beside what OpenAI's wire has, as open models know it: which provider is told, and in which words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.presets import PRESETS
from services.models.wires.adapter import Target

Words = Mapping[str, str]
"""Our name to the provider's."""
TEMPLATE = "template_options"
FIELDS = ("top_k", "min_p", "repetition_penalty")
DEFAULTED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", *FIELDS)
NOTHING: Words = MappingProxyType({})
SERVED: Words = {**{name: name for name in FIELDS}, TEMPLATE: "chat_template_kwargs"}
"""What vLLM takes, and servers that are made to its likeness: whoever names a provider of their own has one."""
KNOWN: Mapping[str, Words] = {
    **dict.fromkeys(PRESETS, NOTHING),
    "vllm": SERVED,
    "local": {**SERVED, "repetition_penalty": "repeat_penalty"},
    "together": {name: name for name in FIELDS},
    "openrouter": {name: name for name in FIELDS},
}
"""By provider that is spoken to over OpenAI's wire."""


def told(target: Target, request: chat.ChatRequest, words: Words | None = None) -> dict[str, Any]:
    """What the request sets of it, in the provider's words; `words` where its wire has its own.

    Raises:
        faults.Unsupported: the provider does not know something that is set.
    """
    known = KNOWN.get(target.entry.provider, SERVED) if words is None else words
    asked: dict[str, Any] = {name: getattr(request, name) for name in FIELDS if request.HasField(name)}  # type: ignore[arg-type]
    if request.template_options:
        asked[TEMPLATE] = {one.name: _value(one) for one in request.template_options}
    for name in asked:
        if name not in known:
            raise faults.Unsupported(model=target.name, what=f"be told {name}")
    return {known[name]: value for name, value in asked.items()}


def defaulted(target: Target, request: chat.ChatRequest) -> chat.ChatRequest:
    """The request with what its model's entry says of sampling, where it says nothing itself."""
    said = target.entry.defaults
    left = {name: said[name] for name in DEFAULTED if name in said and not request.HasField(name)}  # type: ignore[arg-type]
    if not left:
        return request
    made = chat.ChatRequest()
    made.CopyFrom(request)
    for name, value in left.items():
        setattr(made, name, int(value) if name == "top_k" else value)
    return made


def _value(one: chat.TemplateOption) -> Any:
    """A number that is whole is one in JSON, too."""
    kind = one.WhichOneof("value")
    assert kind is not None, "the contract requires one"
    value = getattr(one, kind)
    return int(value) if kind == "number" and value.is_integer() else value
