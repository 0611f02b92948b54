"""What stands in the tables, as versions and labels, and back."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from services.registry.rollouts import Rollout, Rules
from services.registry.versions import Actor, Label, Review, Version


def version(row: asyncpg.Record, reviews: Iterable[asyncpg.Record]) -> Version:
    return Version(
        tenant=row["tenant"],
        name=row["name"],
        number=row["number"],
        kind=row["kind"],
        content=json.loads(row["content"]),
        author=Actor(row["author"], row["account"]),
        created=row["created"],
        parent=row["parent"],
        owner=row["owner"],
        why=row["why"],
        includes=json.loads(row["includes"]),
        reviews=tuple(Review(one["reviewer"], one["approved"], one["note"], one["at"]) for one in reviews),
    )


def label(row: asyncpg.Record) -> Label:
    return Label(
        tenant=row["tenant"],
        name=row["name"],
        label=row["label"],
        number=row["number"],
        revision=row["revision"],
        rollout=_rollout(json.loads(row["rollout"])) if row["rollout"] is not None else None,
        moved_by=Actor(row["moved_by"], row["account"]),
        moved=row["moved"],
        why=row["why"],
    )


def rollout(made: Rollout | None) -> str | None:
    """As JSON."""
    if made is None:
        return None
    rules = made.rules
    return json.dumps(
        {
            "candidate": made.candidate,
            "share": made.share,
            "began": made.began,
            "step_began": made.step_began.isoformat() if made.step_began is not None else None,
            "step_from": made.step_from,
            "ramp": rules.ramp,
            "step_s": rules.step.total_seconds(),
            "step_answers": rules.step_answers,
            "most_failures": rules.most_failures,
            "slowest": rules.slowest,
            "promote": rules.promote,
        }
    )


def _rollout(said: Mapping[str, Any]) -> Rollout:
    began = said["step_began"]
    return Rollout(
        candidate=said["candidate"],
        share=said["share"],
        rules=Rules(
            ramp=tuple(said["ramp"]),
            step=timedelta(seconds=said["step_s"]),
            step_answers=said["step_answers"],
            most_failures=said["most_failures"],
            slowest=said["slowest"],
            promote=said["promote"],
        ),
        began=said["began"],
        step_began=datetime.fromisoformat(began) if began is not None else None,
        step_from=said["step_from"],
    )
