"""What the registry needs of a store. Each change is written with its entry in the audit log, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.registry.audit import Change, Entry
from services.registry.rollouts import Tally
from services.registry.versions import Actor, Label, Review, Version


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    kind: str
    newest: int
    labels: tuple[Label, ...] = ()


class Store(Protocol):
    async def propose(self, version: Version) -> tuple[Version, bool]:
        """Keeps it as the next version of its name; content that is there already gives what it was kept as, and False.

        Raises:
            KindDiffers, VersionUnknown
        """
        ...

    async def review(self, tenant: str, name: str, number: int, review: Review, actor: Actor) -> Version:
        """
        Raises:
            VersionUnknown, OwnProposal
        """
        ...

    async def version(self, tenant: str, name: str, number: int) -> Version | None: ...

    async def digested(self, tenant: str, name: str, digest: str) -> Version | None:
        """The version whose digest begins with `digest`."""
        ...

    async def versions(self, tenant: str, name: str, below: int, most: int) -> list[Version]:
        """The newest first, those under `below` alone; 0 for all."""
        ...

    async def artifacts(self, tenant: str, kind: str, after: str, most: int) -> list[Artifact]:
        """By name, with their labels."""
        ...

    async def label(self, tenant: str, name: str, label: str) -> Label | None: ...

    async def labels(self, tenant: str, name: str) -> list[Label]:
        """By name."""
        ...

    async def move(self, label: Label) -> Label:
        """Its revision is the one that its mover saw.

        Raises:
            LabelMoved, TooManyLabels
        """
        ...

    async def drop(self, tenant: str, name: str, label: str, revision: int, actor: Actor, at: datetime) -> None:
        """
        Raises:
            LabelUnknown, LabelMoved
        """
        ...

    async def tally(self, label: Label, more: Mapping[int, Tally]) -> dict[int, Tally]:
        """Adds what is known of each version's answers to what is counted for the label's rollout; all of it then."""
        ...

    async def append(self, change: Change) -> None:
        """A change that was made elsewhere."""
        ...

    async def audited(self, tenant: str, after: int, most: int) -> list[Entry]:
        """The oldest first."""
        ...
