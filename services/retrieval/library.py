"""Brings documents in and finds passages: what is new is encoded, what is known is not."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import grpc
import numpy as np
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc

from services.retrieval.chunks import chunks
from services.retrieval.fusion import Fused, fused
from services.retrieval.store import EVERYBODY, Passage, Question, Scope, Store, Vector, passage_id

log = logging.getLogger(__name__)

CANDIDATES = 50
BATCH = 64
AGAIN_S = 1.0
STATIC = "static-minilm-256-1"


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    collection: str
    title: str
    text: str
    markdown: bool
    uri: str
    attributes: dict[str, str]
    readers: tuple[str, ...]

    @property
    def version(self) -> str:
        """Hash of everything that a search can see of it."""
        whole = "\0".join(
            (
                self.title,
                self.text,
                str(self.markdown),
                self.uri,
                *self.readers,
                *sorted(map(str, self.attributes.items())),
            )
        )
        return sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Brought:
    version: str
    chunks: int
    embedded: int


@dataclass(slots=True)
class Epochs:
    """A number for each tenant that grows with each change of its documents.

    It begins at the time of the first look, in microseconds, so that one from before a restart never comes again.
    """

    _now: dict[str, int] = field(default_factory=dict)
    _changed: dict[str, asyncio.Event] = field(default_factory=dict)

    def of(self, tenant: str) -> int:
        return self._now.setdefault(tenant, int(time.time() * 1e6))

    def advance(self, tenant: str) -> None:
        self._now[tenant] = max(self.of(tenant) + 1, int(time.time() * 1e6))
        if (event := self._changed.pop(tenant, None)) is not None:
            event.set()

    async def after(self, tenant: str, epoch: int) -> int:
        """The first epoch that is not `epoch`: at once when it has changed already."""
        while (now := self.of(tenant)) == epoch:
            await self._changed.setdefault(tenant, asyncio.Event()).wait()
        return now


@dataclass(slots=True)
class Library:
    store: Store
    encoder: encoder_pb2_grpc.EncoderServiceStub
    key: str = field(default="", repr=False)
    """API key for work in the background; empty leaves the MiniLM vectors to nobody."""
    now: Callable[[], float] = time.time
    epochs: Epochs = field(default_factory=Epochs)
    lag_s: float = 0.0
    """How far MiniLM vectors are behind, at the last look."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def bring(self, tenant: str, document: Document) -> Brought:
        """Makes `document` searchable by its words and static vectors; MiniLM's follow."""
        known = await self.store.of_document(tenant, document.collection, document.id)
        if known and known[0].version == document.version:
            return Brought(document.version, len(known), 0)
        cut = chunks(document.text, document.title, markdown=document.markdown)
        by_digest = {one.digest: one for one in known}
        fresh = [one for one in cut if one.digest not in by_digest]
        vectors = dict(
            zip((one.digest for one in fresh), await self._static([one.searched for one in fresh]), strict=True)
        )
        at, seen, made = self.now(), dict[str, int](), []
        for one in cut:
            ordinal = seen[one.digest] = seen.get(one.digest, -1) + 1
            old = by_digest.get(one.digest)
            made.append(
                Passage(
                    id=passage_id(tenant, document.collection, document.id, one.digest, ordinal),
                    tenant=tenant,
                    collection=document.collection,
                    document_id=document.id,
                    version=document.version,
                    title=document.title,
                    uri=document.uri,
                    text=one.text,
                    header=one.header,
                    start=one.start,
                    end=one.end,
                    digest=one.digest,
                    readers=document.readers or (EVERYBODY,),
                    attributes=document.attributes,
                    indexed=at,
                    static=old.static if old else vectors[one.digest],
                    dense=old.dense if old else None,
                )
            )
        await self.store.replace(tenant, document.collection, document.id, made)
        self.epochs.advance(tenant)
        self._wake.set()
        return Brought(document.version, len(made), len(fresh))

    async def drop(self, tenant: str, collection: str, document_ids: Sequence[str]) -> int:
        gone = await self.store.remove(tenant, collection, document_ids)
        if gone:
            self.epochs.advance(tenant)
        return gone

    async def search(self, text: str, static: Vector | None, scope: Scope, most: int) -> list[Fused]:
        """The best passages that `scope` allows."""
        if static is None:
            static = (await self._static([text]))[0]
        dense = await self._dense([text])
        found = await self.store.search(
            Question(text, static, dense[0] if dense else None), scope, max(CANDIDATES, most)
        )
        return fused(found, most)

    async def follow(self) -> None:
        """Gives passages their MiniLM vectors as they come, until cancelled."""
        while True:
            waiting = await self.store.without_dense(BATCH) if self.key else ()
            if not waiting:
                self.lag_s = 0.0
                self._wake.clear()
                await self._wake.wait()
                continue
            self.lag_s = self.now() - min(one.indexed for one in waiting)
            own = (("authorization", f"Bearer {self.key}"),)
            try:
                vectors = await self._encode([one.searched for one in waiting], encoder_pb2.TIER_MINILM, own)
                await self.store.add_dense({one.id: vector for one, vector in zip(waiting, vectors, strict=True)})
            except grpc.aio.AioRpcError as error:
                log.warning("MiniLM vectors are behind: the encoder says %s", error.code().name)
                await asyncio.sleep(AGAIN_S)

    async def _static(self, texts: list[str]) -> list[Vector]:
        made: list[Vector] = []
        for start in range(0, len(texts), 512):
            made += await self._encode(texts[start : start + 512], encoder_pb2.TIER_STATIC)
        return made

    async def _dense(self, texts: list[str]) -> list[Vector]:
        """Empty when the encoder is busy: words and static vectors answer alone."""
        try:
            return await self._encode(texts, encoder_pb2.TIER_MINILM)
        except grpc.aio.AioRpcError as error:
            log.info("searching without MiniLM: the encoder says %s", error.code().name)
            return []

    async def _encode(
        self, texts: list[str], tier: "encoder_pb2.Tier.ValueType", metadata: tuple[tuple[str, str], ...] = ()
    ) -> list[Vector]:
        answer = await self.encoder.Encode(encoder_pb2.EncodeRequest(texts=texts, tier=tier), metadata=metadata)
        return [np.frombuffer(one.values, np.float32) for one in answer.vectors]
