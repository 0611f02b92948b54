"""Shadows: what is asked, what is compared, what follows."""

import random
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import jobs_pb2
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import verdicts
from services.registry.verdicts import Found, Measure, Pair
from tests.registry.served import Jobs, propose, served, templates
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS
from tests.support.stubs import Called
from tests.support.waiting import eventually


def shadow(name: str = "try", **more: Any) -> pb.Shadow:
    same = pb.Compared(measure=jobs_pb2.Measure(name="same", kind=jobs_pb2.Measure.KIND_EXACT))
    said: dict[str, Any] = {"legacy": True, "candidate": pb.Candidate(model="new"), "measures": [same], **more}
    return pb.Shadow(name=name, **said)


def legacy(text: str = "where?", answer: str = "there", **more: Any) -> pb.CompareShadowRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    return pb.CompareShadowRequest(
        name="try", chat=chat.ChatRequest(model="old", messages=[message]), answer=answer, **more
    )


async def set_(stub: Called, made: pb.Shadow) -> pb.Shadow:
    found: pb.Shadow = (await stub.SetShadow(pb.SetShadowRequest(shadow=made))).shadow
    return found


async def report(stub: Called, name: str = "try") -> pb.GetShadowReportResponse:
    found: pb.GetShadowReportResponse = await stub.GetShadowReport(pb.GetShadowReportRequest(name=name))
    return found


async def compared(stub: Called, count: int, **more: Any) -> pb.GetShadowReportResponse:
    for _ in range(count):
        await stub.CompareShadow(legacy(**more))

    async def done() -> bool:
        return (await report(stub)).waiting == 0

    await eventually(done)
    return await report(stub)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_is_compared_with_the_candidates(postgres_url: str, transport: str) -> None:
    jobs = Jobs()
    async with served(postgres_url, jobs, transport) as stub:
        made = await set_(stub, shadow())
        assert (made.revision, made.key_id, made.tenant) == (1, "key_ann", "acme")
        found = await compared(stub, 1, cost_nano_usd=50, took=Duration(seconds=1))
        (asked,) = jobs.asked.values()
        assert jobs.callers == ["token of key_ann"]
        candidate, live = asked.evaluation.cases
        assert candidate.chat.chat.model == "new" and candidate.chat.options.cache.no_cache
        assert candidate.chat.chat.metadata["tollway.shadow"] == "try" and candidate.expected == "there"
        assert live.answer == "there" and not candidate.HasField("answer")
        (measure,) = found.measures
        assert (measure.pairs, measure.candidate, measure.live) == (1, 1.0, 0.9)
        assert (found.live.cost_nano_usd, found.candidate.cost_nano_usd) == (50, 30)
        assert (found.live.took.seconds, found.candidate.took.seconds) == (1, 3)
        (one,) = (await stub.ListComparisons(pb.ListComparisonsRequest(name="try"))).comparisons
        assert (one.state, dict(one.candidate), one.job_id) == ("done", {"same": 1.0}, next(iter(jobs.asked)))


async def test_a_verdict_comes_when_it_is_sure(postgres_url: str) -> None:
    chance = random.Random(5)
    jobs = Jobs(scores=lambda side: {"same": float(side == "live" or chance.random() < 0.5)})
    async with served(postgres_url, jobs) as stub:
        await set_(stub, shadow())
        first = await compared(stub, 3, expected="there")
        assert first.verdict == pb.VERDICT_UNDECIDED and first.measures[0].more != 0
        found = await compared(stub, 40, expected="there")
        assert found.verdict == pb.VERDICT_WORSE and found.measures[0].worse >= 20 and found.measures[0].more == 0
        await set_(stub, shadow())
        again = await report(stub)
        assert again.shadow.revision == 2 and again.measures[0].pairs == 0, "what another one found does not count"


async def test_a_candidate_without_an_answer_scores_nothing_and_a_spent_budget_does_not_count(
    postgres_url: str,
) -> None:
    jobs = Jobs(errors={"candidate": "PROVIDER_BROKE"})
    async with served(postgres_url, jobs) as stub:
        await set_(stub, shadow())
        found = await compared(stub, 2)
        assert (found.failed, found.skipped, found.measures[0].pairs, found.measures[0].candidate) == (2, 0, 2, 0.0)
        jobs.errors = {"candidate": "BUDGET_EXCEEDED"}
        found = await compared(stub, 3)
        assert (found.failed, found.skipped, found.measures[0].pairs) == (2, 3, 2)
        jobs.away = True
        assert (await refused(stub.CompareShadow(legacy())))[0] is grpc.StatusCode.UNAVAILABLE
        assert (await report(stub)).skipped == 4


async def test_a_shadow_has_its_most_under_way(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.registry.shadowing.MOST_WAITING", 0)
    async with served(postgres_url, Jobs()) as stub:
        await set_(stub, shadow())
        assert await refused(stub.CompareShadow(legacy())) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SHADOW_FULL")


async def test_the_meshs_own_answers_are_handed_in_by_an_administrator(postgres_url: str) -> None:
    jobs = Jobs()
    async with served(postgres_url, jobs) as stub:
        await propose(stub, "answer", *templates("old {{ q }}", "new {{ q }}", variables=("q",)))
        made = shadow(share=1, template="answer", candidate=pb.Candidate(prompt="answer@2"))
        made.ClearField("legacy")
        made.template = "answer"
        await set_(stub, made)
        options = gateway_pb2.Options(
            idempotency_key="k", prompt=gateway_pb2.Prompt(reference="answer", variables_json="{}")
        )
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="hi")])
        request = pb.MirrorRequest(
            tenant="acme", name="try", chat=chat.ChatRequest(messages=[message]), options=options, answer="a",
            used=chat.PromptVersion(name="answer", number=1), trace_id="t1",
        )  # fmt: skip
        assert (await refused(stub.Mirror(request)))[1] == "ADMINISTRATORS_ONLY"
        await stub.by("ops/admin", admin=True).Mirror(request)
        (asked,) = jobs.asked.values()
        sent = asked.evaluation.cases[0].chat
        assert sent.options.prompt.reference == "answer@2" and not sent.options.idempotency_key
        await set_(stub, shadow(share=1, template="answer", candidate=pb.Candidate(model="m")))
        await stub.by("ops/admin", admin=True).Mirror(request)
        sent = list(jobs.asked.values())[1].evaluation.cases[0].chat
        assert sent.options.prompt.reference == "answer@1" and sent.chat.model == "m", "the version that answered"
        assert [one.trace_id for one in (await stub.ListComparisons(pb.ListComparisonsRequest(name="try"))).comparisons] == ["t1"]  # fmt: skip


async def test_shadows_are_pushed_to_whoever_mirrors(postgres_url: str) -> None:
    async with served(postgres_url, Jobs()) as stub:
        assert (await refused(stub.Watch(pb.WatchRequest()).read()))[1] == "ADMINISTRATORS_ONLY"
        call = stub.by("ops/admin", admin=True).Watch(pb.WatchRequest())
        assert not (await call.read()).shadows
        await set_(stub, shadow())
        (told,) = (await call.read()).shadows
        assert (told.tenant, told.name) == ("acme", "try")
        await stub.DeleteShadow(pb.DeleteShadowRequest(name="try"))
        assert not (await call.read()).shadows
        call.cancel()


async def test_shadows_are_listed_and_taken_away(postgres_url: str) -> None:
    async with served(postgres_url, Jobs()) as stub:
        for name in ("b", "a"):
            await set_(stub, shadow(name))
        assert [one.name for one in (await stub.ListShadows(pb.ListShadowsRequest())).shadows] == ["a", "b"]
        assert not (await stub.by("globex/app").ListShadows(pb.ListShadowsRequest())).shadows
        await stub.DeleteShadow(pb.DeleteShadowRequest(name="a"))
        assert (await refused(stub.DeleteShadow(pb.DeleteShadowRequest(name="a"))))[1] == "SHADOW_UNKNOWN"
        assert (await refused(stub.by("globex/app").CompareShadow(legacy())))[1] == "SHADOW_UNKNOWN"
        actions = [
            one.json.partition('"action":"')[2][:12] for one in (await stub.ListAudit(pb.ListAuditRequest())).entries
        ]
        assert actions == ['shadow.set",', 'shadow.set",', "shadow.delet"]


@pytest.mark.parametrize(
    "made",
    [
        shadow(candidate=pb.Candidate()),
        shadow(candidate=pb.Candidate(prompt="answer")),
        shadow(promotion=pb.Promotion(label="production", share=0.1)),
        shadow(measures=[shadow().measures[0], shadow().measures[0]]),
    ],
)
async def test_a_shadow_that_cannot_be_is_refused(postgres_url: str, made: pb.Shadow) -> None:
    async with served(postgres_url, Jobs()) as stub:
        assert await field_of(stub.SetShadow(pb.SetShadowRequest(shadow=made))) == "shadow"


async def test_a_better_candidate_begins_to_answer_once_it_is_approved(postgres_url: str) -> None:
    jobs = Jobs(scores=lambda side: {"same": float(side == "candidate")})
    async with served(postgres_url, jobs, production=1) as ann:
        ben = ann.by("acme/search", key="key_ben")
        await propose(ann, "answer", *templates("one", "two"))
        await ben.ReviewVersion(pb.ReviewVersionRequest(name="answer", number=1, approve=True))
        await ann.MoveLabel(pb.MoveLabelRequest(name="answer", label="production", number=1))
        promotion = pb.Promotion(label="production", share=0.1)
        await set_(ann, shadow(candidate=pb.Candidate(prompt="answer@2"), promotion=promotion))
        found = await compared(ann, 12, expected="there")
        assert found.verdict == pb.VERDICT_BETTER and not found.HasField("promoted"), "nobody approved it"
        await ben.ReviewVersion(pb.ReviewVersionRequest(name="answer", number=2, approve=True))
        await compared(ann, 1, expected="there")

        async def promoted() -> bool:
            return (await report(ann)).HasField("promoted")

        await eventually(promoted)
        (label,) = (await ann.ListLabels(pb.ListLabelsRequest(name="answer"))).labels
        assert (label.number, label.rollout.candidate, label.moved_by) == (1, 2, "rules")
        await compared(ann, 3, expected="there")
        assert (await ann.ListLabels(pb.ListLabelsRequest(name="answer"))).labels[0].revision == label.revision, "once"


# What comparisons say.


def counted(pairs: list[Pair], measure: Measure) -> Found:
    found = Found()
    for pair in pairs:
        found = verdicts.counted(found, measure, pair)
    return found


def test_without_a_correct_answer_agreement_is_what_counts() -> None:
    alike = counted([Pair({"m": 1.0}, {"m": 1.0}, False)] * 100, Measure("m", target=0.9))
    assert alike.differences.mean == pytest.approx(0.1) and alike.verdict(0.05, 1) == "better"
    unlike = counted([Pair({"m": 0.5}, {"m": 1.0}, False)] * 100, Measure("m", target=0.9))
    assert unlike.verdict(0.05, 1) == "worse"
    judged = counted([Pair({"m": 0.5}, {"m": 0.2}, False)] * 100, Measure("m", judges=True))
    assert judged.verdict(0.05, 1) == "better" and judged.live == pytest.approx(20)


def test_better_is_better_by_all_and_worse_by_any() -> None:
    good = counted([Pair({"m": 1.0}, {"m": 0.0}, True)] * 20, Measure("m"))
    bad = counted([Pair({"m": 0.0}, {"m": 1.0}, True)] * 20, Measure("m"))
    assert verdicts.overall([good, good], 0.05) == "better"
    assert verdicts.overall([good, Found()], 0.05) == "undecided"
    assert verdicts.overall([good, bad], 0.05) == "worse" and verdicts.overall([], 0.05) == "undecided"
