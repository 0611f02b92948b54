"""Clouds that give tokens for their models: their libraries come in with the first who asks, and what is made of a key is kept."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Generic, Protocol, TypeVar

from services.models.wires.adapter import Target

T = TypeVar("T")
MOST_KEPT = 64
"""Keys that something was made of; one that was rotated is forgotten when so many came after it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What opens the door."""

    headers: dict[str, str] = field(repr=False)
    project: str = ""
    """Whose bill it is, where the key tells."""


class Cloud(Protocol):
    async def access(self, target: Target) -> Access:
        """
        Raises:
            ProviderDenied: no credentials are found, or no token is given for them.
            ProviderAway: nobody can be asked for a token.
        """
        ...


@dataclass(slots=True)
class Door:
    """The cloud that `module` knows as `Here`. Its library takes a tenth of a second to come in."""

    module: str
    _cloud: Cloud | None = None

    async def access(self, target: Target) -> Access:
        if self._cloud is None:
            code = await asyncio.to_thread(import_module, self.module)
            self._cloud = self._cloud or code.Here()  # of all who waited, the first opens it
        return await self._cloud.access(target)


@dataclass(slots=True)
class ByKey(Generic[T]):
    """What `make`, which may ask the network, makes of a key; once for each."""

    make: Callable[[str], T]
    _made: dict[str, T] = field(default_factory=dict)

    async def of(self, key: str) -> T:
        name = hashlib.sha256(key.encode()).hexdigest()
        if (found := self._made.get(name)) is None:
            made = await asyncio.to_thread(self.make, key)
            found = self._made.setdefault(name, made)
            while len(self._made) > MOST_KEPT:
                del self._made[next(iter(self._made))]
        return found
