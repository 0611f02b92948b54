"""A thousand that ask the same at once cost one call, streamed or not; who joins pays nothing, and a leader that fails takes nobody along."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.models.v1 import models_pb2

from services.orchestrator import service
from services.orchestrator.again import Again
from services.orchestrator.deferring import Deferring
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Epochs, Models, Registered
from services.orchestrator.mirroring import Mirroring
from services.orchestrator.prompting import Prompting
from services.orchestrator.recording import Recording
from services.orchestrator.road import Road
from services.orchestrator.service import GatewayService
from services.runtime.server import Service
from tests.orchestrator.peers import Mesh, Stream
from tests.support.callers import identity
from tests.support.serve import channel_to
from tests.support.stubs import Called
from tests.support.waiting import until

CROWD = 1000


class Held(Mesh):
    """Models that answer once they are let."""

    def stream(self, service: str, name: str, request: Any) -> Any:
        made = super().stream(service, name, request)
        return Waiting(made, self.gate) if name == "StreamGenerate" else made


class Waiting:
    def __init__(self, inner: Stream, gate: asyncio.Event) -> None:
        self._inner, self._gate = inner, gate

    async def __aiter__(self) -> AsyncIterator[Any]:
        await self._gate.wait()
        async for one in self._inner:
            yield one

    def cancel(self) -> None:
        self._inner.cancel()


@pytest.fixture
def mesh() -> Held:
    made = Held()
    made.gate.clear()
    return made


@pytest.fixture
async def gateway(mesh: Held) -> AsyncIterator[Called]:
    peers, desk = mesh.peers(), Desk()
    known = {"m": models_pb2.Model(name="m", provider="p", provider_model="q", max_output_tokens=500)}
    road = Road(peers, Models(peers.models, known, True), Epochs(peers.retrieval), desk, {})
    registered = Registered(peers.registry)
    gateway = GatewayService(
        road, Deferring(peers.jobs, desk), Prompting(road), Mirroring(road, registered), Recording(road, registered), Again(road)
    )  # fmt: skip
    register = partial(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, gateway)
    served = Service("tollway.gateway.v1.GatewayService", "gateway.tollway", register, identity())
    async with channel_to(served, "inproc") as channel:
        yield Called(gateway_pb2_grpc.GatewayServiceStub(channel))
    await desk.cleared(5)


def asking(**more: Any) -> chat.ChatRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="what is new?")])
    return chat.ChatRequest(model="auto", messages=[message], **more)


async def whole(gateway: Called, **more: Any) -> str:
    made = await gateway.Complete(pb.CompleteRequest(chat=asking(**more)))
    return str(made.completion.choices[0].message.parts[0].text)


async def streamed(gateway: Called, **more: Any) -> str:
    pieces = gateway.StreamComplete(pb.StreamCompleteRequest(chat=asking(**more)))
    return "".join([choice.content async for one in pieces for choice in one.chunk.choices])


def calls(mesh: Mesh) -> int:
    return sum(one in ("models.Generate", "models.StreamGenerate") for one in mesh.asked)


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_a_thousand_at_once_make_one_call(gateway: Called, mesh: Held, ask: Any) -> None:
    crowd = [asyncio.ensure_future(ask(gateway)) for _ in range(CROWD)]
    await until(lambda: mesh.asked.count("ledger.Reserve") == CROWD)
    mesh.gate.set()
    assert await asyncio.gather(*crowd) == ["one two"] * CROWD
    assert calls(mesh) == 1
    await until(lambda: mesh.asked.count("ledger.Settle") == CROWD)
    paid = [request for name, request in mesh.all if name == "Settle" and request.output_tokens]
    assert len(paid) == 1 and mesh.asked.count("cache.Store") == 1


async def test_streams_join_those_that_do_not_stream_and_the_other_way_round(gateway: Called, mesh: Held) -> None:
    both = [asyncio.ensure_future(one(gateway)) for one in (whole, streamed, whole, streamed)]
    await until(lambda: mesh.asked.count("ledger.Reserve") == 4)
    mesh.gate.set()
    assert await asyncio.gather(*both) == ["one two"] * 4 and calls(mesh) == 1


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_who_asks_by_chance_has_an_answer_of_his_own(gateway: Called, mesh: Held, ask: Any) -> None:
    mesh.gate.set()
    await asyncio.gather(*(ask(gateway, temperature=1.5) for _ in range(3)))
    assert calls(mesh) == 3


async def test_a_stream_waits_for_another_for_a_while_alone(gateway: Called, mesh: Held, monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "STREAM_WAITS_S", 0.05)
    both = [asyncio.ensure_future(streamed(gateway)) for _ in range(2)]
    await until(lambda: calls(mesh) == 2)
    mesh.gate.set()
    assert await asyncio.gather(*both) == ["one two"] * 2


async def test_a_leader_that_leaves_takes_nobody_along(gateway: Called, mesh: Held) -> None:
    leader = asyncio.ensure_future(streamed(gateway))
    await until(lambda: calls(mesh) == 1)
    follower = asyncio.ensure_future(streamed(gateway))
    await until(lambda: mesh.asked.count("ledger.Reserve") == 2)
    leader.cancel()
    await until(lambda: calls(mesh) == 2)
    mesh.gate.set()
    assert await follower == "one two"


async def test_when_a_leader_leaves_one_of_the_others_leads(gateway: Called, mesh: Held) -> None:
    leader = asyncio.ensure_future(streamed(gateway))
    await until(lambda: calls(mesh) == 1)
    crowd = [asyncio.ensure_future(streamed(gateway)) for _ in range(50)]
    await until(lambda: mesh.asked.count("ledger.Reserve") == 51)
    leader.cancel()
    await until(lambda: calls(mesh) == 2)
    mesh.gate.set()
    assert await asyncio.gather(*crowd) == ["one two"] * 50 and calls(mesh) == 2


async def test_a_stream_that_breaks_is_nobodys_answer(gateway: Called, mesh: Held) -> None:
    mesh.breaks = True
    crowd = [asyncio.ensure_future(streamed(gateway)) for _ in range(3)]
    await until(lambda: mesh.asked.count("ledger.Reserve") == 3)
    mesh.gate.set()
    for one in await asyncio.gather(*crowd, return_exceptions=True):
        assert isinstance(one, grpc.aio.AioRpcError)
    assert calls(mesh) == 3 and "cache.Store" not in mesh.asked
