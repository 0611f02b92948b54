"""The road over every transport: the order of its steps, what it does without, what a failure leaves behind."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2
from tollway.retrieval.v1 import retrieval_pb2
from tollway.router.v1 import router_pb2

from services.orchestrator import bounds
from services.orchestrator.again import Again
from services.orchestrator.deferring import Deferring
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Epochs, Models, Registered
from services.orchestrator.failures import Dependencies
from services.orchestrator.mirroring import Mirroring
from services.orchestrator.prompting import Prompting
from services.orchestrator.recording import Recording
from services.orchestrator.road import Road
from services.orchestrator.service import GatewayService
from services.orchestrator.terms import Terms
from services.runtime import channels
from services.runtime.server import Service
from tests.orchestrator.peers import Mesh
from tests.support.callers import identity
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until

Code = grpc.StatusCode
BEFORE = ["encoder.Encode", "guard.InspectPrompt", "cache.Lookup", "router.Route", "ledger.Reserve"]


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture(params=TRANSPORTS)
async def gateway(request: pytest.FixtureRequest, mesh: Mesh) -> AsyncIterator[Called]:
    peers = mesh.peers()
    known = {
        "m": models_pb2.Model(
            name="m", provider="p", provider_model="q", max_output_tokens=500, most_calls=2, context_tokens=1000
        ),
        "talker": models_pb2.Model(
            name="talker",
            provider="p",
            provider_model="t",
            realtime=True,
            max_output_tokens=500,
            context_tokens=1000,
            regions=["eu"],
        ),
        "scribe": models_pb2.Model(name="scribe", provider="p", provider_model="w", second_tokens=10, regions=["eu"]),
    }
    policies = {
        "daring/app": Dependencies(guard="open", ledger="open", allowance=Terms(tokens=4000, requests=3)),
        "strict/app": Dependencies(cache="closed", router="closed"),
    }
    desk = Desk("tw_ourselves")
    road = Road(
        peers,
        Models(peers.models, known, True),
        Epochs(peers.retrieval),
        desk,
        policies,
        context_tokens={"wordy/app": 300},
        auto_names=frozenset({"smart"}),
    )
    register = partial(
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
        GatewayService(
            road,
            Deferring(peers.jobs, desk),
            Prompting(road),
            Mirroring(road, Registered(peers.registry)),
            Recording(road, Registered(peers.registry)),
            Again(road),
        ),
    )
    served = Service("tollway.gateway.v1.GatewayService", "gateway.tollway", register, identity())
    async with channel_to(served, request.param) as channel:
        yield Called(gateway_pb2_grpc.GatewayServiceStub(channel))
    await desk.cleared(5)
    road.epochs.close()
    road.routed.close()


def asking(model: str = "auto", options: pb.Options | None = None, **more: Any) -> pb.CompleteRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="what is new?")])
    return pb.CompleteRequest(chat=chat.ChatRequest(model=model, messages=[message], **more), options=options)


def streaming(request: pb.CompleteRequest) -> pb.StreamCompleteRequest:
    return pb.StreamCompleteRequest(chat=request.chat, options=request.options)


async def test_the_steps_in_their_order(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.Complete(asking())
    assert made.completion.choices[0].message.parts[0].text == "one two"
    assert (made.road.model, made.road.held_nano_usd, made.road.route_reason) == ("m", 70, "r")
    await until(lambda: {"ledger.Settle", "cache.Store"} <= set(mesh.asked))
    steps = [one for one in mesh.asked if one != "router.Watch"]  # which a tenant's first request begins
    assert steps[:7] == [*BEFORE, "models.Generate", "guard.InspectAnswer"]
    settled = mesh.messages["ledger.Settle"]
    assert (settled.input_tokens, settled.output_tokens, settled.hold, settled.model) == (9, 2, b"hold of m", "m")
    assert mesh.messages["models.Generate"].chat.max_output_tokens == 500  # nobody writes more than is held


async def test_a_stream_settles_before_its_last_piece(gateway: Called, mesh: Mesh) -> None:
    pieces = [one async for one in gateway.StreamComplete(streaming(asking()))]
    assert (
        pieces[0].HasField("road") and pieces[-1].road.cost_nano_usd == 7 and pieces[-1].chunk.usage.output_tokens == 2
    )
    assert "".join(c.content for one in pieces for c in one.chunk.choices) == "one two"
    assert "ledger.Settle" in mesh.asked
    await until(lambda: "cache.Store" in mesh.asked)


async def test_a_hit_skips_the_router_and_the_model_and_costs_no_money(gateway: Called, mesh: Mesh) -> None:
    kept = mesh._Generate(models_pb2.GenerateRequest(candidates=["m"])).completion
    mesh.hit = cache_pb2.LookupResponse(match=cache_pb2.MATCH_SEMANTIC, entry_id="e1", completion=kept)
    made = await gateway.Complete(asking())
    assert (made.road.cache, made.road.cache_entry_id) == (cache_pb2.MATCH_SEMANTIC, "e1")
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert not {"router.Route", "models.Generate", "cache.Store"} & set(mesh.asked)
    assert mesh.messages["ledger.Settle"].cached and not mesh.messages["ledger.Reserve"].attempts
    streamed = [one async for one in gateway.StreamComplete(streaming(asking()))]
    assert "".join(c.content for one in streamed for c in one.chunk.choices) == "one two"


@pytest.mark.parametrize("away", ["encoder", "cache", "router"])
async def test_what_may_be_done_without_is_and_is_told(gateway: Called, mesh: Mesh, away: str) -> None:
    mesh.away = {away: Code.UNAVAILABLE}
    made = await gateway.Complete(asking())
    assert list(made.road.degraded) == [away] and made.completion.choices[0].message.parts[0].text == "one two"
    mesh.away = {}  # what is still tried ends


@pytest.mark.parametrize("away", ["guard", "ledger", "models"])
async def test_without_these_nothing_is_answered(gateway: Called, mesh: Mesh, away: str) -> None:
    mesh.away = {away: Code.UNAVAILABLE}
    assert (await refused(gateway.Complete(asking())))[0] is Code.UNAVAILABLE
    assert "models.Generate" not in mesh.asked or away == "models"


async def test_a_project_says_itself_what_it_does_without(gateway: Called, mesh: Mesh) -> None:
    mesh.away = {"guard": Code.UNAVAILABLE}
    mesh_ = await refused(gateway.by("daring/app").Complete(asking()))  # the answer, too, wants a guard
    assert mesh_[0] is Code.UNAVAILABLE
    mesh.away = {"cache": Code.UNAVAILABLE}
    assert (await refused(gateway.by("strict/app").Complete(asking())))[0] is Code.UNAVAILABLE


async def test_while_the_ledger_is_away_a_project_has_its_allowance_and_no_more(gateway: Called, mesh: Mesh) -> None:
    daring = gateway.by("daring/app")
    mesh.away = {"ledger": Code.UNAVAILABLE}
    refusal = await refused(daring.Complete(asking()))
    assert refusal == (Code.UNAVAILABLE, "ALLOWANCE_USED_UP"), "nothing was set aside"
    mesh.away = {}
    await daring.Complete(asking())
    await until(lambda: "ledger.CarveAllowance" in mesh.asked and "ledger.Settle" in mesh.asked)
    carved = mesh.messages["ledger.CarveAllowance"]
    assert (carved.account, carved.nano_usd, carved.tokens, carved.requests) == ("daring/app", 10**9, 4000, 3)
    assert [one.model for one in carved.models] == ["m", "talker", "scribe"] and carved.lasting.seconds == 3600

    mesh.away = {"ledger": Code.DEADLINE_EXCEEDED}
    made = await daring.Complete(asking())
    assert list(made.road.degraded) == ["ledger"] and 0 < made.road.held_nano_usd < 10**4
    async with asyncio.timeout(2):  # the last piece waits for no ledger
        assert [one async for one in daring.StreamComplete(streaming(asking()))]
    mesh.breaks_on = "what is new?"
    assert (await refused(daring.Complete(asking())))[0] is not Code.UNAVAILABLE, "granted, and the model broke"
    mesh.breaks_on = ""
    await daring.Complete(asking())
    assert (await refused(daring.Complete(asking())))[0] is Code.UNAVAILABLE, "three were answered"
    assert (await refused(gateway.Complete(asking())))[0] is Code.DEADLINE_EXCEEDED, "others have no allowance"

    assert not settled(mesh)
    mesh.away = {}
    await until(lambda: len(settled(mesh)) == 3)
    assert all((one.key_id, one.input_tokens, one.output_tokens) == ("key_1", 9, 2) for one in settled(mesh).values())


def settled(mesh: Mesh) -> dict[str, Any]:
    """What was settled from the allowance, by reservation."""
    return {one.reservation_id: one for name, one in mesh.answered if name == "Settle" and one.hold == b"allowance"}


async def test_a_refusal_of_the_router_is_no_absence(gateway: Called, mesh: Mesh) -> None:
    mesh.away = {"router": Code.NOT_FOUND}
    assert (await refused(gateway.Complete(asking("unheard-of"))))[0] is Code.NOT_FOUND
    assert "ledger.Reserve" not in mesh.asked


async def test_a_blocked_prompt_goes_no_further(gateway: Called, mesh: Mesh) -> None:
    mesh.blocked = True
    assert await refused(gateway.Complete(asking())) == (Code.PERMISSION_DENIED, "PROMPT_BLOCKED")
    assert mesh.asked == BEFORE[:2]


async def test_a_model_that_fails_gives_its_hold_back(gateway: Called, mesh: Mesh) -> None:
    mesh.away = {"models": Code.UNAVAILABLE}
    await refused(gateway.Complete(asking()))
    await until(lambda: "ledger.Release" in mesh.asked)
    assert "ledger.Settle" not in mesh.asked and "cache.Store" not in mesh.asked


async def test_a_cut_stream_pays_for_what_was_written(gateway: Called, mesh: Mesh) -> None:
    mesh.breaks = True

    async def read() -> None:
        async for _ in gateway.StreamComplete(streaming(asking())):
            pass

    assert (await refused(read()))[0] is Code.UNAVAILABLE
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.messages["ledger.Settle"].output_tokens == 2 and "cache.Store" not in mesh.asked


async def test_a_cut_stream_pays_for_the_searches_that_were_made(gateway: Called, mesh: Mesh) -> None:
    mesh.breaks, mesh.lookups = True, [chat.WebLookup(id="1", query="toll"), chat.WebLookup(id="2", query="price")]
    request = streaming(asking(model="m"))
    request.chat.web_search.SetInParent()

    async def read() -> None:
        async for _ in gateway.StreamComplete(request):
            pass

    assert (await refused(read()))[0] is Code.UNAVAILABLE
    await until(lambda: "ledger.Settle" in mesh.asked)
    settled, (attempt,) = mesh.messages["ledger.Settle"], mesh.messages["ledger.Reserve"].attempts
    assert settled.web_searches == 2 < attempt.web_searches
    assert 2 * bounds.WEB_SEARCH / 4 <= settled.input_tokens < 3 * bounds.WEB_SEARCH / 4


async def test_a_stream_that_nobody_reads_to_its_end_pays_for_what_was_written(gateway: Called, mesh: Mesh) -> None:
    mesh.pieces = ["word "] * 100_000
    call = gateway.StreamComplete(streaming(asking()))
    await call.read()
    await call.read()
    call.cancel()
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert 0 < mesh.messages["ledger.Settle"].output_tokens < 150_000


async def test_only_what_is_cached(gateway: Called, mesh: Mesh) -> None:
    options = pb.Options(cache=cache_pb2.Controls(only_if_cached=True))
    assert await refused(gateway.Complete(asking(options=options))) == (Code.FAILED_PRECONDITION, "NOT_CACHED")
    assert "ledger.Reserve" not in mesh.asked


async def test_grounding_puts_passages_before_the_question(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.Complete(asking(options=pb.Options(grounding=pb.Grounding(collection="hr"))))
    assert mesh.messages["retrieval.Watch"].collection == "hr"
    assert [one.document_id for one in made.road.citations] == ["d"]
    sent = mesh.messages["models.Generate"].chat.messages
    assert "nine crowns" in sent[0].parts[0].text and sent[-1].parts[0].text == "what is new?"
    assert mesh.messages["cache.Lookup"].conditions.retrieval_epoch == 3 and made.road.documents == 1
    assert not made.road.citations[0].passages
    whole = pb.Grounding(
        collection="hr", passages=True, where=retrieval_pb2.Where(number=retrieval_pb2.Where.Number(name="a", gt=1))
    )
    made = await gateway.Complete(asking(options=pb.Options(grounding=whole)))
    assert [(one.number, "nine crowns" in one.text) for one in made.road.citations[0].passages] == [(1, True)]
    assert mesh.messages["retrieval.Search"].where == whole.where
    mesh.found = False
    nothing = await gateway.Complete(asking(options=pb.Options(grounding=pb.Grounding(collection="hr"))))
    assert nothing.road.HasField("documents") and nothing.road.documents == 0
    assert not (await gateway.Complete(asking())).road.HasField("documents"), "nobody asked for any"
    mesh.away = {"retrieval": Code.UNAVAILABLE}
    without = await gateway.Complete(asking(options=pb.Options(grounding=pb.Grounding())))
    assert list(without.road.degraded) == ["retrieval"]


async def test_what_a_route_adds_goes_to_the_model_and_not_into_the_cache(gateway: Called, mesh: Mesh) -> None:
    told = chat.TemplateOption(name="enable_thinking", truth=True)
    mesh.adjustment = router_pb2.Adjustment(
        system="Cite the statute.", reasoning_effort="high", template_options=[told]
    )
    made = await gateway.Complete(asking(options=pb.Options(grounding=pb.Grounding(collection="hr"))))
    sent = mesh.messages["models.Generate"].chat
    assert [one.role for one in sent.messages] == [chat.ROLE_SYSTEM, chat.ROLE_SYSTEM, chat.ROLE_USER]
    assert "nine crowns" in sent.messages[0].parts[0].text and sent.messages[1].parts[0].text == "Cite the statute."
    assert (sent.reasoning_effort, list(sent.template_options), made.road.route) == ("high", [told], "careful")
    await until(lambda: "cache.Store" in mesh.asked)
    kept = mesh.messages["cache.Store"].chat
    assert [one.role for one in kept.messages] == [chat.ROLE_USER] and not kept.reasoning_effort
    own = chat.TemplateOption(name="enable_thinking", truth=False)
    await gateway.Complete(asking(reasoning_effort="low", template_options=[own]))
    sent = mesh.messages["models.Generate"].chat
    assert (sent.reasoning_effort, list(sent.template_options)) == ("low", [own])  # what the request says counts first


async def test_a_route_may_keep_answers_out_of_the_cache(gateway: Called, mesh: Mesh) -> None:
    mesh.adjustment = router_pb2.Adjustment(no_store=True)
    await gateway.Complete(asking())
    await until(lambda: "ledger.Settle" in mesh.asked)
    await asyncio.sleep(0.05)
    assert "cache.Store" not in mesh.asked


async def test_answers_are_exchanged_among_those_whom_the_same_routes_hold_for(gateway: Called, mesh: Mesh) -> None:
    async def by(account: str = "acme/search", shared: bool = False, **labels: str) -> str:
        controls = cache_pb2.Controls(scope=cache_pb2.SCOPE_TENANT if shared else cache_pb2.SCOPE_UNSPECIFIED)
        await asyncio.sleep(0.005)  # what changes is pushed
        await gateway.by(account).Complete(asking(options=pb.Options(cache=controls), metadata=labels))
        assert dict(mesh.messages["router.Route"].metadata) == labels
        return str(mesh.messages["cache.Lookup"].conditions.routed_by)

    mesh.looked_at = router_pb2.WatchResponse(metadata=["tier"])
    assert await by() == await by(team="a") == await by(shared=True) == ""
    gold = await by(tier="gold")
    assert gold and gold == await by(tier="gold", team="a") != await by(tier="free")
    mesh.looked_at = router_pb2.WatchResponse(account=True)
    assert await by("beta/x", shared=True) != await by("beta/y", shared=True)
    assert await by("beta/x") == await by("beta/y") == ""  # the account's own, as it is
    mesh.looked_at = router_pb2.WatchResponse(policy="p1")
    first = await by("epsilon/x")
    assert first and first == await by("epsilon/x", team="a") == await by("epsilon/y", shared=True)
    mesh.looked_at = router_pb2.WatchResponse(policy="p2")
    assert (second := await by("epsilon/x")) != first
    mesh.away = {"router": Code.UNAVAILABLE}  # nobody tells: what was told last counts...
    assert await by("epsilon/y") == await by("epsilon/x") == second
    # ...and of whom nothing was, all that could matter
    assert await by("gamma/x", team="a") != await by("gamma/x", team="b")
    mesh.away = {"router": Code.UNIMPLEMENTED}
    assert await by("delta/x", team="a") == ""  # an older router has no routes


async def test_auto_may_be_asked_for_by_another_name(gateway: Called, mesh: Mesh) -> None:
    await gateway.Complete(asking("smart"))
    assert mesh.messages["router.Route"].model == mesh.messages["models.Generate"].chat.model == "auto"
    await gateway.CountTokens(pb.CountTokensRequest(chat=asking("smart").chat))
    assert mesh.messages["models.CountTokens"].chat.model == "auto"
    narrow = gateway.by("acme/search", models=("none",))
    assert (await refused(narrow.Complete(asking("m")))) == (Code.PERMISSION_DENIED, "MODEL_NOT_ALLOWED")
    await narrow.Complete(asking("smart"))
    listed = [one.name for one in (await narrow.ListModels(pb.ListModelsRequest())).models]
    assert listed == ["auto", "smart"]


async def test_the_rounds_of_an_agent_go_where_its_question_went(gateway: Called, mesh: Mesh) -> None:
    request = asking()
    call = chat.ToolCall(id="c1", name="look", arguments="{}")
    request.chat.messages.append(chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[call]))
    found = chat.Message(role=chat.ROLE_TOOL, tool_call_id="c1", parts=[chat.ContentPart(text="nothing")])
    request.chat.messages.append(found)
    await gateway.Complete(request)
    routed = mesh.messages["router.Route"]
    assert routed.text == "what is new?" and routed.vector.values
    request.chat.model = "m"  # asked for by name: nothing to decide
    await gateway.Complete(request)
    assert mesh.messages["router.Route"].text == ""


async def test_only_those_who_may_read_the_same_share_a_grounded_answer(gateway: Called, mesh: Mesh) -> None:
    async def ground(**asked: Any) -> str:
        await gateway.Complete(asking(options=pb.Options(grounding=pb.Grounding(**asked))))
        looked = mesh.messages["cache.Lookup"].conditions
        await until(lambda: "cache.Store" in mesh.asked and mesh.messages["cache.Store"].conditions == looked)
        return str(looked.ground)

    board = await ground(groups=["board", "staff"])
    assert board == await ground(groups=["staff", "board", "staff"])
    others = [await ground(), await ground(groups=["board"]), await ground(collection="tariffs"), await ground(limit=2)]
    assert len({board, *others}) == 5
    await gateway.Complete(asking())
    assert not mesh.messages["cache.Lookup"].conditions.ground


async def test_a_long_conversation_is_shortened_where_asked_or_by_policy(gateway: Called, mesh: Mesh) -> None:
    request = asking()
    for n in range(9):
        said = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=f"turn {n} " * 20)])
        request.chat.messages.insert(0, said)
    whole = await gateway.Complete(request)
    assert not whole.road.tokens_left_out and "models.CompressChat" not in mesh.asked
    request.options.context_tokens = 400
    made = await gateway.Complete(request)
    assert made.road.tokens_left_out == 600 and mesh.messages["models.CompressChat"].max_tokens == 400
    assert len(mesh.messages["models.Generate"].chat.messages) == 9
    request.options.context_tokens = 0
    made = await gateway.by("wordy/app").Complete(request)
    assert mesh.messages["models.CompressChat"].max_tokens == 300 and made.road.tokens_left_out
    mesh.away = {"models": Code.INVALID_ARGUMENT}
    assert (await refused(gateway.by("wordy/app").Complete(request)))[0] is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("context_tokens", "max_output_tokens", "most"), [(0, 0, 675), (0, 500, 450), (400, 0, 400), (800, 0, 675)]
)
async def test_a_conversation_is_brought_to_what_its_model_holds(
    gateway: Called, mesh: Mesh, context_tokens: int, max_output_tokens: int, most: int
) -> None:
    options = pb.Options(fit_context=True, context_tokens=context_tokens)
    request = asking(options=options, max_output_tokens=max_output_tokens or None)
    await gateway.Complete(request)
    assert "models.CompressChat" not in mesh.asked
    request.chat.messages.insert(0, chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="long " * 300)]))
    await gateway.Complete(request)
    assert mesh.messages["models.CompressChat"].max_tokens == most


async def test_a_second_call_is_reserved_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    mesh.extra_input_tokens = 9
    await gateway.Complete(asking(model="m"))
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert (mesh.messages["ledger.Settle"].input_tokens, mesh.messages["ledger.Settle"].calls) == (18, 2)
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert attempt.calls == 2
    assert attempt.output_tokens == 2 * 500 and attempt.input_tokens % 2 == 0


async def test_what_is_billed_apart_is_reserved_and_settled(gateway: Called, mesh: Mesh) -> None:
    mesh.apart = {"kinds": chat.TokenKinds(cache_write_tokens=3, audio_input_tokens=4), "service_tier": "flex"}
    request = asking(model="m")
    request.chat.service_tier = "flex"
    request.chat.messages[-1].parts.add(audio=chat.Audio(data=b"x" * 1000, format="wav"))
    await gateway.Complete(request)
    await until(lambda: "ledger.Settle" in mesh.asked)
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert attempt.kinds.audio_input_tokens > 0 and attempt.service_tier == "flex"
    settled = mesh.messages["ledger.Settle"]
    assert settled.kinds == mesh.apart["kinds"] and settled.service_tier == "flex"


async def test_a_search_is_routed_reserved_and_settled(gateway: Called, mesh: Mesh) -> None:
    mesh.apart = {"web_searches": 2}
    request = asking(model="m")
    request.chat.web_search.most = 3
    await gateway.Complete(request)
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.messages["router.Route"].needs.web_search
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert attempt.web_searches == 3 * 2 and attempt.input_tokens > 3 * 2 * bounds.WEB_SEARCH
    assert mesh.messages["ledger.Settle"].web_searches == 2
    assert mesh.messages["models.Generate"].chat.web_search.most == 3


def holds(mesh: Mesh) -> list[tuple[str, str, bytes]]:
    """What was settled, in order: the model, the reservation, the hold."""
    return [(one.model, one.reservation_id, one.hold) for name, one in mesh.answered if name == "Settle"]


async def text_of(gateway: Called, request: pb.CompleteRequest, streamed: bool) -> str:
    if not streamed:
        made = await gateway.Complete(request)
        assert len(made.completion.choices) == 1
        return str(made.completion.choices[0].message.parts[0].text)
    pieces = [one async for one in gateway.StreamComplete(streaming(request))]
    return "".join(choice.content for one in pieces for choice in one.chunk.choices)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cheap_answer_that_will_do_is_the_only_one(gateway: Called, mesh: Mesh, streamed: bool) -> None:
    mesh.cascade = router_pb2.Cascade(samples=2)
    assert await text_of(gateway, asking(), streamed) == "of cheap"
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert attempt.model == "cheap" and attempt.output_tokens == 2 * 100
    judged = mesh.messages["router.Judge"]
    assert judged.decision_id == "d1" and len(judged.completion.choices) == 2
    await until(lambda: len(holds(mesh)) == 1)
    assert holds(mesh)[0][0] == "cheap" and mesh.asked.count("ledger.Reserve") == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_will_not_do_is_paid_for_and_the_next_is_asked(
    gateway: Called, mesh: Mesh, streamed: bool
) -> None:
    mesh.cascade, mesh.good = router_pb2.Cascade(), False
    assert await text_of(gateway, asking(), streamed) == "one two"
    await until(lambda: len(holds(mesh)) == 2)
    (first, one, cheap), (second, two, dear) = holds(mesh)
    assert (first, second) == ("cheap", "m") and (cheap, dear) == (b"hold of cheap", b"hold of m") and one != two
    reserved = [request for name, request in mesh.all if name == "Reserve"]
    assert [[attempt.model for attempt in one.attempts] for one in reserved] == [["cheap"], ["m"]]
    assert reserved[1].attempts[0].output_tokens == 2 * 500  # the cheap one's shorter limit is not the other's


async def test_two_holds_are_told_as_one(gateway: Called, mesh: Mesh) -> None:
    mesh.cascade, mesh.good, mesh.warnings = router_pb2.Cascade(), False, ["acme:main"]
    mesh.limits = [ledger_pb2.RateLimit(unit=ledger_pb2.UNIT_REQUESTS, limit=9, remaining=8)]
    road = (await gateway.Complete(asking())).road
    assert mesh.asked.count("ledger.Reserve") == 2
    assert (list(road.budget_warnings), list(road.limits)) == (["acme:main"], mesh.limits)


async def test_where_no_money_is_left_for_another_the_cheap_answer_stands(gateway: Called, mesh: Mesh) -> None:
    mesh.cascade, mesh.good, mesh.refuses_second_hold = router_pb2.Cascade(), False, True
    assert await text_of(gateway, asking(), False) == "of cheap"
    await until(lambda: len(holds(mesh)) == 1)
    assert holds(mesh)[0][::2] == ("cheap", b"hold of cheap")


async def test_a_cheap_model_that_is_away_costs_nothing(gateway: Called, mesh: Mesh) -> None:
    mesh.cascade, mesh.away = router_pb2.Cascade(), {"cheap": Code.UNAVAILABLE}
    made = await gateway.Complete(asking())
    assert (made.road.model, made.road.route_reason) == ("m", "escalated")
    await until(lambda: "ledger.Release" in mesh.asked and "ledger.Settle" in mesh.asked)
    assert mesh.messages["ledger.Release"].hold == b"hold of cheap" and [one for one, *_ in holds(mesh)] == ["m"]


async def test_the_router_hears_what_the_guard_and_the_ledger_said(gateway: Called, mesh: Mesh) -> None:
    mesh.warnings = ["acme:main"]
    await gateway.Complete(asking())
    first = mesh.messages["router.Route"]
    assert not first.budget_low and first.data_class == "restricted"
    mesh.warnings = []
    request = asking()
    request.chat.messages.append(chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text="this is")]))
    request.chat.messages.append(chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="and then?")]))
    await gateway.Complete(request)
    second = mesh.messages["router.Route"]
    assert second.budget_low and second.conversation == first.conversation
    await gateway.by("acme/other").Complete(request)
    other = mesh.messages["router.Route"]
    assert not other.budget_low and other.conversation != first.conversation


async def test_the_same_idempotency_key_is_the_same_reservation(gateway: Called, mesh: Mesh) -> None:
    ids = []
    for key in ("a", "a", "b", ""):
        await gateway.Complete(asking(options=pb.Options(idempotency_key=key)))
        ids.append(mesh.messages["ledger.Reserve"].reservation_id)
    assert ids[0] == ids[1] and len(set(ids)) == 3


async def test_a_key_for_some_models(gateway: Called, mesh: Mesh) -> None:
    narrow = Called(gateway.stub, "acme/app", models=("other",))
    assert await refused(narrow.Complete(asking("m"))) == (Code.PERMISSION_DENIED, "MODEL_NOT_ALLOWED")
    assert [one.name for one in (await narrow.ListModels(pb.ListModelsRequest())).models] == ["auto", "smart"]
    every = {"auto", "smart", "m", "talker", "scribe", "minilm", "static", "bge-small"}
    assert {one.name for one in (await gateway.ListModels(pb.ListModelsRequest())).models} == every
    mesh.tiers.pop()
    listed = {one.name for one in (await gateway.ListModels(pb.ListModelsRequest())).models}
    assert listed == every - {"bge-small"}, "what is not installed is not offered"
    mesh.away["encoder"] = Code.UNAVAILABLE
    assert {one.name for one in (await gateway.ListModels(pb.ListModelsRequest())).models} == listed


async def test_counting_asks_no_model_and_pays_nothing(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.CountTokens(pb.CountTokensRequest(chat=asking().chat))
    assert made.input_tokens == 9 and mesh.asked == ["models.CountTokens"]
    narrow = Called(gateway.stub, "acme/app", models=("other",))
    assert (await refused(narrow.CountTokens(pb.CountTokensRequest(chat=asking("m").chat))))[1] == "MODEL_NOT_ALLOWED"


async def test_embeddings_are_guarded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    mesh.warnings, mesh.limits = ["acme:main"], [ledger_pb2.RateLimit(unit=ledger_pb2.UNIT_REQUESTS, limit=9)]
    made = await gateway.Embed(pb.EmbedRequest(model="e", texts=["x"]))
    assert (list(made.road.budget_warnings), list(made.road.limits)) == (mesh.warnings, mesh.limits)
    assert list(made.embeddings[0].values) == [1.0] and made.input_tokens == 4
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:2] == ["guard.InspectPrompt", "ledger.Reserve"]


async def test_ranking_is_guarded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.Rerank(pb.RerankRequest(model="r", query="which?", documents=["x", "y"], top_n=1))
    assert [one.index for one in made.ranked] == [0] and made.input_tokens == 4
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:2] == ["guard.InspectPrompt", "ledger.Reserve"]
    assert await field_of(gateway.Rerank(pb.RerankRequest(model="r", query="which?"))) == "documents"


async def test_moderating_is_guarded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.Moderate(pb.ModerateRequest(model="m", texts=["x", "y"]))
    assert [one.flagged for one in made.moderations] == [True, True] and made.input_tokens == 4
    assert made.moderations[0].categories["violence"].score == 0.9
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:2] == ["guard.InspectPrompt", "ledger.Reserve"]
    assert await field_of(gateway.Moderate(pb.ModerateRequest(model="m"))) == "texts"


async def test_pictures_are_guarded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    made = await gateway.GenerateImages(pb.GenerateImagesRequest(model="p", prompt="a bridge", count=2))
    assert len(made.images) == 2 and made.usage.output_tokens == 40
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:3] == ["models.ListModels", "guard.InspectPrompt", "ledger.Reserve"], (
        "what one costs is known first"
    )
    assert await field_of(gateway.GenerateImages(pb.GenerateImagesRequest(model="p"))) == "prompt"


async def test_speech_is_bounded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    recording = models_pb2.Recording(data=bytes(1501), filename="a.mp3", prompt="mules")
    made = await gateway.Transcribe(pb.TranscribeRequest(model="s", recording=recording))
    assert made.transcript.text == "1501 bytes, 3 s" and made.usage.input_tokens == 7
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:3] == ["models.ListModels", "guard.InspectPrompt", "ledger.Reserve"]
    recording.ClearField("filename")
    asked = pb.TranscribeRequest(model="s", recording=recording)
    assert await field_of(gateway.Transcribe(asked)) == "recording.filename"


async def test_what_is_spoken_is_guarded_and_paid_for(gateway: Called, mesh: Mesh) -> None:
    asked = pb.SpeakRequest(model="s", text="The toll is nine crowns.")
    first, last = [piece async for piece in gateway.Speak(asked)]
    assert (first.audio, first.content_type, first.model) == (b"The toll is nine crowns.", "audio/mpeg", "s")
    assert first.HasField("road") and last.usage.output_tokens == 20 and not last.HasField("road")
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.asked[:4] == ["models.ListModels", "guard.InspectPrompt", "ledger.Reserve", "models.Speak"]
    mesh.breaks = True
    with pytest.raises(grpc.aio.AioRpcError):
        [piece async for piece in gateway.Speak(asked)]
    await until(lambda: mesh.asked.count("ledger.Settle") == 2)
    assert "ledger.Release" not in mesh.asked, "its text has been billed"


async def test_a_text_is_gone_on_from_alone(gateway: Called) -> None:
    said = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="Once upon a bridge")])
    assert (await gateway.Complete(asking(text_completion=True))).completion.choices
    beside: list[dict[str, Any]] = [
        {"messages": [said, said]},
        {"messages": [chat.Message(role=chat.ROLE_SYSTEM, parts=said.parts)]},
        {"messages": [chat.Message(role=chat.ROLE_USER, parts=[*said.parts] * 3)]},
        {"messages": [chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(image=chat.Image(url="x"))])]},
        {"messages": [said], "tools": [chat.Tool(name="look")]},
    ]
    for one in beside:
        asked = pb.CompleteRequest(chat=chat.ChatRequest(model="m", text_completion=True, **one))
        assert await field_of(gateway.Complete(asked)) == "chat.messages"
    template = pb.Options(prompt=pb.Prompt(reference="greeting"))
    assert await field_of(gateway.Complete(asking(text_completion=True, options=template))) == "chat.messages"


async def test_work_that_is_no_conversation_heeds_regions_and_where_data_may_go(gateway: Called, mesh: Mesh) -> None:
    there, elsewhere = (gateway.by("acme/search", regions=[one]) for one in ("eu", "us"))
    asked = pb.TranscribeRequest(model="scribe")
    asked.recording.data, asked.recording.filename, asked.recording.prompt = b"sound", "a.mp3", "tolls"
    assert (await there.Transcribe(asked)).model == "scribe"
    denied = (Code.PERMISSION_DENIED, "REGION_NOT_ALLOWED")
    assert await refused(elsewhere.Transcribe(asked)) == denied
    assert await refused(there.Embed(pb.EmbedRequest(model="m", texts=["a"]))) == denied  # it names no region
    assert (await there.Embed(pb.EmbedRequest(model="static", texts=["a"]))).model == "static"  # it runs here
    mesh.kept_to = ["m"]
    assert await refused(gateway.Transcribe(asked)) == (Code.PERMISSION_DENIED, "DATA_KEPT")
    assert mesh.asked.count("models.Transcribe") == 1


async def test_mistakes(gateway: Called) -> None:
    assert await field_of(gateway.Complete(pb.CompleteRequest())) == "chat"
    assert await field_of(gateway.Complete(asking(temperature=9.0))) == "chat.temperature"
    assert (await refused(gateway.stub.Complete(asking())))[0] is Code.UNAUTHENTICATED


async def test_a_stream_is_never_deferred_and_may_end_with_the_answer_whole(gateway: Called, mesh: Mesh) -> None:
    deferred = pb.Options(defer_after=Duration(seconds=1))
    asked = streaming(asking(options=deferred))
    assert await field_of(gateway.StreamComplete(asked).__aiter__().__anext__()) == "options.defer_after"
    asked = pb.StreamCompleteRequest(chat=asking().chat, whole=True)
    last = [one async for one in gateway.StreamComplete(asked)][-1]
    assert last.completion.choices[0].message.parts[0].text == "one two" and last.completion.usage.output_tokens == 2


async def test_an_answer_that_is_late_is_a_job(gateway: Called, mesh: Mesh) -> None:
    mesh.slow_s = 0.2
    late = pb.Options(defer_after=Duration(nanos=50_000_000))
    made = await gateway.Complete(asking(options=late))
    assert made.deferred_job_id == mesh.job.job_id
    await until(lambda: mesh.job.HasField("result"))


async def test_how_things_stand_is_told_of_each_service_and_model(gateway: Called, mesh: Mesh) -> None:
    async with channels.open("inproc:nobody") as nobody:
        mesh.channels["ghost"] = nobody
        made = await gateway.GetStatus(pb.GetStatusRequest())
        assert [(one.name, one.serving, one.why) for one in made.services] == [("ghost", False, "UNAVAILABLE")]
        assert [(one.model, one.available) for one in made.models] == [("m", True)]
        mesh.away = {"models": Code.UNAVAILABLE}
        assert not (await gateway.GetStatus(pb.GetStatusRequest())).models
