"""Texts to be ranked, and their places, as Cohere, Jina and vLLM have it."""

from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.body import Name
from services.edge.wire.errors import decoded

MOST_TEXTS = 1024
Text = Annotated[str, Meta(min_length=1)]


class Document(Struct):
    text: Text


class RerankBody(Struct, forbid_unknown_fields=True):
    """`null` is the same as absent."""

    model: Name
    query: Text
    documents: Annotated[list[Text | Document], Meta(min_length=1, max_length=MOST_TEXTS)]
    top_n: Annotated[int, Meta(ge=1, lt=1 << 31)] | None = None
    return_documents: bool | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_RERANK = msgspec.json.Decoder(RerankBody)


def parsed(raw: bytes) -> RerankBody:
    """
    Raises:
        Refusal: not JSON, not an object, or a field that breaks a rule.
    """
    return decoded(_RERANK, raw)


def request(said: RerankBody) -> pb.RerankRequest:
    return pb.RerankRequest(model=said.model, query=said.query, documents=_texts(said), top_n=said.top_n or 0)


def answer(said: RerankBody, made: pb.RerankResponse) -> bytes:
    """The best first. A text is shown as its caller sent it, whatever was masked on the way."""
    texts = _texts(said) if said.return_documents else None
    results: list[dict[str, Any]] = [
        {
            "index": one.index,
            "relevance_score": one.score,
            **({"document": {"text": texts[one.index]}} if texts is not None else {}),
        }
        for one in made.ranked
    ]
    used = {"prompt_tokens": made.input_tokens, "total_tokens": made.input_tokens}
    told = {"api_version": {"version": "2"}, "tokens": {"input_tokens": made.input_tokens}}
    return orjson.dumps(
        {
            "id": f"rerank-{made.road.trace_id}",
            "object": "list",
            "model": made.model,
            "results": results,
            "usage": used,
            "meta": told,
        }
    )


def _texts(said: RerankBody) -> list[str]:
    return [one if isinstance(one, str) else one.text for one in said.documents]
