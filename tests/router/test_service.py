"""The router's contract over every transport."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1 import router_pb2_grpc

from services.router.catalogue import Catalogue
from services.router.decisions import Ids
from services.router.journal import Journal
from services.router.meaning import Meaning
from services.router.policies import Policies
from services.router.policy import CascadePolicy, Only, Policy, Route
from services.router.predictor import Predictor
from services.router.routes import routes
from services.router.service import MOST_RANKED, RouterService
from services.router.when import When
from services.runtime.background import running
from services.runtime.server import Service
from services.runtime.settings import read
from tests.router.test_ranking import STRONG, WEAK
from tests.support.callers import identity
from tests.support.encoders import Encoder, static
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called

TEXT = "What is the capital of France?"
ROUTED = Policy(
    rule="fixed",
    model="weak",
    regions=("fr",),
    routes=(
        Route("own", When(accounts=("routed/own",)), models=("seeing", "strong"), rule="fixed"),
        Route("gold", When(metadata={"tier": ("gold",)}), rule="best_under_price", store=False),
        Route(
            "law",
            When(subjects=("law",)),
            model="strong",
            rule="fixed",
            system="Cite the statute.",
            reasoning_effort="high",
        ),
        Route(
            "parcels",
            When(like=("Where is my parcel?", "Track my order")),
            models=("strong",),
            template_options={"enable_thinking": False},
        ),
        Route("abroad", When(words=("abroad",)), regions=("us",)),
        Route("tried", When(words=("try",)), rule="best_under_price", cascade=CascadePolicy(enough=0.999)),
    ),
)


@pytest.fixture(params=TRANSPORTS)
async def router(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Called]:
    seeing = replace(WEAK, name="seeing", vision=True)
    known = {one.name: replace(one, regions=("fr",)) for one in (WEAK, STRONG, seeing)}
    catalogue = Catalogue(None, None, known=known)  # type: ignore[arg-type]
    policies = {
        "canary": Policy(weights={"strong": 1.0}),
        "narrow": Policy(models=("strong",)),
        "fixed": Policy(rule="fixed", model="strong"),
        "split": Policy(weights={"weak": 0.5, "strong": 0.5}, sticky=True),
        "careful": Policy(data_classes={"restricted": Only(models=("seeing",))}),
        "poor": Policy(quality_floor=1.0, low_budget_floor=0.0, price_ceiling_usd=1.0),
        "routed": ROUTED,
        "following": Policy(fallbacks={"weak": ("none", "seeing", "strong"), "*": ("weak",)}),
        "talking": Policy(sticky=True),
        "trying": Policy(quality_floor=1.0, sticky=True, cascade=CascadePolicy(enough=0.3, samples=2)),
    }
    journal = Journal(tmp_path / "decisions")
    encoder = Encoder()
    meaning = Meaning(encoder, "tw_own")  # type: ignore[arg-type]
    service = RouterService(catalogue, Predictor(), Policies(policies), journal, meaning)
    await meaning.learn(service.policies.routes("routed").likes)
    register = partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service)
    served = Service("tollway.router.v1.RouterService", "router.tollway", register, identity())
    async with channel_to(served, request.param) as channel:
        yield Called(router_pb2_grpc.RouterServiceStub(channel))


def asking(model: str = "auto", **more: Any) -> pb.RouteRequest:
    vector = encoder_pb2.Vector(model="static-minilm-256-1", values=static().encode(TEXT).tobytes())
    return pb.RouteRequest(model=model, text=TEXT, vector=vector, **more)


async def test_of_many_models_as_many_are_named_as_a_call_may_go_down(tmp_path: Path) -> None:
    known = {name: replace(WEAK, name=name) for name in (f"m{n}" for n in range(300))}
    service = RouterService(Catalogue(None, None, known=known), Predictor(), Policies())  # type: ignore[arg-type]
    register = partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service)
    async with channel_to(Service("tollway.router.v1.RouterService", "r", register, identity()), "inproc") as channel:
        made = await Called(router_pb2_grpc.RouterServiceStub(channel)).Route(asking())
    assert len(made.candidates) == MOST_RANKED
    for message, name in (
        (ledger_pb2.ReserveRequest, "attempts"),
        (models_pb2.GenerateRequest, "candidates"),
        (models_pb2.StreamGenerateRequest, "candidates"),
    ):
        rules = message.DESCRIPTOR.fields_by_name[name].GetOptions().Extensions[validate_pb2.field]
        assert rules.repeated.max_items == MOST_RANKED


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


async def first(router: Called, **more: Any) -> str:
    return str((await router.Route(asking(**more))).candidates[0].model)


async def test_rules_that_a_tenant_sets_itself(router: Called) -> None:
    assert await first(router.by("fixed/a")) == "strong"
    assert await first(router.by("careful/a"), data_class="restricted") == "seeing"
    made = await router.by("careful/a").Route(asking(data_class="restricted"))
    assert {one.model for one in made.rejected} == {"weak", "strong"}
    assert await first(router.by("careful/a"), data_class="public") != "seeing"
    assert await first(router, data_models=["seeing"]) == "seeing"
    assert await refused(router.Route(asking(data_regions=["eu"]))) == (
        grpc.StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE",
    )  # fmt: skip
    assert await first(router.by("poor/a")) == "strong"
    assert await first(router.by("poor/a"), budget_low=True) == "weak"


async def test_a_conversation_stays_with_its_model(router: Called) -> None:
    split = router.by("split/a")
    chosen = {name: await first(split, conversation=name) for name in map(str, range(40))}
    assert set(chosen.values()) == {"weak", "strong"}
    assert all([await first(split, conversation=name) == model for name, model in chosen.items()])


def said(*texts: str, model: str = "weak") -> chat.ChatCompletion:
    made = chat.ChatCompletion(model=model)
    for n, text in enumerate(texts):
        choice = made.choices.add(index=n, finish_reason=chat.FINISH_REASON_STOP)
        choice.message.role = chat.ROLE_ASSISTANT
        choice.message.parts.add(text=text)
    return made


async def test_a_cascade_tries_the_cheap_one_and_judges_it(router: Called) -> None:
    trying = router.by("trying/a")
    made = await trying.Route(asking(needs=pb.Needs(input_tokens=400)))
    assert [one.model for one in made.candidates][:2] == ["weak", "strong"] and made.candidates[0].reason == "cascade"
    assert made.HasField("cascade") and made.cascade.samples == 2
    for _ in range(2):  # the conversation is with the model that the rule chose, and each turn tries the cheap one
        turn = await trying.Route(asking(needs=pb.Needs(input_tokens=400), conversation="c1"))
        assert turn.candidates[0].model == "weak" and turn.HasField("cascade")
    request = chat.ChatRequest(model="auto", messages=[chat.Message(role=chat.ROLE_USER)])

    async def judged(*texts: str) -> tuple[bool, str]:
        told = await trying.Judge(pb.JudgeRequest(decision_id=made.decision_id, chat=request, completion=said(*texts)))
        return told.good, told.reason

    assert await judged("It is Paris.", "It is Paris.") == (True, "good")
    assert await judged("It is Paris.", "I would say Lyon, by far.") == (False, "disagrees")
    assert await judged("I am not able to say.") == (False, "refuses")
    other = pb.JudgeRequest(decision_id=made.decision_id, chat=request, completion=said("Paris"))
    assert await refused(router.by("other/a").Judge(other)) == (grpc.StatusCode.NOT_FOUND, "DECISION_UNKNOWN")
    assert not (await router.Route(asking())).HasField("cascade")


@pytest.mark.parametrize("named", (False, True))
async def test_another_replica_judges_and_learns_as_the_one_that_decided(named: bool) -> None:
    known = {one.name: one for one in (WEAK, STRONG)}
    trying = Policies({"trying": Policy(quality_floor=1.0, cascade=CascadePolicy(enough=0.999))})
    async with AsyncExitStack() as stack:
        replicas = []
        for _ in range(2):
            catalogue = Catalogue(None, None, known=known)  # type: ignore[arg-type]
            service = RouterService(catalogue, Predictor(), trying, ids=Ids("tw_shared"))
            register = partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service)
            served = Service("tollway.router.v1.RouterService", "router.tollway", register, identity())
            channel = await stack.enter_async_context(channel_to(served, "tcp"))
            replicas.append(Called(router_pb2_grpc.RouterServiceStub(channel)).by("trying/a"))
        one, other = replicas
        made = await one.Route(asking("weak" if named else "auto", needs=pb.Needs(input_tokens=400)))
        assert made.HasField("cascade") is not named
        request = pb.JudgeRequest(
            decision_id=made.decision_id,
            chat=chat.ChatRequest(model="auto", messages=[chat.Message(role=chat.ROLE_USER)]),
            completion=said("It is so."),
        )
        told = await other.Judge(request)
        assert told == await one.Judge(request)
        assert told.good is named  # the usual measure, where the decision has no cascade of its own
        report = pb.ReportOutcomeRequest(decision_id=made.decision_id, model="strong", good=False)
        assert (await other.ReportOutcome(report)).known
        assert not (await other.ReportOutcome(pb.ReportOutcomeRequest(decision_id="x", model="strong"))).known
        report.model = "gone"
        assert not (await other.ReportOutcome(report)).known


async def test_an_administrator_erases_a_tenant(router: Called) -> None:
    made = await router.by("talking/a").Route(asking(conversation="c1"))
    told = pb.ReportOutcomeRequest(decision_id=made.decision_id, model="weak", good=True)
    assert (await router.by("talking/a").ReportOutcome(told)).known
    everything = pb.EraseRequest(tenant="talking", everything=True)
    assert await refused(router.by("talking/a").Erase(everything)) == (
        grpc.StatusCode.PERMISSION_DENIED, "ADMINISTRATORS_ONLY",
    )  # fmt: skip
    operator = router.by("operator", admin=True)
    assert dict((await operator.Erase(pb.EraseRequest(tenant="talking", subject="ann"))).erased) == {
        "conversations": 0,
        "abilities": 0,
    }
    assert dict((await operator.Erase(everything)).erased) == {"conversations": 1, "abilities": 1}
    assert dict((await operator.Erase(everything)).erased) == {"conversations": 0, "abilities": 0}
    assert await field_of(operator.Erase(pb.EraseRequest(tenant="Not a tenant", everything=True))) == "tenant"


async def test_decisions_are_replayed_under_another_policy(router: Called) -> None:
    poor = router.by("poor/a")
    for _ in range(10):
        made = await poor.Route(asking(needs=pb.Needs(input_tokens=400)))
    await router.Route(asking())
    await poor.ReportOutcome(pb.ReportOutcomeRequest(decision_id=made.decision_id, model="strong", good=True))
    told = await poor.Replay(pb.ReplayRequest(rule="cheapest_above", quality_floor=0.0))
    assert told.decisions == 10 and told.outcomes == 1 and told.good_share == 1.0
    assert told.cost_after_nano_usd < told.cost_before_nano_usd and told.quality_after <= told.quality_before
    assert {(one.model, one.before, one.after) for one in told.shares} == {("strong", 10, 0), ("weak", 0, 10)}
    same = await poor.Replay(pb.ReplayRequest(rule="cheapest_above"))
    assert same.cost_before_nano_usd == same.cost_after_nano_usd
    assert same.quality_before == pytest.approx(same.quality_after, abs=1e-3)
    fixed = await poor.Replay(pb.ReplayRequest(rule="fixed", models=["weak"]))
    assert [(one.model, one.after) for one in fixed.shares if one.after] == [("weak", 10)]


async def test_mistakes(router: Called) -> None:
    assert await field_of(router.Route(pb.RouteRequest())) == "model"
    assert await field_of(router.Route(asking(quality_floor=2))) == "quality_floor"
    assert await field_of(router.Judge(pb.JudgeRequest(decision_id="x"))) == "chat"
    assert await field_of(router.Replay(pb.ReplayRequest(rule="best"))) == "rule"
    assert await refused(router.Route(asking(needs=pb.Needs(input_tokens=10**8)))) == (
        grpc.StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE",
    )  # fmt: skip


def about(text: str, **more: Any) -> pb.RouteRequest:
    vector = encoder_pb2.Vector(model="static-minilm-256-1", values=static().encode(text).tobytes())
    return pb.RouteRequest(model="auto", text=text, vector=vector, **more)


async def test_the_first_route_that_holds_is_taken(router: Called) -> None:
    routed = router.by("routed/app")
    made = await routed.Route(about("Can my landlord evict me without going to court?"))
    assert (made.route, made.candidates[0].model) == ("law", "strong")
    assert (made.adjustment.system, made.adjustment.reasoning_effort) == ("Cite the statute.", "high")
    made = await routed.Route(about("Where has my parcel got to?"))
    assert (made.route, [one.model for one in made.candidates]) == ("parcels", ["strong"])
    assert [(one.name, one.truth) for one in made.adjustment.template_options] == [("enable_thinking", False)]
    made = await routed.Route(about("Where has my parcel got to?", metadata={"tier": "gold"}))
    assert (made.route, made.candidates[0].model, made.adjustment.no_store) == ("gold", "strong", True)
    made = await router.by("routed/own").Route(about("hello"))
    assert (made.route, [one.model for one in made.candidates]) == ("own", ["seeing", "strong"])
    assert {one.reason for one in made.candidates} == {"listed"} and not made.HasField("adjustment")
    made = await routed.Route(about("hello"))
    assert (made.route, made.candidates[0].model) == ("", "weak") and not made.HasField("adjustment")
    assert (await routed.Route(asking("weak"))).route == ""  # asked for by name
    assert (await router.Route(about("Can my landlord evict me?"))).route == ""  # another tenant's


async def test_a_route_does_not_lift_a_limit_of_its_tenant(router: Called) -> None:
    assert await refused(router.by("routed/app").Route(about("send it abroad"))) == (
        grpc.StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE",
    )  # fmt: skip


async def test_a_route_has_a_cascade_of_its_own(router: Called) -> None:
    routed = router.by("routed/app")
    made = await routed.Route(about("try it", needs=pb.Needs(input_tokens=400)))
    assert made.route == "tried" and made.HasField("cascade") and made.candidates[0].model != "strong"
    request = chat.ChatRequest(model="auto", messages=[chat.Message(role=chat.ROLE_USER)])
    told = await routed.Judge(pb.JudgeRequest(decision_id=made.decision_id, chat=request, completion=said("It is so.")))
    assert (told.good, told.reason) == (False, "unsure")  # enough for the usual one, and not for this


async def test_routes_are_explained(router: Called) -> None:
    made = await router.by("routed/app").Route(about("Where has my parcel got to?", explain=True))
    told = [(one.route, one.why_not) for one in made.considered]
    assert [name for name, _ in told] == ["own", "gold", "law", "parcels"] and told[-1][1] == ""
    assert told[0][1] == "accounts: routed/app" and told[1][1] == "metadata.tier: not there"
    assert told[2][1].startswith("subjects: ")
    assert not (await router.by("routed/app").Route(about("hello"))).considered


async def test_what_routes_look_at_is_pushed(router: Called) -> None:
    async def told(account: str) -> pb.WatchResponse:
        call = router.by(account).Watch(pb.WatchRequest())
        made = await anext(aiter(call))
        call.cancel()
        return made  # type: ignore[no-any-return]

    made = await told("routed/app")
    assert made.policy and made == pb.WatchResponse(metadata=["tier"], account=True, policy=made.policy)
    assert await told("other/app") == pb.WatchResponse()


async def test_what_routes_look_at_is_pushed_again_as_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text("{}")
    policies, meaning = Policies({}, str(tmp_path)), Meaning(Encoder())  # type: ignore[arg-type]
    service = RouterService(Catalogue(None, None, known={}), Predictor(), policies, None, meaning)  # type: ignore[arg-type]
    register = partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service)
    served = Service("tollway.router.v1.RouterService", "r", register, identity())
    async with channel_to(served, "inproc") as channel, running(policies.follow(meaning, every_s=0.02)):
        call = Called(router_pb2_grpc.RouterServiceStub(channel)).Watch(pb.WatchRequest())
        told = aiter(call)
        plain = await anext(told)
        assert plain == pb.WatchResponse(policy=plain.policy)
        file.write_text("routes: [{name: gold, when: {metadata: {tier: gold}}}]")
        gold = await anext(told)
        assert gold.policy != plain.policy and gold == pb.WatchResponse(metadata=["tier"], policy=gold.policy)
        file.unlink()
        assert await anext(told) == pb.WatchResponse()
        call.cancel()


def test_a_policy_is_another_once_it_makes_other_answers() -> None:
    def digest(**said: Any) -> str:
        return routes(read(Policy, said, "policy")).digest

    split = digest(weights={"weak": 0.1, "strong": 0.9})
    same = [
        digest(weights={"strong": 0.5, "weak": 0.5}),
        digest(weights={"weak": 1, "strong": 1}, fallbacks={"*": ["a"]}),
    ]
    assert [split, split] == same
    route = {"name": "law", "when": {"words": ["landlord"]}, "weights": {"weak": 0.5}}
    others = [
        digest(),
        digest(models=["weak"]),
        digest(weights={"weak": 1}),
        digest(routes=[route]),
        digest(routes=[{**route, "system": "Cite the statute."}]),
        digest(routes=[{**route, "when": {"words": ["tenant"]}}]),
    ]
    assert len({split, *others}) == 7
    assert digest(routes=[{**route, "weights": {"weak": 0.9}}]) == others[3]


async def test_a_model_that_was_asked_for_has_its_fallbacks(router: Called) -> None:
    following = router.by("following/app")
    made = await following.Route(asking("weak"))
    assert [(one.model, one.reason) for one in made.candidates] == [
        ("weak", "asked_for"), ("seeing", "fallback"), ("strong", "fallback"),
    ]  # fmt: skip
    made = await following.Route(asking("weak", needs=pb.Needs(vision=True)))  # what it cannot do another does
    assert [(one.model, one.reason) for one in made.candidates] == [("seeing", "fallback")]
    made = await following.Route(asking("strong", allowed=["strong"]))
    assert [one.model for one in made.candidates] == ["strong"]
    made = await following.Route(asking("strong"))
    assert [one.model for one in made.candidates] == ["strong", "weak"]


async def test_without_the_encoder_no_route_that_needs_it_is_taken() -> None:
    class Away:
        async def Encode(self, *_: object, **__: object) -> object:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    catalogue = Catalogue(None, None, known={"weak": replace(WEAK, regions=("fr",))})  # type: ignore[arg-type]
    for meaning in (Meaning(Away()), None):  # type: ignore[arg-type]
        service = RouterService(catalogue, Predictor(), Policies({"*": ROUTED}), None, meaning)
        register = partial(router_pb2_grpc.add_RouterServiceServicer_to_server, service)
        served = Service("tollway.router.v1.RouterService", "r", register, identity())
        async with channel_to(served, "inproc") as channel:
            made = await Called(router_pb2_grpc.RouterServiceStub(channel)).Route(about("Can I sue my landlord?"))
        assert (made.route, made.candidates[0].model) == ("", "weak")
