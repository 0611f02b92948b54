"""A document as it is brought, and what is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Self

from services.retrieval.where import numbers

Key = tuple[str, str, str]
"""Tenant, collection, document id."""
SUBJECT = "subject"
"""The attribute that names whom a document is about."""


@dataclass(frozen=True, slots=True)
class Document:
    """Text that is to be searchable. `changed` is in seconds since 1970, 0 where nobody knows."""

    id: str
    collection: str
    title: str
    text: str
    markdown: bool = False
    uri: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    source: str = ""
    mark: str = ""
    """What the source knows this version by: a time and a size, an ETag."""
    changed: float = 0.0

    @property
    def version(self) -> str:
        """Hash of everything that a search can see of it."""
        parts = (
            self.title,
            self.text,
            str(self.markdown),
            self.uri,
            *self.readers,
            *map(str, sorted(self.attributes.items())),
            *(("numbers",) if numbers(self.attributes) else ()),  # which releases before 0.19 did not keep
        )
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def saying(self, text: str) -> Self:
        return replace(self, text=text)


@dataclass(frozen=True, slots=True)
class Row:
    """A searchable document in the catalogue."""

    tenant: str
    collection: str
    document_id: str
    version: str
    title: str = ""
    uri: str = ""
    chunks: int = 0
    source: str = ""
    mark: str = ""
    changed: float = 0.0
    indexed: float = 0.0
    subject: str = ""
    """Digest of whom it is about."""
    attributes: str = "{}"
    """Its facts, as JSON."""

    @property
    def key(self) -> Key:
        return self.tenant, self.collection, self.document_id


@dataclass(frozen=True, slots=True)
class Parked:
    """A document that could not be made searchable, kept as it came."""

    tenant: str
    collection: str
    document_id: str
    reason: str
    raw: bytes
    """Its contract's message, to try again."""
    source: str = ""
    mark: str = ""
    tries: int = 1
    parked: float = 0.0

    @property
    def key(self) -> Key:
        return self.tenant, self.collection, self.document_id


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents that belong together, and what is known of them beside."""

    tenant: str
    name: str
    title: str = ""
    metadata: str = "{}"
    """Labels, as JSON."""
    created: float = 0.0
    """0 for one that only has documents."""
    documents: int = 0
    parked: int = 0
    idle_s: int = 0
    """Unused for so long, it goes with its documents; 0 for one that stays."""
    used: float = 0.0
