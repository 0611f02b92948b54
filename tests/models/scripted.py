"""A wire that does what it is told, by the address that it is asked at."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Catalogue, Deployment, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking, Told
from services.models.wires.adapter import Embedded, Target
from services.runtime.errors import Failure
from services.runtime.secrets import Secrets

Step = Failure | float | None
"""A failure, a pause in seconds, or nothing out of the way."""


class Scripted:
    """Each address goes through its script, a step a piece; a whole answer is one piece."""

    def __init__(self, **scripts: list[Step]) -> None:
        self.scripts, self.asked, self.left = scripts, list[str](), list[str]()
        self.requests: list[chat.ChatRequest] = []
        self.on_call: Callable[[Target], None] = lambda target: None

    async def _step(self, target: Target) -> None:
        script = self.scripts.get(target.url, [])
        step = script.pop(0) if script else None
        try:
            if isinstance(step, float):
                await asyncio.sleep(step)
        except asyncio.CancelledError:
            self.left.append(target.url)
            raise
        if isinstance(step, Failure):
            raise step

    def _begin(self, target: Target, request: chat.ChatRequest) -> None:
        self.asked.append(target.url)
        self.requests.append(request)
        self.on_call(target)

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        self._begin(target, request)
        await self._step(target)
        return chat.ChatCompletion(id=target.url, usage=chat.Usage(input_tokens=10, output_tokens=2))

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        self._begin(target, request)
        for word in ("one ", "two ", "three"):
            await self._step(target)
            yield chat.ChatChunk(id=target.url, choices=[chat.ChoiceDelta(content=word)])
        await self._step(target)
        yield chat.ChatChunk(id=target.url, usage=chat.Usage(input_tokens=10, output_tokens=2))

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        self._begin(target, chat.ChatRequest())
        await self._step(target)
        return Embedded([[1.0] for _ in texts], 1)


def broke() -> Failure:
    return faults.ProviderBroke(model="m", why="x")


def ranking(wire: Scripted, places: int = 0, **more: Any) -> Ranking:
    """Models a, b and c at addresses of their names; or, with `places`, each at a1, a2 and so on."""
    entries = {
        name: Entry(
            name,
            base_url=name,
            wire="scripted",
            deployments=tuple(Deployment(base_url=f"{name}{n + 1}") for n in range(places)),
            **more,
        )
        for name in ("a", "b", "c")
    }
    return Ranking(Catalogue(entries), {"scripted": wire}, Secrets(None))  # type: ignore[arg-type]


async def answered(ranked: Ranking, *names: str, asker: Asker | None = None) -> tuple[str, Told]:
    told = Told()
    made = await ranked.complete(list(names), chat.ChatRequest(), asker or Asker(), told)
    return made.id, told


async def said(ranked: Ranking, *names: str, request: chat.ChatRequest | None = None) -> tuple[str, Told, chat.Usage]:
    """The text that a caller of a stream sees, what is told, and the usage."""
    told, text, usage = Told(), "", chat.Usage()
    async for piece in ranked.stream(list(names), request or chat.ChatRequest(), Asker(), told):
        text += "".join(choice.content for choice in piece.choices)
        if piece.HasField("usage"):
            usage = piece.usage
    return text, told, usage
