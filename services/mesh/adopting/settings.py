"""What comes out of another gateway's file, and the places that models are found at."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

MILLION = Decimal(1_000_000)
NOTHING = "no counterpart"
WEIGHTS = "the less busy of a model's deployments is asked, whatever its weight"
THRESHOLD = "another model's; `near` is 0.6 here: `tollway route explain TEXT` tells how near a text comes"
ENTRA = "entra"
ENTRA_INSTEAD = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET where Tollway runs, or let `key` be their JSON: docs/models.md"
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_k", "min_p", "repetition_penalty")
ELSEWHERE = {
    "cerebras": "https://api.cerebras.ai/v1",
    "cohere": "https://api.cohere.ai/compatibility/v1",
    "deepinfra": "https://api.deepinfra.com/v1/openai",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "nvidia": "https://integrate.api.nvidia.com/v1",
    "perplexity": "https://api.perplexity.ai",
    "sambanova": "https://api.sambanova.ai/v1",
    "xai": "https://api.x.ai/v1",
}
"""Providers that speak OpenAI's wire, and are no presets."""
RANKERS = {"cohere": "https://api.cohere.com/v2"}
"""Where those among them rank texts who do so at another address."""
KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "google": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "jina": "JINA_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "perplexity": "PERPLEXITY_API_KEY",
    "sambanova": "SAMBANOVA_API_KEY",
    "together": "TOGETHER_API_KEY",
    "xai": "XAI_API_KEY",
}
"""The variables in which keys usually stand."""


@dataclass(frozen=True, slots=True)
class Left:
    """What has no place in the settings: where it stood, and what to do instead."""

    where: str
    instead: str


@dataclass(slots=True)
class Adopted:
    catalogue: dict[str, dict[str, Any]] = field(default_factory=dict)
    prices: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further sections."""
    left: list[Left] = field(default_factory=list)

    def leave(self, where: str, instead: str) -> None:
        self.left.append(Left(where, instead))

    @property
    def policy(self) -> dict[str, Any]:
        """The router's, of all tenants: to be written into."""
        made: dict[str, Any] = self.others.setdefault("router", {"policies": {"*": {}}})["policies"]["*"]
        return made

    def follow(self, name: str, others: Iterable[str]) -> None:
        """They answer, in their order, when `name` cannot."""
        known = self.policy.setdefault("fallbacks", {}).setdefault(name, [])
        known += [one for one in dict.fromkeys(others) if one not in known]

    def settings(self) -> dict[str, Any]:
        """One file: a section a service."""
        made: dict[str, Any] = {"models": {"catalogue": {name: flat(one) for name, one in self.catalogue.items()}}}
        if self.prices:
            made["ledger"] = {"prices": self.prices}
        return {**made, **self.others}


def flat(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with one deployment says all of it by itself; of several, each says what is its own."""
    model, places = entry["model"], entry["deployments"]
    bare = {name: value for name, value in entry.items() if name != "deployments"}
    if len(places) > 1:
        own = [{name: value for name, value in one.items() if (name, value) != ("model", model)} for one in places]
        return {**bare, "deployments": own}
    place = dict(places[0])
    keys, there = place.pop("keys", [""]), place.pop("model", model)
    if there != model:  # its price goes by another name than the deployment has
        place["deployments"] = [{"model": there}]
    return {**bare, **({"key": keys[0]} if keys[0] else {}), **place}


class BadFile(Exception):
    """It is not what it is said to be."""


def of_yaml(text: str, read: Callable[[str], Any] = yaml.safe_load) -> Any:
    """
    Raises:
        BadFile
    """
    try:
        return read(text)
    except yaml.YAMLError as error:
        raise BadFile(f"it is no YAML: {error}") from None


def base_url(provider: str, said: str) -> str:
    """Where the provider is found: '' where Tollway knows it."""
    return said.rstrip("/") or ELSEWHERE.get(provider, "")


def usual_key(provider: str) -> str:
    return f"env:{KEYS[provider]}" if provider in KEYS else ""


def name_of(said: str) -> str:
    """A model's name as catalogues take it."""
    return re.sub(r"[^\w./:@+-]", "-", said)


def a_million(cost: object) -> str:
    """Dollars a million tokens, of what one costs."""
    return format((Decimal(str(cost)) * MILLION).normalize(), "f")


def present(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "")}


def sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a model is asked with where a request does not say."""
    return present({name: params.get(name) for name in SAMPLING})
