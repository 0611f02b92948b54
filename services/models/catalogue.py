"""The models there are: one entry each, from settings, and the deployments that answer for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.models.faults import ModelUnknown
from services.models.presets import PRESETS, Preset

OVER = frozenset({"openai", "local"})
"""Wires that have a path for texts without roles."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place where a model answers. What it leaves empty is the entry's."""

    model: str = ""
    """Its name there: an Azure deployment, a Bedrock inference profile."""
    base_url: str = ""
    region: str = ""
    project: str = ""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """References as in `Entry.key`; each is used within its own rate limits."""
    concurrency: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. `provider` and `model` are the names that prices go by."""

    model: str
    """The provider's name for it."""
    provider: str = "openai"
    wire: str = ""
    """`openai`, `responses`, `anthropic`, `gemini`, `bedrock`, `vertex` or `local`; empty takes the provider's usual one."""
    base_url: str = ""
    region: str = ""
    """Where it runs, such as `eu-central-1`: Bedrock and Vertex are asked there, and the router may keep data to a region."""
    project: str = ""
    """Google Cloud's, that Vertex bills; empty takes the one that its key belongs to."""
    api_version: str = ""
    """Azure's `api-version`, for its older paths; empty uses its `v1` path."""
    key: str = field(default="", repr=False)
    """`env:NAME`, `file:PATH` or `vault:PATH#FIELD`; anything else is the secret itself."""
    deployments: tuple[Deployment, ...] = ()
    """Where it answers, when that is more than one place or key. The less busy of two goes first."""
    context_tokens: int = 128_000
    max_output_tokens: int = 4096
    tools: bool = True
    vision: bool = False
    json_schema: bool = True
    web_search: bool | None = None
    """Its provider searches the web, where a request asks for that; left out, as the provider usually does."""
    thinks: bool | None = None
    """Is told how hard to think, where a request says it; left out, by its name where its provider refuses that of others."""
    embeddings: bool = False
    rerank: bool = False
    """Ranks texts, by the provider's `/rerank`, as Cohere, Jina and vLLM have it; it does nothing else."""
    moderation: bool = False
    """Judges texts by categories of harm, by the provider's `/moderations`, as OpenAI and Mistral have it; it does nothing else."""
    image_tokens: int = 0
    """Makes pictures, by the provider's `/images/generations`, and does nothing else: the most tokens that one is billed for, or those that
    stand for one where the provider tells none."""
    second_tokens: int = 0
    """Writes down speech, by the provider's `/audio/transcriptions`, and does nothing else: the most tokens, in and out each, that a second is
    billed for, or those in that stand for one where the provider tells seconds."""
    character_tokens: int = 0
    """Speaks texts, by the provider's `/audio/speech`, and does nothing else: the most tokens that the sound of a character is billed for, or
    those that stand for one where the provider tells none."""
    speech_events: bool = False
    """Ask for speech as events, in which the provider tells what it bills: OpenAI's do, but for `tts-1` and `tts-1-hd`."""
    realtime: bool = False
    """Hears, reads, speaks and writes in sessions, by the provider's `/realtime`, as OpenAI and Azure have it; it does nothing else."""
    completions: bool | None = None
    """Goes on from a text as it is, by the provider's `/completions`; left out, as the provider usually does."""
    quality: float = 0.5
    """Prior chance of a good answer, 0 to 1, until outcomes say more."""
    concurrency: int = 256
    """The most calls under way at once at one deployment; it bears fewer while it fails under them."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    """Sampling for requests that say nothing of it, such as `temperature: 0.2`."""
    first_byte_s: float = 60.0
    """How long the provider may stay silent."""
    hedge: bool = False
    """Ask a second deployment when the first is slower than 95 in 100 calls were; one in twenty calls at most."""
    take_up: bool = False
    """Let another deployment go on with a stream that broke, from where it broke. Otherwise it ends with an error."""

    @property
    def preset(self) -> Preset:
        return PRESETS.get(self.provider, Preset())

    @property
    def spoken(self) -> str:
        """The wire it is spoken to with."""
        return self.wire or self.preset.wire

    @property
    def goes_on(self) -> bool:
        """Whether it has a path for texts without roles."""
        said = self.preset.completions if self.completions is None else self.completions
        return said and self.spoken in OVER

    @property
    def searches(self) -> bool:
        """Whether its provider searches the web for it."""
        return self.spoken in self.preset.searches if self.web_search is None else self.web_search

    @property
    def places(self) -> tuple[Deployment, ...]:
        """Its deployments, each with all of its own said."""
        return tuple(
            Deployment(
                one.model or self.model,
                (one.base_url or self.base_url or self.preset.base_url).rstrip("/"),
                one.region or self.region,
                one.project or self.project,
                one.keys or (self.key,),
                one.concurrency or self.concurrency,
            )
            for one in self.deployments or (Deployment(),)
        )

    @property
    def most_calls(self) -> int:
        """Calls that one answer may be billed for."""
        return 1 + self.hedge + self.take_up


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
