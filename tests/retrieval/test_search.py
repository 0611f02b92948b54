"""Choosing among what was found: near duplicates, diversity, age, a cross-encoder within its time; and what policy lets in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from hypothesis import given
from hypothesis import strategies as st
from tollway.guard.v1 import guard_pb2
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.formats import Unreadable
from services.retrieval.ingest import Partition
from services.retrieval.ranking import Ranked, Scored, decayed, diverse, in_company
from services.retrieval.reranker import Reranker, RerankerAway
from services.retrieval.screening import PIECE, Pii, Screening
from services.retrieval.search import Wish
from services.retrieval.store import EVERYBODY, Scope
from services.retrieval.topics import turns
from tests.retrieval.test_store import passage
from tests.retrieval.whole import Whole
from tests.support.encoders import Encoder, static


async def searched(made: Whole, query: str, **wish: Any) -> list[Ranked]:
    return await made.search.search(query, None, Scope("acme", "", (EVERYBODY,)), Wish(**wish))


async def test_copies_of_a_text_are_one_piece_of_evidence() -> None:
    made = Whole()
    text = "The toll for lorries is nine crowns on weekdays and ten crowns on the two days of the weekend, payable at the gate."
    await made.bring("a", text)
    await made.bring("b", f"{text} Thank you.")
    await made.bring("c", "Lorries are long.")
    found = await searched(made, "toll for lorries")
    assert len(found) == 2 and {found[0].passage.document_id, *found[0].also_in} == {"a", "b"}


async def test_older_documents_count_less_when_asked() -> None:
    made = Whole()
    made.ingest.now = lambda: 1000.0
    await made.bring("old", "The toll for lorries is nine crowns.")
    made.ingest.now = lambda: 1000.0 + 86_400
    await made.bring("new", "The lorries' toll: ten crowns.")
    made.search.now = lambda: 1000.0 + 86_400
    assert (await searched(made, "the toll for lorries is"))[0].passage.document_id == "old"
    assert (await searched(made, "the toll for lorries is", half_life_s=3600.0))[0].passage.document_id == "new"


def test_scores_are_halved_with_each_half_life() -> None:
    ranked = [Ranked(passage("a", indexed=100.0), 1.0, {}), Ranked(passage("b", indexed=300.0), 0.4, {})]
    assert [(one.passage.text, one.score) for one in decayed(ranked, 300.0, 100.0)] == [("b", 0.4), ("a", 0.25)]


async def test_diversity_prefers_what_says_something_else() -> None:
    alike = [Ranked(passage(text), score, {}) for text, score in (("a", 1.0), ("b", 0.9), ("c", 0.5))]
    one, other = np.eye(2, 384, dtype=np.float32)
    vectors = {alike[0].passage.id: one, alike[1].passage.id: one, alike[2].passage.id: other}
    assert [found.passage.text for found in diverse(alike, vectors, 0.0, 2)] == ["a", "b"]
    assert [found.passage.text for found in diverse(alike, vectors, 0.5, 2)] == ["a", "c"]


def company(*scores: float) -> list[Scored]:
    return [Scored(f"p{n}", None, score) for n, score in enumerate(scores)]


def test_what_lies_together_passes_what_stands_alone() -> None:
    alone, one, other = np.eye(3, 8, dtype=np.float32)
    near = (one * 0.99 + other * np.sqrt(1 - 0.99**2)).astype(np.float32)
    vectors = {"p0": one, "p1": alone, "p2": near, "p3": other}
    assert [made.id for made in in_company("a toll", company(1.0, 0.9, 0.88, 0.1), vectors)][:3] == ["p0", "p2", "p1"]
    named = in_company("the toll of form AB-17", company(1.0, 0.9, 0.88, 0.1), vectors)
    assert next(made for made in named if made.id == "p1").score > 0.75


@given(
    st.lists(st.tuples(st.floats(0, 3, width=32), st.integers(0, 2**32 - 1) | st.none()), min_size=0, max_size=60),
    st.sampled_from(("what is the toll", 'where is "gate 7"', "order 12345")),
)
def test_company_moves_no_score_beyond_the_others(given: list[tuple[float, int | None]], question: str) -> None:
    scored = sorted(company(*(score for score, _ in given)), key=lambda one: -one.score)
    before = {one.id: one.score for one in scored}
    vectors = {}
    for one, (_, seed) in zip(company(*(0.0 for _ in given)), given, strict=True):
        if seed is not None:
            made = np.random.default_rng(seed).normal(size=8).astype(np.float32)
            vectors[one.id] = made / np.linalg.norm(made)
    found = in_company(question, scored, vectors)
    assert {one.id for one in found} == before.keys()
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    reached = [before[name] for name in vectors]
    for one in found:
        if one.id in vectors:
            assert min(reached) - 1e-6 <= one.score <= max(reached) + 1e-6
        else:
            assert one.score == before[one.id]


class CrossEncoder:
    """text-embeddings-inference's `/rerank`: likes texts with `gold`; slow when it is told to be."""

    def __init__(self) -> None:
        self.slow_s, self.status = 0.0, 200
        self.asked: list[Any] = []

    async def rerank(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.headers.get("authorization"), body))
        await asyncio.sleep(self.slow_s)
        scores = [{"index": n, "score": float("gold" in text)} for n, text in enumerate(body["texts"])]
        return web.json_response(sorted(scores, key=lambda one: -one["score"]), status=self.status)


@pytest.fixture
async def peer() -> AsyncIterator[tuple[CrossEncoder, Reranker]]:
    made, app, port = CrossEncoder(), web.Application(), unused_port()
    app.router.add_post("/rerank", made.rerank)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    reranker = Reranker(f"http://127.0.0.1:{port}/", "secret")
    yield made, reranker
    await reranker.close()
    await runner.cleanup()


async def test_a_cross_encoder_has_the_last_word_if_it_comes_in_time(peer: tuple[CrossEncoder, Reranker]) -> None:
    encoder, reranker = peer
    made = Whole()
    made.search.reranker, made.search.budget_s = reranker, 5.0
    await made.bring("a", "The toll for lorries is nine crowns.")
    await made.bring("b", "A lorry full of gold.")
    found = await searched(made, "toll for lorries")
    assert found[0].passage.document_id == "b" and found[0].parts["reranker"] == 1.0
    assert encoder.asked[0][0] == "Bearer secret" and encoder.asked[0][1]["query"] == "toll for lorries"
    encoder.slow_s, made.search.budget_s = 1.0, 0.05
    assert (await searched(made, "toll for lorries"))[0].passage.document_id == "a", "what comes late is not waited for"
    encoder.slow_s, encoder.status = 0.0, 503
    with pytest.raises(RerankerAway, match="503"):
        await reranker.scores("q", ["a"], 5.0)


class Guard:
    """Masks one address, and tells how long the pieces were."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    async def InspectPrompt(self, request: Any, **_: object) -> Any:
        text = request.messages[0].parts[0].text
        self.lengths.append(len(text))
        made = guard_pb2.InspectPromptResponse(sealed_map=request.sealed_map + b"x")
        if "ann@example.com" in text:
            made.masked = True
            made.findings.add(type="EMAIL")
            made.messages.add().CopyFrom(request.messages[0])
            made.messages[0].parts[0].text = text.replace("ann@example.com", "[EMAIL_1]")
        return made


async def test_personal_data_is_masked_before_it_is_searchable() -> None:
    guard: Any = Guard()
    made = Whole(screening=Screening(guard, {"acme": Pii.MASK, "*": Pii.REFUSE}))
    text = "\n\n".join(f"Paragraph {n}: write to ann@example.com. {'filler ' * 300}" for n in range(20))
    await made.bring("a", text)
    found = await made.found("write to ann", most=20)
    assert found and not any("ann@" in one for one in found) and "[EMAIL_1]" in found[0]
    assert sum(guard.lengths) == len(text) and max(guard.lengths) <= PIECE and len(guard.lengths) > 1
    await made.bring("a", text)
    assert len(await made.catalogue.page("acme", "", "", ("", ""), 9)) == 1


async def test_a_document_that_policy_keeps_out_says_so_without_saying_what() -> None:
    guard: Any = Guard()
    made = Whole(screening=Screening(guard, {"*": Pii.REFUSE}))
    with pytest.raises(Unreadable, match="EMAIL") as refused:
        await made.bring("a", "Write to ann@example.com.")
    assert "ann@" not in str(refused.value) and not await made.found("write")


async def test_topics_are_boundaries_where_asked() -> None:
    tolls = [f"The toll for lorries of class {n} is paid in crowns at the gate." for n in range(4)]
    moths = [f"Moth species {n} sleeps under leaves in the winter forest." for n in range(4)]
    text = "\n\n".join([*tolls, *moths])
    vectors = np.stack([static().encode(one) for one in (*tolls, *moths)])
    assert turns(vectors) == [4]
    made = Whole(partition=Partition(topics=True))
    await made.bring("a", text)
    assert [one.text.count("\n\n") for one in await made.store.of_document("acme", "", "a")] == [3, 3]


async def test_what_a_service_cannot_take_is_parked_and_stops_nothing() -> None:
    class Picky(Encoder):
        async def Encode(self, request: Any, **more: object) -> Any:
            if any("poison" in text for text in request.texts):
                raise grpc.aio.AioRpcError(
                    grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), grpc.aio.Metadata(), "texts: no"
                )
            return await super().Encode(request, **more)

    made = Whole(encoder=Picky())
    assert "texts: no" in str(await made.intake.take("acme", pb.Document(document_id="a", text="A poison text.")))
    assert not isinstance(await made.intake.take("acme", pb.Document(document_id="b", text="A fine text.")), Exception)
    assert [one.document_id for one in await made.catalogue.parked("acme", "", ("", ""), 9)] == ["a"]
