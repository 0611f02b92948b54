"""All of retrieval but its transport, over a store and a catalogue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.retrieval.catalogue import Catalogue, MemoryCatalogue
from services.retrieval.collecting import Collecting
from services.retrieval.dense import MemoryModels, Models
from services.retrieval.documents import Document
from services.retrieval.encoding import Encoding
from services.retrieval.epochs import Epochs
from services.retrieval.following import Following
from services.retrieval.formats.aside import Aside
from services.retrieval.generations import Generation, Generations
from services.retrieval.ingest import Ingest, Partition
from services.retrieval.intake import Intake
from services.retrieval.memory import MemoryStore
from services.retrieval.migrating import Migrating
from services.retrieval.moves import MemoryMoves, Moves
from services.retrieval.screening import Screening
from services.retrieval.search import Search, Wish
from services.retrieval.service import RetrievalService
from services.retrieval.shelf import Shelf
from services.retrieval.sources import SourceSettings
from services.retrieval.sources.keeper import Keeper, keeper
from services.retrieval.store import EVERYBODY, Scope, Store
from tests.support.encoders import Encoder


@dataclass(slots=True)
class Whole:
    store: Store = field(default_factory=MemoryStore)
    catalogue: Catalogue = field(default_factory=MemoryCatalogue)
    sources: dict[str, SourceSettings] = field(default_factory=dict)
    screening: Screening | None = None
    partition: Partition = field(default_factory=Partition)
    others: dict[str, tuple[Store, Encoding]] = field(default_factory=dict)
    """Generations beside the first."""
    moves: Moves = field(default_factory=MemoryMoves)
    models: Models = field(default_factory=MemoryModels)
    encoder: Any = field(default_factory=Encoder)
    encoding: Encoding = field(init=False)
    epochs: Epochs = field(init=False)
    ingest: Ingest = field(init=False)
    intake: Intake = field(init=False)
    search: Search = field(init=False)
    following: Following = field(init=False)
    keeper: Keeper = field(init=False)
    generations: Generations = field(init=False)
    migrating: Migrating = field(init=False)

    def __post_init__(self) -> None:
        self.encoding, self.epochs = Encoding(self.encoder, "tw_key"), Epochs(self.catalogue)
        self.generations = Generations(Generation("first", self.store, self.encoding))
        self.ingest = Ingest(
            self.generations, self.catalogue, self.encoding, self.epochs, self.screening, self.partition
        )
        self.intake = Intake(self.ingest, self.catalogue, Aside(20.0))
        self.search = Search(self.generations)
        self.following = Following(self.generations, self.ingest.wake)
        self.keeper = keeper(self.sources, self.catalogue, self.intake, self.encoding.own)

        self.migrating = Migrating(
            self.generations, Shelf(self.opens), self.moves, self.models, self.catalogue, self.ingest.turns,
            frozenset({"first", *self.others}), self.following, followed_s=0.0,
        )  # fmt: skip

    @asynccontextmanager
    async def opens(self, name: str) -> AsyncIterator[Generation]:
        store, encoding = self.others[name]
        yield Generation(name, store, encoding)

    @property
    def service(self) -> RetrievalService:
        collecting = Collecting(self.ingest, self.catalogue)
        return RetrievalService(
            self.intake, self.search, self.catalogue, self.epochs, self.keeper, self.migrating, collecting
        )

    async def bring(self, name: str, text: str, **more: Any) -> str:
        facts = {"collection": "", "title": "", **more}
        return (await self.ingest.bring("acme", Document(id=name, text=text, **facts))).version

    async def found(self, query: str, **wish: Any) -> list[str]:
        """Texts of passages that everybody of the tenant finds."""
        ranked = await self.search.search(query, None, Scope("acme", "", (EVERYBODY,)), Wish(**wish))
        return [one.passage.text for one in ranked]

    async def ids(self, query: str, most: int = 100) -> list[str]:
        ranked = await self.search.search(query, None, Scope("acme", "", (EVERYBODY,)), Wish(most))
        return list(dict.fromkeys(one.passage.document_id for one in ranked))
