"""The cache's contract over every transport: right hits, no wrong ones, nobody else's."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.cache.v1 import cache_pb2 as pb
from tollway.cache.v1 import cache_pb2_grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2

from services.cache.bound import Bounds
from services.cache.cache import IDLE_BELOW, Cache
from services.cache.insight import Insights
from services.cache.memory import MemoryStore
from services.cache.proof import Prover
from services.cache.screen import Screen
from services.cache.service import CacheService
from services.cache.service import Kept as Retention
from services.cache.store import StoreAway
from services.cache.verifier import Verifier
from services.runtime.server import Service
from tests.support.callers import identity
from tests.support.encoders import Encoder, static
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until

TEXT = "What is the capital of France?"
REWORDED = "Tell me the capital of France"


class Kept:
    def __init__(self) -> None:
        self.encoder, self.store, self.now = Encoder(), MemoryStore(), 1000.0
        prover = Prover(Screen(), Verifier(self.encoder))  # type: ignore[arg-type]
        self.cache = Cache(self.store, prover, Bounds(0.01, 0.9), now=lambda: self.now)


def retention() -> Retention:
    return Retention(100.0, {"time_sensitive": 5.0, "grounded": 20.0}, most_s=1000.0)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(params=TRANSPORTS)
async def cache(request: pytest.FixtureRequest, kept: Kept) -> AsyncIterator[Called]:
    register = partial(
        cache_pb2_grpc.add_CacheServiceServicer_to_server, CacheService(kept.cache, retention(), Insights(kept.now))
    )
    served = Service("tollway.cache.v1.CacheService", "cache.tollway", register, identity())
    async with channel_to(served, request.param) as channel:
        yield Called(cache_pb2_grpc.CacheServiceStub(channel))


def fields(text: str, controls: pb.Controls | None = None, **more: Any) -> dict[str, Any]:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    vector = encoder_pb2.Vector(model="static-minilm-256-1", values=static().encode(text).tobytes())
    return {"chat": chat.ChatRequest(model="m", messages=[message], **more), "vector": vector, "controls": controls}


def look(text: str, controls: pb.Controls | None = None, **more: Any) -> pb.LookupRequest:
    return pb.LookupRequest(**fields(text, controls, **more))


def store(text: str, controls: pb.Controls | None = None, tags: tuple[str, ...] = (), **more: Any) -> pb.StoreRequest:
    said = chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text=f"answer to {text}")])
    choice = chat.Choice(message=said, finish_reason=chat.FINISH_REASON_STOP)
    made = chat.ChatCompletion(id="c", model="m", choices=[choice])
    return pb.StoreRequest(
        completion=made, cost_nano_usd=5, tags=tags, attached=b"with it", **fields(text, controls, **more)
    )


def busy(kept: Kept) -> None:
    """So many ask this second that nothing is looked at ahead."""
    kept.cache._second, kept.cache._in_second = int(kept.now), IDLE_BELOW


async def test_what_is_stored_in_quiet_times_meets_minilm_before_anybody_waits(cache: Called, kept: Kept) -> None:
    await cache.Store(store(TEXT))
    await until(lambda: kept.encoder.proved == 1)
    assert (await cache.Lookup(look(REWORDED))).match == pb.MATCH_SEMANTIC and kept.encoder.proved == 2


async def test_the_same_request_hits_exactly(cache: Called, kept: Kept) -> None:
    busy(kept)
    missed = await cache.Lookup(look(TEXT))
    assert (missed.match, missed.miss_reason) == (pb.MATCH_UNSPECIFIED, "NO_CANDIDATE") and missed.exact_key
    stored = await cache.Store(store(TEXT))
    hit = await cache.Lookup(look(TEXT))
    assert stored.stored and hit.match == pb.MATCH_EXACT and hit.entry_id == stored.entry_id
    assert hit.completion.choices[0].message.parts[0].text == f"answer to {TEXT}" and hit.attached == b"with it"
    assert (hit.confidence, kept.encoder.proved, hit.stored.seconds) == (1.0, 0, 1000)


async def test_a_rewording_hits_after_proof(cache: Called, kept: Kept) -> None:
    await cache.Store(store(TEXT))
    hit = await cache.Lookup(look(REWORDED))
    assert hit.match == pb.MATCH_SEMANTIC and hit.confidence >= 0.9 and kept.encoder.proved > 0


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("What is the fee for 3 transfers?", "What is the fee for 5 transfers?"),
        ("Is it safe to mix bleach and vinegar?", "Is it not safe to mix bleach and vinegar?"),
        ("How do I convert euros to dollars?", "How do I convert dollars to euros?"),
        ("How do I open an account in Germany?", "How do I open an account in France?"),
        ("How do I enable two-factor login?", "How do I disable two-factor login?"),
        ("Who won the world cup in 2014?", "Who won the world cup in 2018?"),
        ("Write to the buyers of 9f31c07e and 5b77a0d2", "Write to the buyers of 9f31c07e and 5b77a0d2 and 70ce41b9"),
        ("What became of order 1180234 and its parcel?", "What became of the order and its parcel?"),
    ],
)
async def test_a_near_miss_is_not_served(cache: Called, stored: str, asked: str) -> None:
    await cache.Store(store(stored))
    assert (await cache.Lookup(look(asked))).match == pb.MATCH_UNSPECIFIED


async def test_a_stranger_never_meets_the_transformer(cache: Called, kept: Kept) -> None:
    busy(kept)
    await cache.Store(store(TEXT))
    assert (await cache.Lookup(look("Which soil do blueberries like?"))).match == pb.MATCH_UNSPECIFIED
    assert kept.encoder.proved == 0


async def test_nobody_elses(cache: Called) -> None:
    await cache.Store(store(TEXT))
    for account in ("other/search", "acme/finance"):
        assert (await cache.by(account).Lookup(look(TEXT))).match == pb.MATCH_UNSPECIFIED
    wide = pb.Controls(scope=pb.SCOPE_TENANT)
    await cache.Store(store(TEXT, wide))
    assert (await cache.by("acme/finance").Lookup(look(TEXT, wide))).match == pb.MATCH_EXACT


async def test_age_and_expiry(cache: Called, kept: Kept) -> None:
    await cache.Store(store(TEXT))
    kept.now += 50
    assert (await cache.Lookup(look(TEXT, pb.Controls(max_age=Duration(seconds=40))))).match == pb.MATCH_UNSPECIFIED
    assert (await cache.Lookup(look(TEXT, pb.Controls(max_age=Duration(seconds=60))))).match == pb.MATCH_EXACT
    kept.now += 60
    assert (await cache.Lookup(look(TEXT))).match == pb.MATCH_UNSPECIFIED


async def test_what_is_not_kept_says_why(cache: Called) -> None:
    assert (await cache.Store(store("What is the weather today?"))).reason == "TIME_SENSITIVE"
    assert (await cache.Store(store("What is the weather today?", pb.Controls(store_anyway=True)))).stored
    assert (await cache.Store(store(TEXT, pb.Controls(no_store=True)))).reason == "NO_STORE"
    assert (await cache.Lookup(look(TEXT, pb.Controls(no_cache=True)))).miss_reason == "BYPASSED"


async def test_dropping_wants_to_know_what(cache: Called) -> None:
    await cache.Store(store(TEXT, tags=("faq",)))
    assert await field_of(cache.Invalidate(pb.InvalidateRequest())) == "all"
    assert (await cache.by("other").Invalidate(pb.InvalidateRequest(all=True))).dropped == 0
    assert (await cache.Invalidate(pb.InvalidateRequest(tag="faq"))).dropped == 1
    assert (await cache.Lookup(look(TEXT))).match == pb.MATCH_UNSPECIFIED


async def test_an_entry_that_misled_is_served_no_more(cache: Called) -> None:
    stored = await cache.Store(store(TEXT))
    assert (await cache.Lookup(look(REWORDED))).match == pb.MATCH_SEMANTIC
    for _ in range(60):
        assert (await cache.ReportHit(pb.ReportHitRequest(entry_id=stored.entry_id, right=False))).known
    assert (await cache.Lookup(look(REWORDED))).miss_reason == "NOT_PROVEN"
    assert not (await cache.by("other").ReportHit(pb.ReportHitRequest(entry_id=stored.entry_id))).known


async def test_a_store_that_is_away_is_a_miss(cache: Called, kept: Kept) -> None:
    async def away(*_: object) -> None:
        raise StoreAway

    kept.store.get = away  # type: ignore[method-assign,assignment]
    assert (await cache.Lookup(look(TEXT))).miss_reason == "UNAVAILABLE"


async def test_a_vector_of_another_model_is_not_compared(cache: Called) -> None:
    await cache.Store(store(TEXT))
    request = look(REWORDED)
    request.vector.model = "another"
    assert (await cache.Lookup(request)).match == pb.MATCH_UNSPECIFIED
    request.vector.values = np.ones(3, np.float32).tobytes()
    assert (await cache.Lookup(request)).match == pb.MATCH_UNSPECIFIED


async def test_strangers_and_empty_requests(cache: Called) -> None:
    assert (await refused(cache.stub.Lookup(look(TEXT))))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert await field_of(cache.Lookup(pb.LookupRequest())) == "chat"


async def test_how_long_an_answer_is_kept(cache: Called, kept: Kept) -> None:
    anyway = pb.Controls(store_anyway=True)
    await cache.Store(store("What is the weather today?", anyway))
    await cache.Store(store(TEXT, pb.Controls(ttl=Duration(seconds=300))))
    refusal = await refused(cache.Store(store(TEXT, pb.Controls(ttl=Duration(seconds=2000)))))
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, "TTL_TOO_LONG")
    kept.now += 6
    assert not (await cache.Lookup(look("What is the weather today?"))).match, "its class is kept for 5 s"
    kept.now += 200
    assert (await cache.Lookup(look(TEXT))).match == pb.MATCH_EXACT, "the caller asked for 300 s"
    grounded = {"conditions": pb.Conditions(ground="g")}
    request, asked = store(TEXT), look(TEXT)
    for one in (request, asked):
        one.conditions.CopyFrom(grounded["conditions"])
    await cache.Store(request)
    kept.now += 21
    assert not (await cache.Lookup(asked)).match, "grounded answers are kept for 20 s"


async def test_a_stale_answer_is_served_where_that_is_allowed(cache: Called, kept: Kept) -> None:
    await cache.Store(store(TEXT))
    kept.now += 110
    assert not (await cache.Lookup(look(TEXT))).match
    hit = await cache.Lookup(look(TEXT, pb.Controls(max_stale=Duration(seconds=30))))
    assert hit.match == pb.MATCH_EXACT and hit.stale
    kept.now += 30
    assert not (await cache.Lookup(look(TEXT, pb.Controls(max_stale=Duration(seconds=30))))).match


def answered(text: str) -> chat.ChatCompletion:
    said = chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text=text)])
    return chat.ChatCompletion(choices=[chat.Choice(message=said, finish_reason=chat.FINISH_REASON_STOP)])


@pytest.mark.parametrize(
    ("fresh", "judgement"),
    [
        (f"Answer to: {TEXT}", pb.JUDGEMENT_RIGHT),
        ("Blueberries want sour soil and much water in July.", pb.JUDGEMENT_WRONG),
        (f"answer to {TEXT} 42", pb.JUDGEMENT_WRONG),
    ],
)
async def test_a_fresh_answer_judges_a_hit(cache: Called, fresh: str, judgement: "pb.Judgement.ValueType") -> None:
    await cache.Store(store(TEXT))
    hit = await cache.Lookup(look(REWORDED))
    told = await cache.ReportHit(pb.ReportHitRequest(entry_id=hit.entry_id, fresh=answered(fresh)))
    assert told.known and told.judgement == judgement
    insight = (await cache.GetInsight(pb.GetInsightRequest())).insights[0]
    assert sum(one.right for one in insight.calibration) == (judgement == pb.JUDGEMENT_RIGHT)
    assert sum(one.wrong for one in insight.calibration) == (judgement == pb.JUDGEMENT_WRONG)
    other = await cache.by("other/search").ReportHit(pb.ReportHitRequest(entry_id=hit.entry_id, fresh=answered(fresh)))
    assert not other.known


async def test_insight_counts_by_template_and_by_tenant(cache: Called) -> None:
    conditions = pb.Conditions(template="greet@3")
    request, asked = store(TEXT), look(TEXT)
    for one in (request, asked):
        one.conditions.CopyFrom(conditions)
    await cache.Lookup(asked)
    await cache.Store(request)
    await cache.Lookup(asked)
    await cache.Lookup(look(TEXT))
    told = await cache.GetInsight(pb.GetInsightRequest(template="greet@3"))
    assert [one.template for one in told.insights] == ["greet@3"] and told.error_bound == 0.01
    one = told.insights[0]
    assert (one.lookups, one.exact, dict(one.misses), one.saved_nano_usd) == (2, 1, {"NO_CANDIDATE": 1}, 5)
    both = await cache.GetInsight(pb.GetInsightRequest())
    assert [one.template for one in both.insights] == ["greet@3", ""]
    assert not (await cache.by("other/search").GetInsight(pb.GetInsightRequest())).insights


def explain(text: str, **more: Any) -> pb.ExplainRequest:
    return pb.ExplainRequest(**fields(text, **more))


async def test_explaining_says_why_and_counts_nothing(cache: Called, kept: Kept) -> None:
    first = await cache.Store(store("How do I convert euros to dollars?"))
    exact = await cache.Explain(explain("How do I convert euros to dollars?"))
    assert (exact.match, exact.entry_id) == (pb.MATCH_EXACT, first.entry_id)
    same = await cache.Explain(explain("how can i convert euros to dollars"))
    assert same.match == pb.MATCH_SEMANTIC and same.candidates[0].outcome == "SAME_WORDS"
    turned = await cache.Explain(explain("How do I convert dollars to euros?"))
    assert (turned.match, turned.miss_reason) == (pb.MATCH_UNSPECIFIED, "NOT_PROVEN")
    one = turned.candidates[0]
    assert one.outcome == "REARRANGED" and one.minilm_cosine > 0.9 and one.chance == 0 and one.facts["order"] > 0
    none = await cache.Explain(explain("Which soil do blueberries like today?"))
    assert none.miss_reason == "NO_CANDIDATE" and none.store_reason == "TIME_SENSITIVE"
    kept.now += 200
    ended = await cache.Explain(explain("how can i convert euros to dollars"))
    assert [one.outcome for one in ended.candidates] == ["EXPIRED"] and ended.miss_reason == "NO_CANDIDATE"
    assert not (await cache.GetInsight(pb.GetInsightRequest())).insights


async def test_entries_that_say_the_same_are_no_rivals(cache: Called) -> None:
    for text in ("Which plan has phone support?", "Which plans come with support by phone?"):
        request = store(text)
        request.completion.choices[0].message.parts[0].text = "The gold plan."
        await cache.Store(request)
    told = await cache.Explain(explain("What plan includes support by phone?"))
    assert len(told.candidates) == 2 and all(one.facts["agreeing"] == 1 for one in told.candidates if one.facts)


async def test_a_rewording_is_found_at_any_steady_temperature(cache: Called) -> None:
    await cache.Store(store(TEXT, temperature=0.0))
    assert (await cache.Lookup(look(REWORDED, temperature=0.2))).match == pb.MATCH_SEMANTIC
    assert not (await cache.Lookup(look(REWORDED, temperature=0.9))).match
    assert (await cache.Lookup(look(TEXT, temperature=0.2))).match != pb.MATCH_EXACT


async def test_what_was_asked_when_a_hit_was_right_becomes_another_way_to_ask(cache: Called) -> None:
    first = await cache.Store(store(TEXT, tags=("document:1",)))
    hit = await cache.Lookup(look(REWORDED))
    assert hit.entry_id == first.entry_id and hit.match == pb.MATCH_SEMANTIC
    await cache.ReportHit(pb.ReportHitRequest(entry_id=hit.entry_id, right=True))
    again = await cache.Lookup(look(REWORDED))
    assert again.match == pb.MATCH_EXACT and again.completion == hit.completion and again.entry_id != first.entry_id
    assert (await cache.Invalidate(pb.InvalidateRequest(tag="document:1"))).dropped == 2


async def test_what_is_not_to_be_kept_is_not_learnt_either(cache: Called) -> None:
    await cache.Store(store(TEXT))
    private = pb.Controls(no_store=True)
    hit = await cache.Lookup(look(REWORDED, private))
    assert hit.match == pb.MATCH_SEMANTIC
    await cache.ReportHit(pb.ReportHitRequest(entry_id=hit.entry_id, right=True))
    assert (await cache.Lookup(look(REWORDED, private))).match == pb.MATCH_SEMANTIC


async def test_what_an_end_user_asked_is_erased_and_nothing_else(cache: Called, kept: Kept) -> None:
    admin = cache.by("operator", admin=True)
    await cache.Store(store("Where is the harbour?", user="ann", tags=("tollway.subject/forged",)))
    await cache.Store(store(TEXT, user="ben"))
    await cache.by("other/search").Store(store("Where is the harbour?", user="ann"))
    hit = await cache.Lookup(look("Tell me where the harbour is", user="ben"))
    assert (
        hit.match == pb.MATCH_SEMANTIC
        and (await cache.ReportHit(pb.ReportHitRequest(entry_id=hit.entry_id, right=True))).known
    )
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", subject="ann"))
    assert gone.erased == {"answers": 1}
    assert (await cache.Lookup(look("Where is the harbour?"))).match != pb.MATCH_EXACT, (
        "another found it, and asked otherwise"
    )
    assert (await cache.by("other/search").Lookup(look("Where is the harbour?"))).match == pb.MATCH_EXACT
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", subject="ben"))
    assert gone.erased == {"answers": 2}, "his own, and the words in which he found hers"
    assert (await cache.Lookup(look(TEXT))).match == pb.MATCH_UNSPECIFIED
    assert (await admin.Erase(pb.EraseRequest(tenant="acme", subject="ben"))).erased == {"answers": 0}


async def test_a_tenant_is_erased(cache: Called, kept: Kept) -> None:
    await cache.Store(store(TEXT))
    await cache.by("other/search").Store(store(TEXT))
    await cache.Lookup(look(REWORDED))
    admin = cache.by("operator", admin=True)
    assert (await admin.Erase(pb.EraseRequest(tenant="acme", everything=True))).erased == {"answers": 1}
    assert (await cache.Lookup(look(TEXT))).match == pb.MATCH_UNSPECIFIED and not kept.cache._served
    (insight,) = (await cache.GetInsight(pb.GetInsightRequest())).insights
    assert insight.lookups == 1, "counted since"
    assert (await cache.by("other/search").Lookup(look(TEXT))).match == pb.MATCH_EXACT
    assert await field_of(admin.Erase(pb.EraseRequest(tenant="acme"))) == "what"
    assert await field_of(admin.Erase(pb.EraseRequest(tenant="acme/search", everything=True))) == "tenant"
    assert (await refused(cache.Erase(pb.EraseRequest(tenant="acme", everything=True))))[1] == "ADMINISTRATORS_ONLY"
