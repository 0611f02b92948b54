"""Artifacts of the registry as files of a folder, a file each: what people keep in Git."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import diffing, documents
from services.registry.rendering import included
from services.runtime.errors import Failure

KINDS = ("snippet", "configuration", "template", "dataset")
KNOWN = {"name", "owner", "labels", *KINDS}


class BadFile(Exception):
    """Says which, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file: what it is called, what it says, and which labels point at it."""

    file: Path
    name: str
    owner: str
    labels: tuple[str, ...]
    content: pb.Content

    @property
    def document(self) -> dict[str, Any]:
        return documents.document(self.content)

    @property
    def needs(self) -> set[str]:
        """Names of what must be there before it."""
        said = self.document
        configuration = said.get("template", {}).get("configuration", "")
        return {one.partition("@")[0] for one in (*included(said), configuration) if one}


def read(folder: Path) -> list[Artifact]:
    """The artifacts of a folder and of those in it, each after what it needs.

    Raises:
        BadFile
    """
    found: dict[str, Artifact] = {}
    for file in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
        made = _read(file, str(file.relative_to(folder).with_suffix("")))
        if made.name in found:
            raise BadFile(f"{file}: {found[made.name].file} is {made.name}, too")
        found[made.name] = made
    try:
        order = TopologicalSorter({name: made.needs & found.keys() for name, made in found.items()}).static_order()
        return [found[name] for name in order]
    except CycleError as error:
        raise BadFile(f"they include one another: {' > '.join(error.args[1])}") from None


def written(made: pb.Version, labels: list[str]) -> str:
    """A version as a file says it."""
    head = {
        "name": made.name,
        **({"owner": made.owner} if made.owner else {}),
        **({"labels": labels} if labels else {}),
    }
    return diffing.shown({**head, **documents.document(made.content)})


def _read(file: Path, name: str) -> Artifact:
    try:
        said = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadFile(f"{file}: {error}") from None
    if not isinstance(said, Mapping):
        raise BadFile(f"{file}: not a mapping")
    if unknown := [str(one) for one in said if one not in KNOWN]:
        raise BadFile(f"{file}: {unknown[0]}: unknown; there are {', '.join(sorted(KNOWN))}")
    kinds = [one for one in KINDS if one in said]
    if len(kinds) != 1:
        raise BadFile(f"{file}: one of {', '.join(KINDS)} is needed, and only one")
    content = pb.Content()
    try:
        documents.read({kinds[0]: said[kinds[0]]}, content)
    except Failure as error:
        raise BadFile(f"{file}: {error}") from None
    return Artifact(file, str(said.get("name", name)), str(said.get("owner", "")), tuple(_labels(file, said)), content)


def _labels(file: Path, said: Mapping[str, Any]) -> Iterator[str]:
    labels = said.get("labels") or []
    if not isinstance(labels, list):
        raise BadFile(f"{file}: labels: not a list")
    yield from map(str, labels)
