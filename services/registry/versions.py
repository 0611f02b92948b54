"""What the registry keeps: versions that never change, labels that name one of them. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.registry.rollouts import Rollout
from services.runtime.errors import Failure, Kind

DEFAULT_LABEL = "production"
SHORTEST_DIGEST = 12
MOST_LABELS = 100
DIGEST = "sha256:"
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._/-]{0,127})"
    r"(?:@(?:(?P<number>[1-9][0-9]{0,8})|(?P<digest>sha256:[0-9a-f]{12,64})|(?P<label>[a-z][a-z0-9_-]{0,63})))?"
)


class ArtifactUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "ARTIFACT_UNKNOWN"
    text = "there is no artifact {name}"


class VersionUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "VERSION_UNKNOWN"
    text = "{name} has no version {version}"


class LabelUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "LABEL_UNKNOWN"
    text = "{name} has no label {label}"


class ReferenceUnfit(Failure):
    kind, reason = Kind.INVALID, "REFERENCE_UNFIT"
    text = "{reference} is not name, name@label, name@number or name@sha256:... with at least 12 digits"
    field = "reference"


class KindDiffers(Failure):
    kind, reason = Kind.PRECONDITION, "KIND_DIFFERS"
    text = "{name} is a {known}, not a {proposed}"


class LabelMoved(Failure):
    kind, reason = Kind.PRECONDITION, "LABEL_MOVED"
    text = "{name}@{label} stands at revision {revision}: somebody moved it since"
    field = "revision"


class TooManyLabels(Failure):
    kind, reason = Kind.PRECONDITION, "TOO_MANY_LABELS"
    text = "{name} has 100 labels already"


class NotApproved(Failure):
    kind, reason = Kind.PRECONDITION, "NOT_APPROVED"
    text = "{name}@{number} has {approvals} of the {needed} approvals that {label} asks for"


class VersionRejected(Failure):
    kind, reason = Kind.PRECONDITION, "VERSION_REJECTED"
    text = "{name}@{number} was rejected by {reviewer}"


class OwnProposal(Failure):
    kind, reason = Kind.DENIED, "OWN_PROPOSAL"
    text = "{name}@{number} was proposed by this key: a second person reviews it"


class RegistryAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "REGISTRY_AWAY"
    text = "the registry's database does not answer; try again soon"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something."""

    key_id: str
    account: str


RULES = Actor("rules", "")
"""Moves labels by itself."""


@dataclass(frozen=True, slots=True)
class Review:
    reviewer: str
    approved: bool
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    tenant: str
    name: str
    number: int
    """From 1; 0 before it is kept."""
    kind: str
    """`template`, `configuration` or `snippet`."""
    content: Mapping[str, Any] = field(repr=False)
    """As it stands in a file: JSON values alone."""
    author: Actor
    created: datetime
    parent: int = 0
    owner: str = ""
    why: str = ""
    includes: Mapping[str, str] = field(default_factory=dict)
    """The digest of each text that it includes, by the words of the include."""
    reviews: tuple[Review, ...] = ()
    digest: str = field(init=False)
    """`sha256:` of what it says, and of all that it includes."""

    def __post_init__(self) -> None:
        whole = canonical({"content": self.content, "includes": dict(self.includes)})
        object.__setattr__(self, "digest", DIGEST + hashlib.sha256(whole).hexdigest())


@dataclass(frozen=True, slots=True)
class Label:
    tenant: str
    name: str
    label: str
    number: int
    revision: int
    rollout: Rollout | None
    moved_by: Actor
    moved: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a request names: exactly one of `label`, `number` and `digest` is set."""

    name: str
    label: str = ""
    number: int = 0
    digest: str = ""


def reference(said: str) -> Reference:
    """
    Raises:
        ReferenceUnfit
    """
    found = _REFERENCE.fullmatch(said)
    if found is None:
        raise ReferenceUnfit(reference=said)
    number, digest_of, label = int(found["number"] or 0), found["digest"] or "", found["label"] or ""
    return Reference(found["name"], label or ("" if number or digest_of else DEFAULT_LABEL), number, digest_of)


def canonical(document: Any) -> bytes:
    """The one way to write a document: keys in order, no spaces, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def following(newest: Version | None, proposed: Version) -> Version:
    """`proposed` as the version after `newest`.

    Raises:
        KindDiffers, VersionUnknown
    """
    if newest is None:
        if proposed.parent:
            raise VersionUnknown(name=proposed.name, version=proposed.parent)
        return replace(proposed, number=1)
    if newest.kind != proposed.kind:
        raise KindDiffers(name=proposed.name, known=newest.kind, proposed=proposed.kind)
    if proposed.parent > newest.number:
        raise VersionUnknown(name=proposed.name, version=proposed.parent)
    return replace(proposed, number=newest.number + 1, parent=proposed.parent or newest.number)


def reviewed(version: Version, review: Review) -> Version:
    """With `review`, which stands for all that its reviewer said before.

    Raises:
        OwnProposal
    """
    if review.reviewer == version.author.key_id:
        raise OwnProposal(name=version.name, number=version.number)
    others = tuple(one for one in version.reviews if one.reviewer != review.reviewer)
    return replace(version, reviews=(*others, review))


def check_moved(version: Version, label: str, needed: int) -> None:
    """Whether `label` may be pointed at `version`, when it asks for `needed` approvals.

    Raises:
        VersionRejected, NotApproved
    """
    for one in version.reviews:
        if not one.approved:
            raise VersionRejected(name=version.name, number=version.number, reviewer=one.reviewer)
    if (count := sum(one.approved for one in version.reviews)) < needed:
        raise NotApproved(name=version.name, number=version.number, approvals=count, needed=needed, label=label)


def moved(standing: Label | None, wanted: Label) -> Label:
    """`wanted`, whose revision is the one its mover saw, as the label's next state.

    Raises:
        LabelMoved
    """
    revision = standing.revision if standing is not None else 0
    if wanted.revision != revision:
        raise LabelMoved(name=wanted.name, label=wanted.label, revision=revision)
    return replace(wanted, revision=revision + 1)
