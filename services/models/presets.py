"""Providers that are well known: where they are found and which wire they speak, when an entry does not say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    base_url: str = ""
    """Empty where every customer has their own."""
    wire: str = "openai"
    completions: bool = False
    """Whether all of its models go on from a text by `/completions`."""
    searches: frozenset[str] = frozenset()
    """The wires over which all of its models search the web, where they are asked to."""


PRESETS = {
    "openai": Preset("https://api.openai.com/v1", searches=frozenset({"responses"})),
    "azure": Preset(searches=frozenset({"responses"})),
    "groq": Preset("https://api.groq.com/openai/v1"),
    "jina": Preset("https://api.jina.ai/v1"),
    "mistral": Preset("https://api.mistral.ai/v1"),
    "together": Preset("https://api.together.xyz/v1", completions=True),
    "openrouter": Preset("https://openrouter.ai/api/v1", completions=True),
    "deepseek": Preset("https://api.deepseek.com/v1"),
    "ollama": Preset("http://127.0.0.1:11434/v1", completions=True),
    "vllm": Preset("http://127.0.0.1:8000/v1", completions=True),
    "tgi": Preset("http://127.0.0.1:3000/v1", completions=True),
    "anthropic": Preset("https://api.anthropic.com/v1", "anthropic", searches=frozenset({"anthropic"})),
    "google": Preset("https://generativelanguage.googleapis.com/v1beta", "gemini", searches=frozenset({"gemini"})),
    "bedrock": Preset(wire="bedrock"),
    "vertex": Preset(wire="vertex", searches=frozenset({"vertex"})),
}
