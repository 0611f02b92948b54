"""Facts of documents as the command line says them: `lang=en` of one that is brought; `year>=2020`, `lang=en|de`, `lang!=en` of what
must hold."""

import re
from collections.abc import Iterable
from typing import Any

from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.mesh.screen import fail

SAID = re.compile(r"([^=!<>]+)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def facts(said: Iterable[str]) -> dict[str, str]:
    """By name."""
    made = {}
    for one in said:
        name, sign, value = _parted(one)
        if sign != "=":
            fail(f"a document has a fact as NAME=VALUE: {one}")
        made[name] = value
    return made


def required(said: Iterable[str]) -> pb.Where | None:
    """What must hold, all of it; None where nothing is said."""
    parts = [_where(one) for one in said]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else pb.Where(all=pb.Where.Several(parts=parts))


def _where(said: str) -> pb.Where:
    name, sign, value = _parted(said)
    if sign not in BOUNDS:
        return pb.Where(fact=pb.Where.Fact(name=name, values=value.split("|"), none=sign == "!="))
    try:
        bound: Any = {BOUNDS[sign]: float(value)}
    except ValueError:
        fail(f"{sign} asks for a number: {said}")
    return pb.Where(number=pb.Where.Number(name=name, **bound))


def _parted(said: str) -> tuple[str, str, str]:
    if (found := SAID.fullmatch(said)) is None:
        fail(f"say NAME=VALUE, NAME!=VALUE, or NAME>NUMBER and the like: {said}")
    name, sign, value = found.groups()
    return name.strip(), sign, value.strip()
