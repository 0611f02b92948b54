"""Requests that are kept, and answers that a person looks at, after they were given or before."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.guard.v1 import guard_pb2
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
from tests.orchestrator.test_service import asking, streaming
from tests.support.callers import identity
from tests.support.refusals import refused
from tests.support.serve import channel_to
from tests.support.stubs import Called
from tests.support.waiting import until

Rule = registry_pb2.ReviewRule


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
    recording = Recording(road, registered)
    service = GatewayService(
        road, Deferring(peers.jobs, desk), Prompting(road), Mirroring(road, registered), recording, Again(road)
    )
    register = partial(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, service)
    served = Service("tollway.gateway.v1.GatewayService", "gateway.tollway", register, identity())
    async with channel_to(served, "inproc") as channel:
        yield Called(gateway_pb2_grpc.GatewayServiceStub(channel))
    await desk.cleared(5)


def policy(*rules: registry_pb2.ReviewRule, share: float = 0.0) -> dict[str, registry_pb2.RecordPolicy]:
    return {"*": registry_pb2.RecordPolicy(tenant="*", share=share, rules=rules)}


async def test_a_share_of_requests_is_kept_masked(gateway: Called, mesh: Mesh, registered: Registered) -> None:
    await gateway.Complete(asking())
    registered.policies = policy(share=1.0)
    made = await gateway.Complete(asking(user="ann"))
    await until(lambda: "registry.RecordAnswer" in mesh.asked)
    assert mesh.messages["registry.RecordAnswer"].user == "ann"
    kept = mesh.messages["registry.RecordAnswer"].record
    assert (kept.answer, kept.model, list(kept.causes)) == ("one two", "m", ["sampled"])
    assert kept.review == registry_pb2.REVIEW_STATE_UNSPECIFIED and kept.decision_id == made.road.decision_id
    assert kept.messages == asking().chat.messages and kept.took.nanos > 0
    registered.policies = {"globex": policy(share=1.0)["*"]}
    await gateway.Complete(asking())
    await until(lambda: mesh.asked.count("ledger.Settle") == 3)
    assert mesh.asked.count("registry.RecordAnswer") == 1, "another tenant's policy"


@pytest.mark.parametrize(
    ("rule", "more", "cause"),
    [
        (Rule(sampled=1.0), {}, "sampled"),
        (Rule(flagged=True), {}, "flagged"),
        (Rule(unsure_below=0.5), {}, "unsure"),
        (Rule(label="stakes=high"), {"metadata": {"stakes": "high"}}, "label"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_rule_asks_for_a_person(
    gateway: Called, mesh: Mesh, registered: Registered, rule: Any, more: Any, cause: str, stream: bool
) -> None:
    registered.policies = policy(rule)
    mesh.quality = 0.4
    mesh.findings = [guard_pb2.Finding(type="TOXIC", action=guard_pb2.ACTION_FLAG)]
    if stream:
        pieces = [one async for one in gateway.StreamComplete(streaming(asking(**more)))]
        assert "".join(c.content for one in pieces for c in one.chunk.choices) == "one two"
    else:
        await gateway.Complete(asking(**more))
    await until(lambda: "registry.RecordAnswer" in mesh.asked)
    kept = mesh.messages["registry.RecordAnswer"].record
    assert list(kept.causes) == [cause] and kept.review == registry_pb2.REVIEW_STATE_WAITING and not kept.held
    assert "registry.AwaitReview" not in mesh.asked


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        (Rule(flagged=True), {}),
        (Rule(unsure_below=0.3), {}),
        (Rule(label="stakes=high"), {"metadata": {"stakes": "low"}}),
    ],
)
async def test_what_meets_no_rule_is_nobodys_work(
    gateway: Called, mesh: Mesh, registered: Registered, rule: Any, more: Any
) -> None:
    registered.policies = policy(rule)
    mesh.quality = 0.4
    mesh.findings = [guard_pb2.Finding(type="EMAIL", action=guard_pb2.ACTION_MASK)]
    await gateway.Complete(asking(**more))
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert "registry.RecordAnswer" not in mesh.asked


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_waits_and_is_given_as_it_was_corrected(
    gateway: Called, mesh: Mesh, registered: Registered, stream: bool
) -> None:
    registered.policies = policy(Rule(sampled=0.0), Rule(label="stakes=high", hold=True))
    mesh.decisions = [
        registry_pb2.AwaitReviewResponse(decision=registry_pb2.REVIEW_STATE_WAITING),
        registry_pb2.AwaitReviewResponse(decision=registry_pb2.REVIEW_STATE_CORRECTED, correction="better"),
    ]
    request = asking(metadata={"stakes": "high"})
    if stream:
        pieces = [one async for one in gateway.StreamComplete(streaming(request))]
        text = "".join(c.content for one in pieces for c in one.chunk.choices)
        assert pieces[-1].road.cost_nano_usd == 7 and pieces[-1].chunk.usage.output_tokens == 2
    else:
        text = (await gateway.Complete(request)).completion.choices[0].message.parts[0].text
    assert text == "better" and mesh.asked.count("registry.AwaitReview") == 2
    assert mesh.messages["registry.RecordAnswer"].record.held
    await until(lambda: {"ledger.Settle", "cache.Store"} <= set(mesh.asked))
    stored = mesh.messages["cache.Store"].completion.choices[0].message.parts[0].text
    assert stored == "better", "what a person wrote is what is remembered"


async def test_an_answer_that_is_rejected_is_paid_for_and_not_given(
    gateway: Called, mesh: Mesh, registered: Registered
) -> None:
    registered.policies = policy(Rule(sampled=1.0, hold=True))
    mesh.decisions = [registry_pb2.AwaitReviewResponse(decision=registry_pb2.REVIEW_STATE_REJECTED)]
    code, reason = await refused(gateway.Complete(asking()))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "REVIEW_REJECTED")
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.messages["ledger.Settle"].output_tokens == 2 and "cache.Store" not in mesh.asked


async def test_what_must_be_looked_at_is_not_given_without_the_registry(
    gateway: Called, mesh: Mesh, registered: Registered
) -> None:
    registered.policies = policy(Rule(sampled=1.0, hold=True))
    mesh.away = {"registry": grpc.StatusCode.INTERNAL}
    assert (await refused(gateway.Complete(asking())))[0] is grpc.StatusCode.INTERNAL
    registered.policies = policy(Rule(sampled=1.0))
    made = await gateway.Complete(asking())
    assert made.completion.choices[0].message.parts[0].text == "one two", "what is looked at after is given"


async def test_what_is_pushed_is_kept_by_tenant(mesh: Mesh) -> None:
    made = Registered(mesh.peers().registry, "tw_own")
    mesh.pushed = [
        registry_pb2.WatchResponse(
            shadows=[registry_pb2.Shadow(tenant="acme", name="a"), registry_pb2.Shadow(tenant="acme", name="b")],
            policies=[registry_pb2.RecordPolicy(tenant="*", share=0.5)],
        )
    ]
    task = asyncio.create_task(made.follow())
    await until(lambda: made.shadows)
    task.cancel()
    assert [one.name for one in made.shadows["acme"]] == ["a", "b"]
    found = made.policy("globex")
    assert found is not None and found.share == 0.5
