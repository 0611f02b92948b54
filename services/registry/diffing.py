"""How two versions differ, as people read it. Pure."""

import difflib
from collections.abc import Mapping
from typing import Any

import yaml

from services.registry.versions import Version


def shown(content: Mapping[str, Any]) -> str:
    """Content as YAML, texts of several lines as blocks."""
    return yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def diff(before: Version, after: Version) -> str:
    """A unified diff; empty when both say the same."""
    said = [{**one.content, **({"includes": dict(one.includes)} if one.includes else {})} for one in (before, after)]
    return unified(said[0], said[1], f"{before.name}@{before.number}", f"{after.name}@{after.number}")


def unified(before: Mapping[str, Any], after: Mapping[str, Any], old: str, new: str) -> str:
    """How two contents differ, under these names."""
    lines = [shown(one).splitlines(keepends=True) for one in (before, after)]
    return "".join(difflib.unified_diff(lines[0], lines[1], old, new))


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it reads."""


def _text(dumper: yaml.SafeDumper, said: str) -> yaml.ScalarNode:
    style = "|" if "\n" in said else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", said, style=style)


_Dumper.add_representer(str, _text)
