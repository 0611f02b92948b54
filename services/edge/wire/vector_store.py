"""OpenAI's vector stores in our words, and back: a store is a collection, a file in it a document.

Ids are the names of collections and the ids of documents, so that what was brought in another way is there, too. A store that is
made here gets a name as OpenAI's ids are.
"""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import UNSET, Meta, Struct, UnsetType
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.edge.wire.errors import Refusal, decoded
from services.edge.wire.facts import Filter, Key, Value, filtered, word

LARGEST_BYTES = 50_000_000
"""Of a document, as retrieval takes it."""
USUAL_LISTED, MOST_LISTED = 20, 100
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".eml": "message/rfc822",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
}
"""By the end of a file's name; what ends otherwise is read as text."""
DAY_S = 86_400

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Labels = Annotated[dict[Key, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
Attributes = Annotated[dict[Key, Value], Meta(max_length=16)]


class Ranking(Struct):
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Expiry(Struct, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=365)]
    anchor: Literal["last_active_at"]


class StoreBody(Struct):
    name: Annotated[str, Meta(max_length=256, pattern=r"^[^\0]*$")] | None = None
    file_ids: Annotated[list[Id], Meta(max_length=500)] = []
    metadata: Labels | None = None
    expires_after: Expiry | UnsetType | None = UNSET
    description: str | None = None
    chunking_strategy: dict[str, Any] | None = None


class FileBody(Struct):
    file_id: Id
    attributes: Attributes | None = None
    chunking_strategy: dict[str, Any] | None = None


class BatchBody(Struct):
    file_ids: Annotated[list[Id], Meta(max_length=500)] = []
    files: Annotated[list[FileBody], Meta(max_length=500)] = []
    attributes: Attributes | None = None
    chunking_strategy: dict[str, Any] | None = None


class AttributesBody(Struct):
    attributes: Attributes | None


class SearchBody(Struct):
    query: (
        Annotated[str, Meta(min_length=1, max_length=16384)] | Annotated[list[str], Meta(min_length=1, max_length=16)]
    )
    filters: Filter | None = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10
    ranking_options: Ranking | None = None
    rewrite_query: bool = False


_STORE, _FILE = msgspec.json.Decoder(StoreBody), msgspec.json.Decoder(FileBody)
_BATCH = msgspec.json.Decoder(BatchBody)
_ATTRIBUTES, _SEARCH = msgspec.json.Decoder(AttributesBody), msgspec.json.Decoder(SearchBody)


def store_body(raw: bytes) -> StoreBody:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    return decoded(_STORE, raw or b"{}")


def file_body(raw: bytes) -> FileBody:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    return decoded(_FILE, raw)


def batch_body(raw: bytes) -> list[FileBody]:
    """
    Raises:
        Refusal: a field that breaks a rule, or no file.
    """
    said = decoded(_BATCH, raw)
    files = [*said.files, *(FileBody(one, said.attributes) for one in said.file_ids)]
    if not files:
        raise Refusal(400, "invalid_value", "a batch has one file or more", param="file_ids")
    return files


def attributes_body(raw: bytes) -> Attributes:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    return decoded(_ATTRIBUTES, raw).attributes or {}


def search_request(raw: bytes, store: str) -> pb.SearchRequest:
    """
    Raises:
        Refusal: a field that breaks a rule, filters that stand too deep within each other, or a threshold that passages cannot be held to.
    """
    said = decoded(_SEARCH, raw)
    by_order(said.ranking_options)
    text = said.query if isinstance(said.query, str) else "\n".join(said.query)
    made = pb.SearchRequest(query=text[:16384], collection=store, limit=said.max_num_results)
    filtered(made, said.filters)
    return made


def by_order(said: Ranking | None, at: str = "") -> None:
    """`at` is what stands before its field's name.

    Raises:
        Refusal: a threshold that passages cannot be held to.
    """
    if said is not None and said.score_threshold:
        raise Refusal(
            400, "unsupported_value", "only the order of scores means something: score_threshold is 0",
            param=f"{at}ranking_options.score_threshold",
        )  # fmt: skip


def facts(said: Mapping[str, Value] | None) -> dict[str, str]:
    """Attributes as a document keeps them: texts."""
    return {name: word(value) for name, value in (said or {}).items()}


def collection(said: StoreBody, name: str = "") -> pb.Collection:
    made = pb.Collection(name=name or f"vs_{uuid.uuid4().hex}", title=said.name or "", metadata=said.metadata or {})
    _expires(made, said)
    return made


def changed(before: pb.Collection, said: StoreBody) -> pb.Collection:
    """What is not said stays."""
    made = pb.Collection(name=before.name, title=said.name if said.name is not None else before.title)
    made.metadata.update(before.metadata if said.metadata is None else said.metadata)
    if before.HasField("idle_for"):
        made.idle_for.CopyFrom(before.idle_for)
    _expires(made, said)
    return made


def _expires(made: pb.Collection, said: StoreBody) -> None:
    if isinstance(said.expires_after, Expiry):
        made.idle_for.seconds = said.expires_after.days * DAY_S
    elif said.expires_after is None:
        made.ClearField("idle_for")


def document(store: str, file_id: str, filename: str, content: bytes, attributes: Mapping[str, str]) -> pb.Document:
    kind = MEDIA_TYPES.get(PurePosixPath(filename.lower()).suffix, "")
    return pb.Document(
        document_id=file_id,
        collection=store,
        title=filename[:1024],
        media_type=kind,
        content=content,
        attributes=attributes,
    )


def store(one: pb.Collection) -> dict[str, Any]:
    """A `vector_store` object. What lies idle for less than days, as gRPC may say, is told by `expires_at` alone."""
    idle_s = one.idle_for.seconds
    return {
        "id": one.name,
        "object": "vector_store",
        "created_at": one.created.seconds,
        "name": one.title or one.name,
        "usage_bytes": 0,
        "file_counts": counts(one.documents, one.parked),
        "status": "completed",
        "expires_after": None
        if idle_s % DAY_S or not idle_s
        else {"anchor": "last_active_at", "days": idle_s // DAY_S},
        "expires_at": one.used.seconds + idle_s if idle_s else None,
        "last_active_at": one.used.seconds if one.HasField("used") else None,
        "metadata": dict(one.metadata),
    }


def counts(completed: int, failed: int) -> dict[str, int]:
    return {"in_progress": 0, "completed": completed, "failed": failed, "cancelled": 0, "total": completed + failed}


def file(found: pb.GetDocumentResponse, where: str) -> dict[str, Any]:
    """A `vector_store.file` object: the document as it is searchable, or why its newest version is not."""
    return failed(found.parked, where) if found.HasField("parked") else completed(found.document, where)


def completed(one: pb.DocumentInfo, where: str) -> dict[str, Any]:
    made = _file(one.document_id, where, one.indexed.seconds, "completed", None)
    return {**made, "attributes": dict(one.attributes)}


def failed(one: pb.Parked, where: str) -> dict[str, Any]:
    return _file(one.document_id, where, one.parked.seconds, "failed", one.reason)


def refused(file_id: str, where: str, why: str) -> dict[str, Any]:
    """A file that could not even be read."""
    return _file(file_id, where, 0, "failed", why)


def _file(name: str, where: str, created: int, status: str, why: str | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "vector_store.file",
        "created_at": created,
        "vector_store_id": where,
        "usage_bytes": 0,
        "status": status,
        "last_error": None if why is None else {"code": "invalid_file", "message": why},
        "attributes": {},
        "chunking_strategy": {"type": "other"},
    }


def found(asked: pb.SearchRequest, passages: Iterable[pb.Passage]) -> bytes:
    """A page of search results."""
    rows = [
        {
            "file_id": one.document_id,
            "filename": one.title,
            "score": one.score,
            "attributes": dict(one.attributes),
            "content": [{"type": "text", "text": one.text}],
        }
        for one in passages
    ]
    page = {"object": "vector_store.search_results.page", "search_query": [asked.query], "data": rows}
    return orjson.dumps({**page, "has_more": False, "next_page": None})


def content(texts: Iterable[str]) -> bytes:
    """A page of what a file says."""
    rows = [{"type": "text", "text": one} for one in texts]
    page = {"object": "vector_store.file_content.page", "data": rows, "has_more": False, "next_page": None}
    return orjson.dumps(page)
