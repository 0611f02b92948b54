"""Answers that are handed to shadows: which, with what, and that nobody waits for it."""

from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest
from tollway.cache.v1 import cache_pb2
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.models.v1 import models_pb2
from tollway.registry.v1 import registry_pb2

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
from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_prompting import PROMPT, resolution
from tests.orchestrator.test_service import asking, streaming
from tests.support.callers import identity
from tests.support.serve import channel_to
from tests.support.stubs import Called
from tests.support.waiting import until


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture
async def registered(mesh: Mesh) -> Registered:
    return Registered(mesh.peers().registry)


@pytest.fixture
async def gateway(mesh: Mesh, registered: Registered) -> AsyncIterator[Called]:
    peers, desk = mesh.peers(), Desk()
    known = {"m": models_pb2.Model(name="m", provider="p", provider_model="q", max_output_tokens=500)}
    road = Road(peers, Models(peers.models, known, True), Epochs(peers.retrieval), desk, {})
    service = GatewayService(
        road,
        Deferring(peers.jobs, desk),
        Prompting(road),
        Mirroring(road, registered, "tw_own"),
        Recording(road, registered),
        Again(road),
    )
    register = partial(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, service)
    served = Service("tollway.gateway.v1.GatewayService", "gateway.tollway", register, identity())
    async with channel_to(served, "inproc") as channel:
        yield Called(gateway_pb2_grpc.GatewayServiceStub(channel))
    await desk.cleared(5)


def known(**source: object) -> dict[str, list[registry_pb2.Shadow]]:
    made = registry_pb2.Shadow(tenant="acme", name="try", share=1.0, **source)  # type: ignore[arg-type]
    return {"acme": [made]}


async def asked(gateway: Called, request: pb.CompleteRequest, stream: bool = False) -> None:
    if stream:
        async for _ in gateway.StreamComplete(streaming(request)):
            pass
    else:
        await gateway.Complete(request)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_goes_to_its_shadow_with_its_cost(
    gateway: Called, mesh: Mesh, registered: Registered, stream: bool
) -> None:
    registered.shadows = known(everything=True)
    await asked(gateway, asking(), stream)
    await until(lambda: "registry.Mirror" in mesh.asked)
    told = mesh.messages["registry.Mirror"]
    assert (told.tenant, told.name, told.answer, told.cost_nano_usd) == ("acme", "try", "one two", 7)
    assert told.chat == asking().chat and told.took.nanos > 0


async def test_only_the_source_and_the_share_are_mirrored(gateway: Called, mesh: Mesh, registered: Registered) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("be kind", 3))
    registered.shadows = known(template="support/answer")
    await asked(gateway, asking())
    await asked(gateway, asking(options=PROMPT))
    await until(lambda: mesh.asked.count("registry.Mirror") == 1)
    told = mesh.messages["registry.Mirror"]
    assert told.used.number == 3 and told.options.prompt == PROMPT.prompt
    for source in ({"model": "other"}, {"legacy": True}):
        registered.shadows = known(**source)
        await asked(gateway, asking())
    registered.shadows = known(everything=True)
    registered.shadows["acme"][0].share = 0.0
    await asked(gateway, asking())
    registered.shadows = {"globex": list(known(everything=True)["acme"])}
    await asked(gateway, asking())
    await until(lambda: mesh.asked.count("ledger.Settle") == 6)
    assert mesh.asked.count("registry.Mirror") == 1


async def test_a_shadows_own_requests_and_stored_answers_are_not_mirrored(
    gateway: Called, mesh: Mesh, registered: Registered
) -> None:
    registered.shadows = known(model="auto")
    await asked(gateway, asking(metadata={"tollway.shadow": "try"}))
    kept = mesh._Generate(models_pb2.GenerateRequest(candidates=["m"])).completion
    mesh.hit = cache_pb2.LookupResponse(match=cache_pb2.MATCH_EXACT, entry_id="e", completion=kept)
    await asked(gateway, asking())
    await until(lambda: mesh.asked.count("ledger.Settle") == 2)
    assert "registry.Mirror" not in mesh.asked


async def test_a_registry_that_is_away_costs_the_caller_nothing(
    gateway: Called, mesh: Mesh, registered: Registered
) -> None:
    registered.shadows = known(everything=True)
    mesh.away = {"registry": grpc.StatusCode.INTERNAL}
    made = await gateway.Complete(asking())
    assert made.completion.choices[0].message.parts[0].text == "one two" and not made.road.degraded
    await until(lambda: "registry.Mirror" in mesh.asked)
