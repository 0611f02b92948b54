"""The registry in a dictionary: for tests and for simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.registry import audit, versions
from services.registry.audit import Change, Entry
from services.registry.rollouts import Tally
from services.registry.store import Artifact
from services.registry.versions import Actor, Label, LabelUnknown, Review, TooManyLabels, Version, VersionUnknown


@dataclass(slots=True)
class MemoryStore:
    kept: dict[tuple[str, str], list[Version]] = field(default_factory=dict)
    standing: dict[tuple[str, str, str], Label] = field(default_factory=dict)
    counted: dict[tuple[str, str, str, int], dict[int, Tally]] = field(default_factory=dict)
    log: dict[str, list[Entry]] = field(default_factory=dict)

    async def propose(self, version: Version) -> tuple[Version, bool]:
        known = self.kept.setdefault((version.tenant, version.name), [])
        for one in known:
            if one.digest == version.digest and one.kind == version.kind:
                return one, False
        made = versions.following(known[-1] if known else None, version)
        known.append(made)
        self._logged(audit.proposed(made))
        return made, True

    async def review(self, tenant: str, name: str, number: int, review: Review, actor: Actor) -> Version:
        found = await self.version(tenant, name, number)
        if found is None:
            raise VersionUnknown(name=name, version=number)
        made = versions.reviewed(found, review)
        self.kept[tenant, name][number - 1] = made
        self._logged(audit.reviewed(made, review, actor))
        return made

    async def version(self, tenant: str, name: str, number: int) -> Version | None:
        known = self.kept.get((tenant, name), [])
        return known[number - 1] if 0 < number <= len(known) else None

    async def digested(self, tenant: str, name: str, digest: str) -> Version | None:
        known = self.kept.get((tenant, name), [])
        return next((one for one in known if one.digest.startswith(digest)), None)

    async def versions(self, tenant: str, name: str, below: int, most: int) -> list[Version]:
        known = self.kept.get((tenant, name), [])
        return [one for one in reversed(known) if not below or one.number < below][:most]

    async def artifacts(self, tenant: str, kind: str, after: str, most: int) -> list[Artifact]:
        found = sorted((name, known[-1]) for (owner, name), known in self.kept.items() if owner == tenant and known)
        return [
            Artifact(name, newest.kind, newest.number, tuple(await self.labels(tenant, name)))
            for name, newest in found
            if name > after and kind in ("", newest.kind)
        ][:most]

    async def label(self, tenant: str, name: str, label: str) -> Label | None:
        return self.standing.get((tenant, name, label))

    async def labels(self, tenant: str, name: str) -> list[Label]:
        return [self.standing[key] for key in sorted(self.standing) if key[:2] == (tenant, name)]

    async def move(self, label: Label) -> Label:
        key = (label.tenant, label.name, label.label)
        before = self.standing.get(key)
        made = versions.moved(before, label)
        if before is None and len(await self.labels(label.tenant, label.name)) >= versions.MOST_LABELS:
            raise TooManyLabels(name=label.name)
        self.standing[key] = made
        self._logged(audit.moved(before, made))
        return made

    async def drop(self, tenant: str, name: str, label: str, revision: int, actor: Actor, at: datetime) -> None:
        before = self.standing.get((tenant, name, label))
        if before is None:
            raise LabelUnknown(name=name, label=label)
        versions.moved(before, replace(before, revision=revision))
        del self.standing[tenant, name, label]
        for key in [one for one in self.counted if one[:3] == (tenant, name, label)]:
            del self.counted[key]
        self._logged(audit.dropped(before, actor, at))

    async def tally(self, label: Label, more: Mapping[int, Tally]) -> dict[int, Tally]:
        began = label.rollout.began if label.rollout is not None else 0
        counted = self.counted.setdefault((label.tenant, label.name, label.label, began), {})
        for number, one in more.items():
            counted[number] = counted.get(number, Tally()) + one
        return dict(counted)

    async def append(self, change: Change) -> None:
        self._logged(change)

    async def audited(self, tenant: str, after: int, most: int) -> list[Entry]:
        return self.log.get(tenant, [])[after : after + most]

    def _logged(self, change: Change) -> None:
        known = self.log.setdefault(change.tenant, [])
        known.append(audit.entry(change, len(known) + 1, known[-1].hash if known else audit.GENESIS))
