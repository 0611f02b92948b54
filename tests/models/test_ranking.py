"""Who is asked, in what order and how often: a model that fails or hangs harms nobody else."""

import asyncio
import time

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Catalogue, Entry
from services.models.health import ENOUGH, OPENS_AFTER
from services.models.limits import Priority
from services.models.pools import Asker
from services.models.ranking import Ranking, Told
from services.models.wires.adapter import Target
from services.runtime.errors import Failure
from services.runtime.secrets import SecretMissing, Secrets
from tests.models.scripted import Scripted, answered, broke, ranking, said


async def test_the_next_candidate_answers_when_one_fails() -> None:
    wire = Scripted(a=[broke(), broke()])
    made, told = await answered(ranking(wire), "a", "b")
    assert (made, told.model, told.attempts) == ("b", "b", 3) and wire.asked == ["a", "a", "b"]


async def test_another_deployment_answers_at_once_when_one_fails() -> None:
    for failure in (broke(), faults.ProviderBusy(model="a", status=429), faults.ProviderDenied(model="a", status=401)):
        wire = Scripted(a1=[failure] * 9, a2=[])
        ranked = ranking(wire, places=2)
        for _ in range(8):
            assert (await answered(ranked, "a"))[0] == "a2"
        assert wire.asked.count("a1") <= 5


async def test_a_key_that_cannot_be_read_leaves_the_others() -> None:
    wire = Scripted()
    entries = {
        "a": Entry("a", wire="scripted", key="file:/nowhere/key"),
        "b": Entry("b", base_url="b", wire="scripted"),
    }
    ranked = Ranking(Catalogue(entries), {"scripted": wire}, Secrets(None))  # type: ignore[arg-type]
    assert (await answered(ranked, "a", "b"))[0] == "b"
    with pytest.raises(SecretMissing):
        await answered(ranked, "a")


async def test_a_bad_request_is_nobody_elses_to_answer() -> None:
    wire = Scripted(a=[faults.ProviderRefused(model="a", status=400, about="")])
    with pytest.raises(faults.ProviderRefused):
        await answered(ranking(wire), "a", "b")
    assert wire.asked == ["a"]


async def test_who_cannot_is_passed_over_and_another_may_be_able() -> None:
    wire = Scripted(a1=[unable()] * 2, a2=[unable()] * 2)
    assert (await answered(ranking(wire, places=2), "a", "b"))[0].startswith("b")
    assert [name[0] for name in wire.asked] == ["a", "b"], "one deployment speaks for the other"
    with pytest.raises(faults.Unsupported):
        await answered(ranking(Scripted(a=[unable()], b=[unable()])), "a", "b")
    with pytest.raises(faults.ProviderBroke):
        await answered(ranking(Scripted(a=[broke()] * 2, b=[unable()])), "a", "b")


def unable() -> Failure:
    return faults.Unsupported(model="m", what="be told top_k")


async def test_the_last_failure_speaks_when_all_fail() -> None:
    wire = Scripted(a=[broke()] * 2, b=[faults.ProviderBusy(model="b", status=429, retry_after_s=3.0)])
    with pytest.raises(faults.ProviderBusy) as caught:
        await answered(ranking(wire), "a", "b")
    assert caught.value.retry_after_s == 3.0


async def test_retries_have_a_budget() -> None:
    wire = Scripted(a=[broke() for _ in range(200)])
    ranked = ranking(wire)
    for _ in range(40):
        with pytest.raises(Failure):
            await answered(ranked, "a")
    assert len(wire.asked) < 60


async def test_nobody_is_asked_again_for_a_caller_who_will_be_gone() -> None:
    wire = Scripted(a=[broke()] * 2, b=[])
    ranked = ranking(wire)
    ranked.pools["b"].endpoints[0].health.latency_s = 9.0
    with pytest.raises(faults.ProviderBroke):
        await answered(ranked, "a", "b", asker=Asker(until=time.monotonic() + 2.0))
    assert "b" not in wire.asked
    assert (await answered(ranked, "a", "b", asker=Asker(until=time.monotonic() + 20.0)))[0] == "a"


async def test_an_open_breaker_is_asked_last_and_a_full_model_not_at_all() -> None:
    ranked = ranking(Scripted(), concurrency=1)
    for _ in range(OPENS_AFTER):
        ranked.pools["a"].endpoints[0].health.failed()
    assert (await answered(ranked, "a", "b"))[1].model == "b"
    ranked.pools["b"].endpoints[0].limit.begin("t")
    assert (await answered(ranked, "b", "c"))[1].model == "c"
    with pytest.raises(faults.Overloaded) as caught:
        await answered(ranked, "b")
    assert caught.value.retry_after_s


async def test_a_hanging_model_leaves_the_others_alone() -> None:
    wire = Scripted(a=[60.0] * 9)
    ranked = ranking(wire, concurrency=10)
    stuck = [asyncio.create_task(answered(ranked, "a", asker=Asker("hangs"))) for _ in range(9)]
    await asyncio.sleep(0.01)
    with pytest.raises(faults.Overloaded):
        await answered(ranked, "a", asker=Asker("hangs"))
    assert (await answered(ranked, "a", asker=Asker("another")))[0] == "a"  # a place was kept for it
    assert (await answered(ranked, "a", "b", asker=Asker("hangs")))[1].model == "b"
    with pytest.raises(faults.Overloaded):
        await answered(ranked, "a", asker=Asker("another", Priority.LOW))
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert ranked.pools["a"].endpoints[0].limit.under_way == 0 and wire.left == ["a"] * 9


async def test_a_used_up_rate_limit_goes_to_another_key() -> None:
    def spent(target: Target) -> None:
        if target.url == "a1":
            target.heard({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"})

    wire = Scripted()
    wire.on_call = spent
    ranked = ranking(wire, places=2)
    for _ in range(30):
        await answered(ranked, "a")
    assert wire.asked.count("a1") <= 1
    alone = ranking(wire, places=1)
    await answered(alone, "a")
    assert not alone.pools["a"].available and ranked.pools["a"].available  # as the router is told
    with pytest.raises(faults.ProviderBusy) as caught:
        await answered(alone, "a")
    assert caught.value.retry_after_s and 29 < caught.value.retry_after_s <= 30


async def test_a_stream_falls_back_before_its_first_piece_and_never_after() -> None:
    wire = Scripted(a=[broke(), broke()])
    text, told, _ = await said(ranking(wire), "a", "b")
    assert (text, told.model) == ("one two three", "b")
    later = Scripted(a=[None, None, broke()])
    with pytest.raises(faults.ProviderBroke):
        await said(ranking(later), "a", "b")
    assert later.asked == ["a"]


async def test_a_broken_stream_is_taken_up_by_another_deployment_where_the_entry_says_so() -> None:
    wire = Scripted(a1=[None, None, broke()])
    ranked = ranking(wire, places=2, take_up=True)
    busier(ranked, "a2")
    text, told, usage = await said(ranked, "a", request=_asking())
    assert text == "one two one two three" and told.model == "a"
    asked = wire.requests[-1]
    assert [part.text for part in asked.messages[1].parts] == ["one two "] and asked.max_output_tokens == 98
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 4, True) and told.extra_input_tokens == 10


def busier(ranked: Ranking, address: str) -> None:
    """Makes the other deployment of the two the one that is asked first."""
    pool = ranked.pools[address[0]]
    next(one for one in pool.endpoints if one.place.base_url == address).limit.begin("t")


def _asking() -> chat.ChatRequest:
    request = chat.ChatRequest(max_output_tokens=100)
    request.messages.add(role=chat.ROLE_USER).parts.add(text="count")
    return request


async def test_only_plain_text_is_taken_up_and_only_once() -> None:
    twice = Scripted(a1=[None, broke()], a2=[None, broke()])
    with pytest.raises(faults.ProviderBroke):
        await said(ranking(twice, places=2, take_up=True), "a", request=_asking())
    assert len(twice.asked) == 2
    shaped = _asking()
    shaped.response_format.type = chat.ResponseFormat.TYPE_JSON_OBJECT
    json = Scripted(a1=[None, broke()], a2=[None, broke()])
    with pytest.raises(faults.ProviderBroke):
        await said(ranking(json, places=2, take_up=True), "a", request=shaped)
    assert len(json.asked) == 1
    text = _asking()
    text.text_completion = True
    gone_on = Scripted(a1=[None, broke()], a2=[None, broke()])
    with pytest.raises(faults.ProviderBroke):
        await said(ranking(gone_on, places=2, take_up=True), "a", request=text)
    assert len(gone_on.asked) == 1


async def test_a_slow_call_is_hedged_and_the_loser_is_cut() -> None:
    wire = Scripted()
    ranked = ranking(wire, places=2, hedge=True)
    for endpoint in ranked.pools["a"].endpoints:
        for _ in range(ENOUGH):
            endpoint.health.answered(endpoint.health.now() - 0.01)
    busier(ranked, "a2")
    wire.scripts = {"a1": [30.0], "a2": []}
    made, told = await answered(ranked, "a")
    assert made == "a2" and told.extra_input_tokens == 10 and wire.left == ["a1"]
    wire.scripts = {"a1": [30.0], "a2": []}
    await answered(ranked, "b")
    ranked._hedges.left = 1.0
    text, told, _ = await said(ranked, "a")
    assert text == "one two three" and told.extra_input_tokens == 10 and wire.left == ["a1", "a1"]
    assert [one.limit.under_way for one in ranked.pools["a"].endpoints] == [0, 1]


async def test_hedges_have_a_budget() -> None:
    wire = Scripted()
    ranked = ranking(wire, places=2, hedge=True)
    for endpoint in ranked.pools["a"].endpoints:
        for _ in range(ENOUGH):
            endpoint.health.answered(endpoint.health.now())
    wire.scripts = {"a1": [0.01] * 200, "a2": [0.01] * 200}
    for _ in range(60):
        await answered(ranked, "a")
    assert 60 < len(wire.asked) <= 60 + 1 + 60 * 0.05 + 1


async def test_a_hedge_that_fails_leaves_the_first_call_to_answer() -> None:
    wire = Scripted()
    ranked = ranking(wire, places=2, hedge=True)
    for endpoint in ranked.pools["a"].endpoints:
        for _ in range(ENOUGH):
            endpoint.health.answered(endpoint.health.now())
    busier(ranked, "a2")
    wire.scripts = {"a1": [0.05], "a2": [broke()]}
    assert (await answered(ranked, "a"))[0] == "a1" and wire.asked == ["a1", "a2"]


async def test_a_caller_who_leaves_ends_the_call_at_once() -> None:
    wire = Scripted(a=[None, 60.0])
    ranked = ranking(wire)
    pieces = ranked.stream(["a"], chat.ChatRequest(), Asker(), Told())
    assert (await anext(pieces)).id == "a"
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await pieces.aclose()
    assert wire.left == ["a"] and ranked.pools["a"].endpoints[0].limit.under_way == 0


async def test_embedding_goes_by_the_same_rules() -> None:
    wire = Scripted(a=[broke()])
    ranked = ranking(wire, embeddings=True)
    assert (await ranked.embed("a", ["x", "y"], 0, Asker())).vectors == [[1.0], [1.0]] and wire.asked == ["a", "a"]
    with pytest.raises(faults.Unsupported):
        await ranking(wire).embed("a", ["x"], 0, Asker())
