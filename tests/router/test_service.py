"""The router's contract over every transport."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.encoder.v1 import encoder_pb2
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1 import router_pb2_grpc

from services.router.catalogue import Catalogue
from services.router.predictor import Predictor
from services.router.ranking import Policy
from services.router.service import RouterService
from services.runtime.server import Service
from tests.router.test_ranking import STRONG, WEAK
from tests.support.callers import identity
from tests.support.encoders import static
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called

TEXT = "What is the capital of France?"


@pytest.fixture(params=TRANSPORTS)
async def router(request: pytest.FixtureRequest) -> AsyncIterator[Called]:
    known = {one.name: one for one in (WEAK, STRONG, replace(WEAK, name="seeing", vision=True))}
    catalogue = Catalogue(None, None, known)  # type: ignore[arg-type]
    policies = {"canary": Policy(weights={"strong": 1.0}), "narrow": Policy(models=("strong",))}
    register = partial(
        router_pb2_grpc.add_RouterServiceServicer_to_server, RouterService(catalogue, Predictor(), policies)
    )
    served = Service("tollway.router.v1.RouterService", "router.tollway", register, identity())
    async with channel_to(served, request.param) as channel:
        yield Called(router_pb2_grpc.RouterServiceStub(channel))


def asking(model: str = "auto", **more: Any) -> pb.RouteRequest:
    vector = encoder_pb2.Vector(model="static-minilm-256-1", values=static().encode(TEXT).tobytes())
    return pb.RouteRequest(model=model, text=TEXT, vector=vector, **more)


async def test_auto_ranks_all_with_quality_cost_and_reason(router: Called) -> None:
    made = await router.Route(asking(needs=pb.Needs(input_tokens=400)))
    assert {one.model for one in made.candidates} == {"weak", "strong", "seeing"} and made.decision_id and made.task
    assert all(0 < one.quality <= 1 and one.cost_nano_usd > 0 and one.reason for one in made.candidates)
    assert made.candidates[0].cost_nano_usd <= made.candidates[-1].cost_nano_usd


async def test_who_cannot_is_rejected_with_the_reason(router: Called) -> None:
    made = await router.Route(asking(needs=pb.Needs(vision=True)))
    assert [one.model for one in made.candidates] == ["seeing"]
    assert {one.model: one.reason for one in made.rejected}["weak"] == "does not see pictures"


async def test_a_named_model_is_itself(router: Called) -> None:
    made = await router.Route(asking("strong"))
    assert [(one.model, one.reason) for one in made.candidates] == [("strong", "asked_for")]
    assert await refused(router.Route(asking("none"))) == (grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN")
    assert await refused(router.Route(asking("strong", allowed=["weak"]))) == (
        grpc.StatusCode.PERMISSION_DENIED, "MODEL_NOT_ALLOWED",
    )  # fmt: skip


async def test_policies_of_a_tenant(router: Called) -> None:
    assert (await router.by("canary/a").Route(asking())).candidates[0].model == "strong"
    assert [one.model for one in (await router.by("narrow/a").Route(asking())).candidates] == ["strong"]
    assert [one.model for one in (await router.Route(asking(allowed=["weak"]))).candidates] == ["weak"]


async def test_outcomes_are_learnt_from(router: Called) -> None:
    made = await router.Route(asking())
    told = pb.ReportOutcomeRequest(decision_id=made.decision_id, model="weak", good=True)
    assert (await router.ReportOutcome(told)).known
    assert not (await router.by("other").ReportOutcome(told)).known


async def test_mistakes(router: Called) -> None:
    assert await field_of(router.Route(pb.RouteRequest())) == "model"
    assert await field_of(router.Route(asking(quality_floor=2))) == "quality_floor"
    assert await refused(router.Route(asking(needs=pb.Needs(input_tokens=10**8)))) == (
        grpc.StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE",
    )  # fmt: skip
