"""What the cache answered is asked again beside the request: stale answers, and a sample of those that only meant the same."""

from typing import Any

import pytest
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator.again import MOST, Again
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Epochs, Models
from services.orchestrator.failures import NoModel
from services.orchestrator.journey import Journey
from services.orchestrator.road import Road
from services.runtime.identity import Caller, hold
from tests.orchestrator.peers import Mesh

CALLER = Caller("acme", "acme/app", "k1", False, (), 1e12, "token")


class Asked:
    """A road whose request was answered by the cache, and what asks again."""

    def __init__(self, share: float) -> None:
        self.mesh, self.desk = Mesh(), Desk()
        peers = self.mesh.peers()
        known = {"m": models_pb2.Model(name="m", provider="p", provider_model="q", max_output_tokens=500)}
        self.road = Road(peers, Models(peers.models, known, True), Epochs(peers.retrieval), self.desk, {})
        self.again = Again(self.road, share)

    async def hit(self, match: "cache_pb2.Match.ValueType", stale: bool = False, key: str = "k") -> Journey:
        hold(CALLER)
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="what is [NAME_1] new?")])
        request = chat.ChatRequest(model="auto", messages=[message], metadata={"team": "a"})
        journey = Journey(CALLER, request, pb.Options(idempotency_key="i"), "r1", pb.Road(trace_id="t1"), exact_key=key)
        journey.conditions.policy_version, journey.verdict = "7", guard_pb2.Verdict(data_class="secret")
        kept = self.mesh._Generate(models_pb2.GenerateRequest(candidates=["m"])).completion
        journey.hit = cache_pb2.LookupResponse(match=match, entry_id="e1", completion=kept, stale=stale)
        self.again.after(journey)
        await self.desk.cleared(5)
        return journey

    def said(self, name: str) -> Any:
        return self.mesh.messages.get(name)


async def test_a_sampled_hit_is_asked_again_and_reported() -> None:
    asked = Asked(1.0)
    await asked.hit(cache_pb2.MATCH_SEMANTIC)
    report = asked.said("cache.ReportHit")
    assert report.entry_id == "e1" and report.fresh.choices[0].message.parts[0].text == "one two"
    route, generate = asked.said("router.Route"), asked.said("models.Generate")
    assert route.data_class == "secret", "where the data may go holds for the second asking, too"
    assert generate.priority == models_pb2.PRIORITY_LOW and "[NAME_1]" in generate.chat.messages[0].parts[0].text
    assert asked.said("ledger.Reserve").attempts and asked.said("ledger.Settle").output_tokens == 2
    assert asked.said("ledger.Settle").tags["tollway.asked_again"] == "sampled"
    assert asked.said("cache.Store").conditions.policy_version == "7"


async def test_a_stale_answer_is_made_fresh_and_an_exact_one_is_not_sampled() -> None:
    asked = Asked(1.0)
    await asked.hit(cache_pb2.MATCH_EXACT)
    assert not asked.mesh.asked
    await asked.hit(cache_pb2.MATCH_EXACT, stale=True)
    assert {"models.Generate", "cache.Store", "ledger.Settle"} <= set(asked.mesh.asked)


async def test_nothing_is_sampled_unless_asked_for() -> None:
    asked = Asked(0.0)
    await asked.hit(cache_pb2.MATCH_SEMANTIC)
    assert not asked.mesh.asked


async def test_one_question_is_asked_once_at_a_time_and_few_at_once() -> None:
    asked = Asked(1.0)
    asked.again._under_way.add("k")
    await asked.hit(cache_pb2.MATCH_SEMANTIC)
    asked.again._under_way.update(f"k{n}" for n in range(MOST))
    await asked.hit(cache_pb2.MATCH_SEMANTIC, key="other")
    assert not asked.mesh.asked


@pytest.mark.parametrize("away", ["models", "router"])
async def test_what_cannot_be_asked_is_let_be_and_its_money_given_back(away: str) -> None:
    asked = Asked(1.0)

    def refused(request: Any) -> Any:
        raise NoModel

    setattr(asked.mesh, {"models": "_Generate", "router": "_Route"}[away], refused)
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="what is new?")])
    journey = Journey(
        CALLER, chat.ChatRequest(model="m", messages=[message]), pb.Options(), "r1", pb.Road(), exact_key="k"
    )
    journey.hit = cache_pb2.LookupResponse(match=cache_pb2.MATCH_SEMANTIC, entry_id="e1")
    hold(journey.caller)
    asked.again.after(journey)
    await asked.desk.cleared(5)
    assert ("ledger.Release" in asked.mesh.asked) == (away == "models")
    assert "cache.ReportHit" not in asked.mesh.asked and not asked.again._under_way
