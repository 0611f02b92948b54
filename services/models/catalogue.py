"""The models there are: one entry each, from settings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.models.faults import ModelUnknown

PRESETS = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "together": "https://api.together.xyz/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "tgi": "http://127.0.0.1:3000/v1",
}
"""Where well-known providers are found when an entry names no base URL."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. `provider` and `model` are the names that prices go by."""

    model: str
    """The provider's name for it."""
    provider: str = "openai"
    wire: str = "openai"
    """`openai`, `anthropic` or `local`."""
    base_url: str = ""
    key: str = field(default="", repr=False)
    """`env:NAME` or `file:PATH`; anything else is the secret itself."""
    context_tokens: int = 128_000
    max_output_tokens: int = 4096
    tools: bool = True
    vision: bool = False
    json_schema: bool = True
    embeddings: bool = False
    quality: float = 0.5
    """Prior chance of a good answer, 0 to 1, until outcomes say more."""
    concurrency: int = 256
    """Calls under way at once; past that a call goes to the next candidate or is refused."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    """Sampling for requests that say nothing of it, such as `temperature: 0.2`."""
    first_byte_s: float = 60.0
    """How long the provider may stay silent."""

    @property
    def url(self) -> str:
        return (self.base_url or PRESETS.get(self.provider, "")).rstrip("/")

    def secret(self) -> str:
        """The key that the entry refers to; read at each use, so that a rotated file needs no restart."""
        kind, _, where = self.key.partition(":")
        if kind == "env":
            return os.environ.get(where, "")
        if kind == "file":
            return Path(where).read_text().strip()
        return self.key


@dataclass(frozen=True, slots=True)
class Catalogue:
    entries: Mapping[str, Entry]

    def entry(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            ModelUnknown: there is none.
        """
        if (found := self.entries.get(name)) is None:
            raise ModelUnknown(model=name)
        return found
