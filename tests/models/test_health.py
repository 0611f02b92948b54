"""Breakers, limits and the order of attempts: a model that fails or hangs harms nobody else."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.health import COOL_S, OPENS_AFTER, Health
from services.models.ranking import Ranking
from services.models.wires.adapter import Embedded, Target
from services.runtime.errors import Failure


class Scripted:
    """A wire that does, model by model, what its script says: an answer or a failure."""

    def __init__(self, **scripts: list[Failure | None]) -> None:
        self.scripts, self.asked = scripts, list[str]()

    def _step(self, target: Target) -> None:
        self.asked.append(target.name)
        script = self.scripts.get(target.name, [])
        if script and (failure := script.pop(0)) is not None:
            raise failure

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        self._step(target)
        return chat.ChatCompletion(id=target.name)

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        self._step(target)
        yield chat.ChatChunk(id="first")
        self._step(target)
        yield chat.ChatChunk(id="second")

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        return Embedded([], 0)


def ranking(wire: Scripted, **more: Any) -> Ranking:
    entries = {name: Entry(name, **more) for name in ("a", "b", "c")}
    return Ranking(Catalogue(entries), {"openai": wire})


def broke() -> Failure:
    return faults.ProviderBroke(model="a", why="x")


async def test_the_next_candidate_answers_when_one_fails() -> None:
    wire = Scripted(a=[broke(), broke()])
    made, name, tried = await ranking(wire).complete(["a", "b"], chat.ChatRequest())
    assert (made.id, name, tried) == ("b", "b", 3) and wire.asked == ["a", "a", "b"]


async def test_a_bad_request_is_nobody_elses_to_answer() -> None:
    wire = Scripted(a=[faults.ProviderRefused(model="a", status=400, about="")])
    with pytest.raises(faults.ProviderRefused):
        await ranking(wire).complete(["a", "b"], chat.ChatRequest())
    assert wire.asked == ["a"]


async def test_the_last_failure_speaks_when_all_fail() -> None:
    wire = Scripted(a=[broke()] * 2, b=[faults.ProviderBusy(model="b", status=429, retry_after_s=3.0)])
    with pytest.raises(faults.ProviderBusy) as caught:
        await ranking(wire).complete(["a", "b"], chat.ChatRequest())
    assert caught.value.retry_after_s == 3.0


async def test_a_stream_falls_back_before_its_first_piece_and_never_after() -> None:
    wire = Scripted(a=[broke(), broke()])
    got = [(chunk.id, name) async for chunk, name, _ in ranking(wire).stream(["a", "b"], chat.ChatRequest())]
    assert got == [("first", "b"), ("second", "b")]
    later = Scripted(a=[None, broke()])
    seen = []
    with pytest.raises(faults.ProviderBroke):
        async for chunk, name, _ in ranking(later).stream(["a", "b"], chat.ChatRequest()):
            seen.append((chunk.id, name))
    assert seen == [("first", "a")] and later.asked == ["a", "a"]


async def test_retries_have_a_budget() -> None:
    wire = Scripted(a=[broke() for _ in range(200)])
    ranked = ranking(wire)
    for _ in range(40):
        with pytest.raises(Failure):
            await ranked.complete(["a"], chat.ChatRequest())
    assert len(wire.asked) < 60


async def test_an_open_breaker_is_asked_last_and_a_full_model_not_at_all() -> None:
    wire = Scripted()
    ranked = ranking(wire, concurrency=1)
    for _ in range(OPENS_AFTER):
        ranked.health["a"].failed()
    assert (await ranked.complete(["a", "b"], chat.ChatRequest()))[1] == "b"
    ranked.health["b"].begin()
    assert (await ranked.complete(["b", "c"], chat.ChatRequest()))[1] == "c"
    with pytest.raises(faults.Overloaded):
        await ranked.complete(["b"], chat.ChatRequest())


def test_a_breaker_opens_cools_probes_and_closes() -> None:
    clock = [0.0]
    health = Health(10, now=lambda: clock[0])
    for _ in range(OPENS_AFTER):
        assert health.available
        health.failed()
    assert not health.available
    clock[0] = COOL_S
    assert health.available
    began = health.begin()
    assert not health.available  # one probe at a time
    health.failed()
    health.end()
    clock[0] += COOL_S
    assert not health.available  # it cools for longer each time
    clock[0] += COOL_S
    began = health.begin()
    health.answered(began)
    health.end()
    assert health.available and health.error_rate > 0


def test_a_provider_that_says_when_is_left_alone_until_then() -> None:
    clock = [0.0]
    health = Health(10, now=lambda: clock[0])
    health.failed(7.0)
    assert not health.available and health.busy_for_s == 7.0
    clock[0] = 7.0
    assert health.available and health.busy_for_s == 0.0


async def test_a_hanging_model_leaves_the_others_alone() -> None:
    class Hanging(Scripted):
        async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
            if target.name == "a":
                await asyncio.sleep(60)
            return await super().complete(target, request)

    ranked = ranking(Hanging(), concurrency=5)
    stuck = [asyncio.create_task(ranked.complete(["a"], chat.ChatRequest())) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(faults.Overloaded):
        await ranked.complete(["a"], chat.ChatRequest())
    assert (await ranked.complete(["a", "b"], chat.ChatRequest()))[1] == "b"
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert ranked.health["a"].under_way == 0
