"""What brings documents by itself: a folder, an outbox table, a broker's topic, a bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Protocol
from urllib.parse import quote

from google.protobuf.timestamp_pb2 import Timestamp
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.formats import ENDINGS

LARGEST_BYTES, LONGEST_ID = 50_000_000, 256


class Kind(StrEnum):
    FOLDER = "folder"
    OUTBOX = "outbox"
    TOPIC = "topic"
    BUCKET = "bucket"


class SourceAway(Exception):
    """What is read cannot be reached. It is tried again."""


class SourceUnknown(ValueError):
    """The URL names nothing that is read here."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where documents come from, and what they become."""

    url: str = field(repr=False)
    """`folder:PATH`, `postgresql://...`, `nats://`, `amqp://` or `kafka://`, `s3://BUCKET/PREFIX`."""
    tenant: str
    collection: str = ""
    readers: Sequence[str] = ()
    """Groups that may read what it brings, where a document names none; empty for everybody in the tenant."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    """Put before a file's path to make the address that readers see."""
    table: str = "document_outbox"
    topic: str = ""
    """Empty for `tollway.documents.NAME`."""
    endpoint: str = ""
    """Of a bucket elsewhere than with AWS."""
    every_s: float = 2.0
    """Between two looks at what does not tell of changes by itself."""
    promised_s: float = 5.0
    """From a change to its being searchable, at most: what is later is counted as late."""


@dataclass(frozen=True, slots=True)
class Change:
    """A document as it is now; or, without one, that it is gone."""

    document_id: str
    collection: str
    changed: float
    """Seconds since 1970: when it was changed where it comes from, or seen to be."""
    document: pb.Document | None = None
    mark: str = ""
    fault: str = ""
    """Why the document cannot be read, where that is known already: it is parked."""


class Desk(Protocol):
    """Where sources hand in what they found."""

    async def take(self, change: Change) -> None:
        """Searchable, gone or parked when it returns."""
        ...

    async def marks(self) -> Mapping[tuple[str, str], str]:
        """What this source brought before: by collection and id the mark it had."""
        ...


class Source(Protocol):
    kind: Kind

    async def run(self, desk: Desk) -> None:
        """Hands in changes, at least once each, until cancelled.

        Raises:
            SourceAway, StoreAway
        """
        ...


def of_file(settings: SourceSettings, path: str, content: bytes, changed: float, mark: str) -> Change:
    """What a file becomes: a document whose id is its path. One byte more than may be read is too much."""
    when = Timestamp()
    when.FromMicroseconds(int(changed * 1e6))
    made = pb.Document(
        document_id=path, collection=settings.collection, title=PurePath(path).stem,
        media_type=ENDINGS[PurePath(path).suffix.lower()], uri=f"{settings.link}{quote(path)}" if settings.link else "",
        attributes=settings.attributes, readers=settings.readers, changed=when,
    )  # fmt: skip
    if len(content) > LARGEST_BYTES:
        fault = f"it has more than {LARGEST_BYTES:,} bytes"
    else:
        made.content, fault = content, ""
    return Change(made.document_id, settings.collection, changed, made, mark, fault)


def readable(path: str) -> bool:
    """Whether a file of that name is one that can be read; hidden ones are nobody's business, and a name must be Unicode."""
    parts = PurePath(path).parts
    if any(0xD800 <= ord(sign) <= 0xDFFF for sign in path):  # bytes that were none, as Python has them
        return False
    return (
        len(path) <= LONGEST_ID
        and PurePath(path).suffix.lower() in ENDINGS
        and not any(one.startswith(".") for one in parts)
    )


def opened(name: str, settings: SourceSettings) -> Source:
    """
    Raises:
        SourceUnknown
    """
    scheme, _, rest = settings.url.partition(":")
    match scheme:
        case "folder":
            from services.retrieval.sources.folder import Folder

            return Folder(settings, rest.removeprefix("//"))
        case "postgresql" | "postgres":
            from services.retrieval.sources.outbox import Outbox

            return Outbox(settings)
        case "nats" | "tls" | "amqp" | "amqps" | "kafka":
            from services.retrieval.sources.topic import Topic

            return Topic(name, settings)
        case "s3":
            from services.retrieval.sources.bucket import Bucket

            return Bucket(settings)
    raise SourceUnknown(f"source {name}: {scheme}: say folder:, postgresql://, nats://, amqp://, kafka:// or s3://")
