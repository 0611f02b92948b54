"""Versions and labels for tests of the registry."""

from datetime import UTC, datetime
from typing import Any

from services.registry.rollouts import Rollout
from services.registry.versions import Actor, Label, Version

ANN, BEN = Actor("key_ann", "acme/search"), Actor("key_ben", "acme/search")
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def template(*texts: str, variables: tuple[Any, ...] = (), **more: Any) -> dict[str, Any]:
    """A template's content: system texts, and its variables by name or whole."""
    return {
        "template": {
            "variables": [{"name": one} if isinstance(one, str) else one for one in variables],
            "turns": [{"text": {"role": "system", "text": text}} for text in texts],
            **more,
        }
    }


def snippet(text: str) -> dict[str, Any]:
    return {"snippet": {"text": text}}


def version(content: dict[str, Any], name: str = "support/answer", **more: Any) -> Version:
    said: dict[str, Any] = {"tenant": "acme", "number": 0, "author": ANN, "created": NOW, **more}
    return Version(name=name, kind=next(iter(content)), content=content, **said)


def label(number: int = 1, revision: int = 0, rollout: Rollout | None = None, **more: Any) -> Label:
    said: dict[str, Any] = {"tenant": "acme", "name": "support/answer", "label": "production", "moved_by": ANN, **more}
    return Label(number=number, revision=revision, rollout=rollout, moved=said.pop("moved", NOW), **said)
