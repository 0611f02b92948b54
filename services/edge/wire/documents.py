"""Documents, passages and sources as JSON."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from google.protobuf.duration_pb2 import Duration
from msgspec import Meta, Struct
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.edge.wire.errors import decoded
from services.edge.wire.facts import Filter, filtered

ATTRIBUTE = "attribute."
LONGEST_HALF_LIFE_S = 1e10


class SearchBody(Struct, forbid_unknown_fields=True):
    """What is looked for."""

    query: Annotated[str, Meta(min_length=1, max_length=16384)]
    collection: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 5
    attributes: dict[str, str] = {}
    filters: Filter | None = None
    groups: Annotated[list[str], Meta(max_length=256)] = []
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    half_life_s: Annotated[float, Meta(ge=0, le=LONGEST_HALF_LIFE_S)] = 0.0
    neighbours: Annotated[int, Meta(ge=0, le=5)] = 0


_SEARCH = msgspec.json.Decoder(SearchBody)


def search_of(raw: bytes) -> pb.SearchRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_SEARCH, raw)
    half_life = Duration()
    half_life.FromMicroseconds(int(said.half_life_s * 1e6))
    made = pb.SearchRequest(
        query=said.query, collection=said.collection, limit=said.limit, attributes=said.attributes,
        groups=said.groups, diversity=said.diversity, neighbours=said.neighbours,
        half_life=half_life if said.half_life_s else None,
    )  # fmt: skip
    filtered(made, said.filters)
    return made


def document_of(name: str, kind: str, content: bytes, asked: Mapping[str, str]) -> pb.Document:
    """`kind` is a content type with or without parameters; `asked` the query: `collection`, `title`, `uri`, `readers` with commas
    between them, and `attribute.NAME`.
    """
    return pb.Document(
        document_id=name,
        collection=asked.get("collection", ""),
        title=asked.get("title", ""),
        uri=asked.get("uri", ""),
        media_type=kind.partition(";")[0].strip().lower(),
        readers=[one for one in asked.get("readers", "").split(",") if one],
        attributes={key.removeprefix(ATTRIBUTE): value for key, value in asked.items() if key.startswith(ATTRIBUTE)},
        content=content,
    )
