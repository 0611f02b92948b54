"""The log of changes: each entry holds the hash of the one before, so that none can be altered or taken out unseen. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.registry.versions import Actor, Label, Review, Version, canonical

GENESIS = "0" * 64
"""What the first entry of a log has for the hash before."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened, before it is an entry."""

    tenant: str
    actor: Actor
    at: datetime
    action: str
    """`version.propose`, `label.move`, ..."""
    target: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    sequence: int
    json: str
    hash: str


class Broken(Exception):
    """The log is not as it was written."""


def entry(change: Change, sequence: int, previous: str) -> Entry:
    """The entry after the one whose hash is `previous`."""
    said = canonical(
        {
            "sequence": sequence,
            "at": change.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "tenant": change.tenant,
            "actor": change.actor.key_id,
            "account": change.actor.account,
            "action": change.action,
            "target": change.target,
            "before": change.before,
            "after": change.after,
            "previous": previous,
        }
    )
    return Entry(sequence, said.decode(), hashlib.sha256(said).hexdigest())


def verified(entries: Iterable[Entry], sequence: int = 0, previous: str = GENESIS) -> Entry | None:
    """Goes through `entries`, which follow the entry `sequence` whose hash is `previous`, and returns the last.

    Raises:
        Broken: names the first entry that was altered, or before which one is missing.
    """
    last = None
    for one in entries:
        sequence += 1
        if one.sequence != sequence:
            raise Broken(f"entry {sequence} is missing: {one.sequence} stands in its place")
        if hashlib.sha256(one.json.encode()).hexdigest() != one.hash:
            raise Broken(f"entry {sequence} was altered: its hash is not that of what it says")
        try:
            said = json.loads(one.json)
        except ValueError:
            raise Broken(f"entry {sequence} is not JSON") from None
        if not isinstance(said, dict) or said.get("previous") != previous or said.get("sequence") != sequence:
            raise Broken(f"entry {sequence} does not follow entry {sequence - 1}")
        previous, last = one.hash, one
    return last


def proposed(version: Version) -> Change:
    target = f"{version.name}@{version.number}"
    said = {"digest": version.digest, "kind": version.kind, "parent": version.parent, "why": version.why}
    return Change(version.tenant, version.author, version.created, "version.propose", target, None, said)


def reviewed(version: Version, review: Review, actor: Actor) -> Change:
    said = {"approved": review.approved, "note": review.note, "digest": version.digest}
    return Change(version.tenant, actor, review.at, "version.review", f"{version.name}@{version.number}", None, said)


def moved(before: Label | None, after: Label) -> Change:
    target = f"{after.name}@{after.label}"
    was = _label(before) if before is not None else None
    said = {**_label(after), "why": after.why}
    return Change(after.tenant, after.moved_by, after.moved, "label.move", target, was, said)


def dropped(before: Label, actor: Actor, at: datetime) -> Change:
    target = f"{before.name}@{before.label}"
    return Change(before.tenant, actor, at, "label.delete", target, _label(before), None)


def _label(label: Label) -> dict[str, Any]:
    said: dict[str, Any] = {"number": label.number, "revision": label.revision}
    if label.rollout is not None:
        said |= {"candidate": label.rollout.candidate, "share": label.rollout.share}
    return said
