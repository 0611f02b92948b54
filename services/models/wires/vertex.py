"""Google Cloud's Vertex AI: Gemini, Claude and open models, each on the wire of its maker, at addresses of Google's."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.counting import Counter
from services.models.thoughts import Thoughts
from services.models.wires import http
from services.models.wires.adapter import Adapter, Embedded, Target
from services.models.wires.anthropic import Anthropic
from services.models.wires.clouds import Door
from services.models.wires.form import Form
from services.models.wires.gemini import Gemini
from services.models.wires.http import Posting
from services.models.wires.openai import OpenAI

VERSION = "vertex-2023-10-16"
"""Anthropic's wire as Google passes it on."""
CLAUDE = "claude"
ANYWHERE = "global"
"""Google chooses the region."""
TOGETHER = frozenset({"us", "eu"})
"""Locations that are several regions."""
MOST_TEXTS = 250
ONE_BY_ONE = "gemini-embedding"
"""Models that take one text a call."""


@dataclass(slots=True)
class Vertex:
    """The model's name says who made it: `claude-...`, `MAKER/MODEL` for open models, anything else is Google's own."""

    http: aiohttp.ClientSession
    count: Counter
    thoughts: Thoughts = field(default_factory=Thoughts)
    _gemini: "_Gemini" = field(init=False)
    _claude: "_Claude" = field(init=False)
    _open: "_Open" = field(init=False)

    def __post_init__(self) -> None:
        door = Door("services.models.wires.google_cloud")
        self._gemini = _Gemini(self.http, self.count, door)
        self._claude = _Claude(self.http, self.count, self.thoughts, door)
        self._open = _Open(self.http, self.count, door)

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        return await self._makers(target).complete(target, request)

    def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        return self._makers(target).stream(target, request)

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        if (makers := self._makers(target)) is not self._gemini:
            return await makers.embed(target, texts, dimensions)
        size = 1 if ONE_BY_ONE in target.model else MOST_TEXTS
        parts = [texts[at : at + size] for at in range(0, len(texts), size)]
        found = await asyncio.gather(*(self._embedded(target, part, dimensions) for part in parts))
        return Embedded([vector for one in found for vector in one.vectors], sum(one.input_tokens for one in found))

    async def _embedded(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        body: dict[str, Any] = {"instances": [{"content": text} for text in texts]}
        if dimensions:
            body["parameters"] = {"outputDimensionality": dimensions}
        async with self._gemini.posted(target, "predict", body) as response:
            found = await http.parsed(target, response)
        made: Embedded = http.shaped(target, _vectors, found)
        if len(made.vectors) != len(texts):
            raise faults.ProviderBroke(model=target.name, why="another number of vectors than of texts")
        return made

    def _makers(self, target: Target) -> Adapter:
        if target.model.removeprefix("anthropic/").startswith(CLAUDE):
            return self._claude
        return self._open if "/" in target.model.removeprefix("google/") else self._gemini


@dataclass(slots=True)
class _Gemini(Gemini):
    door: Door

    def posted(self, target: Target, method: str, body: dict[str, Any]) -> Posting:
        model = quote(target.model.removeprefix("google/"), safe="@")
        return _posted(self, target, f"publishers/google/models/{model}:{method}", body)


@dataclass(slots=True)
class _Claude(Anthropic):
    door: Door

    def posted(self, target: Target, body: dict[str, Any]) -> Posting:
        """The model stands in the address, and the version in the body."""
        method = "streamRawPredict" if body.get("stream") else "rawPredict"
        model = quote(target.model.removeprefix("anthropic/"), safe="@")
        told = {"anthropic_version": VERSION} | {name: value for name, value in body.items() if name != "model"}
        return _posted(self, target, f"publishers/anthropic/models/{model}:{method}", told)


@dataclass(slots=True)
class _Open(OpenAI):
    def posted(self, target: Target, path: str, body: dict[str, Any] | Form) -> Posting:
        return _posted(self, target, f"endpoints/openapi/{path}", body)


@asynccontextmanager
async def _posted(
    of: _Gemini | _Claude | _Open, target: Target, path: str, body: dict[str, Any] | Form
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An answer from `path` of the project, at the target's region.

    Raises:
        ProviderDenied: nobody tells whose project it is; or as `Cloud.access`.
    """
    access = await of.door.access(target)
    if not (project := target.place.project or access.project):
        raise faults.ProviderDenied(model=target.name, status="neither settings nor the key name a project")
    region = target.place.region or ANYWHERE
    where = f"{target.url or root(region)}/projects/{project}/locations/{region}/{path}"
    async with http.posted(of.http, target, where, access.headers, body) as response:
        yield response


def root(region: str) -> str:
    """The API's address for a location."""
    if region == ANYWHERE:
        return "https://aiplatform.googleapis.com/v1"
    if region in TOGETHER:
        return f"https://aiplatform.{region}.rep.googleapis.com/v1"
    return f"https://{region}-aiplatform.googleapis.com/v1"


def _vectors(body: dict[str, Any]) -> Embedded:
    found = [one["embeddings"] for one in body["predictions"]]
    tokens = sum((one.get("statistics") or {}).get("token_count") or 0 for one in found)
    return Embedded([one["values"] for one in found], int(tokens))
