"""Between what the contract says and what is kept."""

import base64
import json
from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.catalogue import Place
from services.retrieval.desk import Report
from services.retrieval.documents import Collection, Parked, Row
from services.retrieval.formats import Unreadable
from services.retrieval.ingest import Brought
from services.retrieval.moves import Move
from services.retrieval.quality import Mean
from services.retrieval.ranking import Ranked
from services.retrieval.sources.keeper import Kept
from services.retrieval.where import Either, Every, Fact, Number, Where, bounded
from services.runtime.errors import Failure, Kind

FIRST: Place = ("", "")
DIVIDES = "\x1f"


class TokenWrong(Failure):
    kind, reason = Kind.INVALID, "PAGE_TOKEN_WRONG"
    text = "page_token comes from no answer of this call"
    field = "page_token"


def brought(document_id: str, made: Brought | Unreadable) -> pb.UpsertDocumentsResponse:
    if isinstance(made, Unreadable):
        return pb.UpsertDocumentsResponse(document_id=document_id, fault=str(made))
    return pb.UpsertDocumentsResponse(
        document_id=document_id, version=made.version, chunks=made.chunks, embedded=made.embedded
    )


def facts_of(request: pb.SearchRequest) -> tuple[Where, ...]:
    """What a document's facts must be, all of it.

    Raises:
        TooManyFacts, NoBound
    """
    facts: tuple[Where, ...] = tuple(Fact(name, (value,)) for name, value in request.attributes.items())
    return (*facts, bounded(_where(request.where))) if request.HasField("where") else facts


def _where(said: pb.Where) -> Where:
    match said.WhichOneof("said"):
        case "all":
            return Every(tuple(map(_where, said.all.parts)))
        case "any":
            return Either(tuple(map(_where, said.any.parts)))
        case "number":
            one = said.number
            bounds = {name: getattr(one, name) for name in ("gt", "gte", "lt", "lte") if one.HasField(name)}
            return Number(one.name, **bounds)
    return Fact(said.fact.name, tuple(said.fact.values), said.fact.none)


def passage(one: Ranked) -> pb.Passage:
    found = one.passage
    return pb.Passage(
        document_id=found.document_id, version=found.version, title=found.title, uri=found.uri, text=found.text,
        start=found.start, end=found.end, score=one.score, parts=one.parts, indexed=when(found.indexed),
        collection=found.collection, header=found.header, ordinal=found.ordinal, also_in=one.also_in,
        before=one.before, after=one.after, attributes=found.attributes,
    )  # fmt: skip


def document(row: Row) -> pb.DocumentInfo:
    return pb.DocumentInfo(
        document_id=row.document_id, collection=row.collection, version=row.version, title=row.title, uri=row.uri,
        chunks=row.chunks, source=row.source, changed=when(row.changed), indexed=when(row.indexed),
        attributes=json.loads(row.attributes),
    )  # fmt: skip


def parked(one: Parked) -> pb.Parked:
    return pb.Parked(
        document_id=one.document_id, collection=one.collection, source=one.source, reason=one.reason,
        tries=one.tries, parked=when(one.parked),
    )  # fmt: skip


def collection(one: Collection) -> pb.Collection:
    return pb.Collection(
        name=one.name, title=one.title, metadata=json.loads(one.metadata), created=when(one.created),
        documents=one.documents, parked=one.parked, idle_for=Duration(seconds=one.idle_s) if one.idle_s else None, used=when(one.used),
    )  # fmt: skip


def source(one: Kept, counts: tuple[int, int], arrivals: tuple[int, int]) -> pb.Source:
    lags = sorted(one.lags)
    return pb.Source(
        name=one.name, collection=one.settings.collection, kind=one.source.kind, running=one.running,
        documents=counts[0], parked=counts[1], promised=_span(one.settings.promised_s), lag_p50=_part(lags, 0.5),
        lag_p99=_part(lags, 0.99), changes=arrivals[0], in_time=arrivals[1], fault=one.fault,
    )  # fmt: skip


def report(made: Report) -> pb.EvaluateResponse:
    return pb.EvaluateResponse(
        recall_100=_mean(made.recall), ndcg_10=_mean(made.ndcg), coverage=_mean(made.coverage),
        before=when(made.before), drift=_mean(made.drift),
        moved=[pb.Moved(query=query, before=before, now=now) for query, before, now in made.moved],
    )  # fmt: skip


def move(made: Move, documents: int) -> pb.WatchMigrationResponse:
    return pb.WatchMigrationResponse(
        to=made.moving_to or made.active, state=pb.MigrationState.ValueType(made.state), documents=documents,
        looked_at=made.looked_at, copied=made.copied, recall_before=made.recall_before, recall_now=made.recall_now,
        fault=made.fault,
    )  # fmt: skip


def when(seconds: float) -> Timestamp | None:
    """None for a time that nobody knows."""
    if not seconds:
        return None
    made = Timestamp()
    made.FromMicroseconds(int(seconds * 1e6))
    return made


def token_of(listed: Sequence[Row] | Sequence[Parked], most: int) -> str:
    """Where the page after this one begins; empty when this is the last."""
    if len(listed) < most:
        return ""
    last = listed[-1]
    return base64.urlsafe_b64encode(f"{last.collection}{DIVIDES}{last.document_id}".encode()).decode()


def place(token: str) -> Place:
    """
    Raises:
        TokenWrong
    """
    if not token:
        return FIRST
    try:
        collection, divided, document_id = base64.b64decode(token, "-_", validate=True).decode().partition(DIVIDES)
    except ValueError:
        raise TokenWrong from None
    if not divided:
        raise TokenWrong
    return collection, document_id


def _part(lags: Sequence[float], part: float) -> Duration | None:
    return _span(lags[min(int(part * len(lags)), len(lags) - 1)]) if lags else None


def _span(seconds: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made


def _mean(one: Mean | None) -> pb.Measured | None:
    return None if one is None else pb.Measured(mean=one.mean, low=one.low, high=one.high)
