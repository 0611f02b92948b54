"""Models and MCP servers given in a word: `--model NAME=openai:MODEL@BASE_URL`, `--mcp NAME=URL`, and the keys that are in the environment."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from services.models.presets import PRESETS, Preset

USUAL: Mapping[str, tuple[tuple[str, float], ...]] = {
    "openai": (("gpt-4o", 0.85), ("gpt-4o-mini", 0.7)),
    "anthropic": (("claude-sonnet-4-5", 0.88), ("claude-haiku-4-5", 0.72)),
}
"""What a provider's key in the environment adds: models, and the prior chance that each answers well."""
ALL = {"prompts": True, "resources": True}
"""Of a server that is named in a word: everything that it has."""


class BadUpstream(Exception):
    """A model or a server that was not written as it should be."""


def servers(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Entries of `NAME=URL`, and of `NAME=COMMAND ARGUMENTS` for a server that is run here.

    Raises:
        BadUpstream: names the part at fault.
    """
    made: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not (name and equals and where.strip()):
            raise BadUpstream(f"--mcp {text}: not of the form NAME=URL or NAME=COMMAND")
        if where.startswith(("http://", "https://")):
            made[name] = {"url": where, **ALL}
            continue
        try:
            made[name] = {"command": shlex.split(where), **ALL}
        except ValueError as fault:
            raise BadUpstream(f"--mcp {text}: {fault}") from None
    return made


def spoken(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Catalogue entries of `NAME=PROVIDER:MODEL@BASE_URL`; the URL may be left out where the provider is well known.

    Raises:
        BadUpstream: names the part at fault.
    """
    made = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        provider, colon, where = rest.partition(":")
        model, _, url = where.rpartition("@") if "@" in where else (where, "", "")
        if not (name and equals and provider and colon and model):
            raise BadUpstream(f"--model {text}: not of the form NAME=PROVIDER:MODEL@BASE_URL")
        if not url and not PRESETS.get(provider, Preset()).base_url:
            raise BadUpstream(f"--model {text}: {provider} is not well known, so a base URL is needed: add @http://...")
        if url and not url.startswith(("http://", "https://")):
            raise BadUpstream(f"--model {text}: the base URL must begin with http:// or https://")
        # What it can do is not said: nothing is held back, and the provider refuses what it cannot.
        entry: dict[str, Any] = {
            "model": model,
            "provider": provider,
            "vision": True,
        }
        if url:
            entry["base_url"] = url
        if provider in USUAL:
            entry["key"] = f"env:{provider.upper()}_API_KEY"
        made[name] = entry
    return made


def found(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Entries for the providers whose keys are in `environ`."""
    made = {}
    for provider, models in USUAL.items():
        if not environ.get(f"{provider.upper()}_API_KEY"):
            continue
        for name, quality in models:
            made[name] = {
                "model": name,
                "provider": provider,
                "key": f"env:{provider.upper()}_API_KEY",
                "quality": quality,
                "vision": True,
            }
            if url := environ.get(f"{provider.upper()}_BASE_URL"):
                made[name]["base_url"] = url
    return made
