"""A store for tests: the same promises, kept until the process ends."""

from collections.abc import Sequence

from msgspec.structs import replace

from services.cache.forms import form
from services.cache.store import Entry, Hopeful, Selection, Vector


class MemoryStore:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    async def get(self, entry_id: str) -> Entry | None:
        return self._entries.get(entry_id)

    async def nearest(
        self, scope: str, vector: Vector, most: int, least: float, hopes: Hopeful | None = None
    ) -> Sequence[tuple[Entry, float]]:
        scored = [
            (entry, float(entry.vector @ vector))
            for entry in self._entries.values()
            if entry.scope == scope and entry.vector is not None
        ]
        found = sorted((one for one in scored if one[1] >= least), key=lambda one: -one[1])[:most]
        if found and hopes is not None and not hopes([(form(entry.text), cosine) for entry, cosine in found]):
            return []
        return found

    async def put(self, entry: Entry) -> None:
        self._entries[entry.id] = entry

    async def drop(self, selection: Selection) -> int:
        gone = [entry.id for entry in self._entries.values() if selection.holds(entry)]
        await self.remove(gone)
        return len(gone)

    async def remove(self, ids: Sequence[str]) -> None:
        for one in ids:
            self._entries.pop(one, None)

    async def oldest(self, most: int) -> Sequence[Entry]:
        by_age = sorted(self._entries.values(), key=lambda entry: entry.stored)
        return [replace(entry, vector=None) for entry in by_age[:most]]

    async def count(self) -> int:
        return len(self._entries)
