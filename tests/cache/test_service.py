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

from services.cache.cache import Cache
from services.cache.memory import MemoryStore
from services.cache.screen import Screen
from services.cache.service import CacheService
from services.cache.store import StoreAway
from services.cache.verifier import Verifier
from services.runtime.server import Service
from tests.support.callers import identity
from tests.support.encoders import Encoder, static
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called

TEXT = "What is the capital of France?"
REWORDED = "Tell me the capital of France"


class Kept:
    def __init__(self) -> None:
        self.encoder, self.store, self.now = Encoder(), MemoryStore(), 1000.0
        self.cache = Cache(self.store, Screen(), Verifier(self.encoder), 0.9, now=lambda: self.now)  # type: ignore[arg-type]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(params=TRANSPORTS)
async def cache(request: pytest.FixtureRequest, kept: Kept) -> AsyncIterator[Called]:
    register = partial(cache_pb2_grpc.add_CacheServiceServicer_to_server, CacheService(kept.cache, 100.0))
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


async def test_the_same_request_hits_exactly(cache: Called, kept: Kept) -> None:
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
    ],
)
async def test_a_near_miss_is_not_served(cache: Called, stored: str, asked: str) -> None:
    await cache.Store(store(stored))
    assert (await cache.Lookup(look(asked))).match == pb.MATCH_UNSPECIFIED


async def test_a_stranger_never_meets_the_transformer(cache: Called, kept: Kept) -> None:
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
