"""What answers need of the registry, kept in mind: versions for good, labels for a second, and longer while the database is away."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from services.registry.rendering import MOST_DEPTH, Compiled, ContentUnfit
from services.registry.store import Store
from services.registry.versions import (
    ArtifactUnknown,
    Label,
    LabelUnknown,
    Reference,
    RegistryAway,
    Version,
    VersionUnknown,
)
from services.runtime.postgres import AWAY

K = TypeVar("K")
V = TypeVar("V")

FRESH_S = 1.0
"""How late a move of a label may bite."""
MOST_VERSIONS, MOST_LABELS, MOST_COMPILED = 4096, 65_536, 1024


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """
    Raises:
        RegistryAway: the database does not answer.
    """
    try:
        yield
    except (*AWAY, TimeoutError) as error:
        raise RegistryAway from error


@dataclass(slots=True)
class Shelf:
    store: Store
    _versions: OrderedDict[tuple[str, str, int], Version] = field(default_factory=OrderedDict)
    _labels: OrderedDict[tuple[str, str, str], tuple[float, Label]] = field(default_factory=OrderedDict)
    _compiled: OrderedDict[tuple[str, str], Compiled] = field(default_factory=OrderedDict)

    async def label(self, tenant: str, name: str, label: str) -> Label:
        """
        Raises:
            LabelUnknown, ArtifactUnknown, RegistryAway
        """
        key, now = (tenant, name, label), time.monotonic()
        read, known = self._labels.get(key, (0.0, None))
        if known is not None and now - read < FRESH_S:
            return known
        try:
            async with reached():
                found = await self.store.label(*key)
                if found is None and not await self.store.versions(tenant, name, 0, 1):
                    raise ArtifactUnknown(name=name)
        except RegistryAway:
            if known is None:
                raise
            return known
        if found is None:
            self._labels.pop(key, None)
            raise LabelUnknown(name=name, label=label)
        _put(self._labels, key, (now, found), MOST_LABELS)
        return found

    async def version(self, tenant: str, name: str, number: int) -> Version:
        """What it says; its reviews may be behind.

        Raises:
            VersionUnknown, RegistryAway
        """
        key = (tenant, name, number)
        if (known := self._versions.get(key)) is not None:
            return known
        async with reached():
            found = await self.store.version(*key)
        if found is None:
            raise VersionUnknown(name=name, version=number)
        _put(self._versions, key, found, MOST_VERSIONS)
        return found

    def forget(self, tenant: str) -> None:
        kept: tuple[OrderedDict[Any, Any], ...] = (self._versions, self._labels, self._compiled)
        for one in kept:
            for key in [key for key in one if key[0] == tenant]:
                del one[key]

    async def found(self, tenant: str, wanted: Reference) -> Version:
        """The version that `wanted` names, a label's stable one.

        Raises:
            ArtifactUnknown, LabelUnknown, VersionUnknown, RegistryAway
        """
        if wanted.label:
            return await self.version(tenant, wanted.name, (await self.label(tenant, wanted.name, wanted.label)).number)
        if wanted.number:
            return await self.version(tenant, wanted.name, wanted.number)
        async with reached():
            found = await self.store.digested(tenant, wanted.name, wanted.digest)
        if found is None:
            raise VersionUnknown(name=wanted.name, version=wanted.digest)
        return found

    async def compiled(self, version: Version) -> Compiled:
        """
        Raises:
            ContentUnfit, RegistryAway
        """
        key = (version.tenant, version.digest)
        if (known := self._compiled.get(key)) is not None:
            return known
        made = Compiled(version, await self.texts(version))
        _put(self._compiled, key, made, MOST_COMPILED)
        return made

    async def texts(self, version: Version) -> dict[str, Version]:
        """All that a version includes, by digest.

        Raises:
            ContentUnfit: they include one another too deeply.
        """
        texts: dict[str, Version] = {}
        level = [version]
        for _ in range(MOST_DEPTH):
            wanted = {(said, key) for one in level for said, key in one.includes.items() if key not in texts}
            level = []
            for said, key in sorted(wanted):
                async with reached():
                    found = await self.store.digested(version.tenant, said.partition("@")[0], key)
                if found is None:
                    raise VersionUnknown(name=said, version=key)
                texts[key] = found
                level.append(found)
            if not level:
                return texts
        raise ContentUnfit(place="include", rule=f"texts include one another more than {MOST_DEPTH} deep")


def _put(into: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    into[key] = value
    into.move_to_end(key)
    while len(into) > most:
        into.popitem(last=False)
