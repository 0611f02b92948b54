"""Checks of a company's own, over every transport and the real wire: what they are shown, and what becomes of what they say."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.chat.v1 import chat_pb2 as chat
from tollway.guard.v1 import guard_pb2 as pb
from tollway.guard.v1 import guard_pb2_grpc

from services.guard.injection import Injection
from services.guard.opinion import MiniLM, Opinion
from services.guard.policies import Policies
from services.guard.policy_file import BadPolicy, parse
from services.guard.said import Pieces
from services.runtime.http import session
from services.runtime.server import Service
from tests.guard.test_service import Code, guarding, prompt, said, shown
from tests.peers.guardrail import Guardrail, guardrail
from tests.support.callers import identity
from tests.support.encoders import Encoder
from tests.support.refusals import refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called

CHECK = "{{name: own{n}, url: '{url}', key: 'env:CHECK_KEY', params: {{level: 3}}, {more}}}"
BOTH = "on: [prompt, completion]"
POLICIES = {
    "acme": BOTH, "flagging": f"{BOTH}, action: flag", "lenient": f"{BOTH}, fails: open", "documents": "on: [document]",
}  # fmt: skip


def policy(url: str, *checks: str) -> str:
    lines = [CHECK.format(n=n or "", url=url, more=more) for n, more in enumerate(checks)]
    return "checks:\n" + "".join(f"  - {line}\n" for line in lines)


@pytest.fixture(params=TRANSPORTS)
async def both(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Called, Guardrail]]:
    monkeypatch.setenv("CHECK_KEY", "k1")
    policies = Policies()
    async with guardrail() as check, session() as http:
        for tenant, more in POLICIES.items():
            policies._known[tenant] = parse(policy(check.url, more), tenant)
        policies._known["trial"] = parse(f"{policy(check.url, BOTH)}dry_run: true", "trial")
        policies._known["two"] = parse(policy(check.url, BOTH, BOTH), "two")
        opinion = Opinion(Injection(), MiniLM(Encoder()))  # type: ignore[arg-type]
        service = guarding(policies, opinion, http)
        served = Service(
            "tollway.guard.v1.GuardService", "guard.tollway",
            partial(guard_pb2_grpc.add_GuardServiceServicer_to_server, service), identity(),
        )  # fmt: skip
        async with channel_to(served, request.param) as channel:
            yield Called(guard_pb2_grpc.GuardServiceStub(channel)), check


def answer(text: str, **more: Any) -> pb.InspectAnswerRequest:
    choice = chat.Choice(message=said(text, chat.ROLE_ASSISTANT))
    return pb.InspectAnswerRequest(completion=chat.ChatCompletion(choices=[choice]), **more)


async def test_a_check_is_shown_what_a_model_would_be(both: tuple[Called, Guardrail]) -> None:
    guard, check = both
    seen = await guard.InspectPrompt(prompt("I am ada@example.com", "Who am I?"))
    assert seen.verdict.action == pb.ACTION_MASK
    (asked,) = check.asked
    assert asked["input_type"] == "request" and asked["texts"] == ["I am [EMAIL_1]", "Who am I?"]
    assert asked["structured_messages"][1] == {"role": "user", "content": "Who am I?"}
    assert asked["request_data"]["user_api_key_org_id"] == "acme"
    assert asked["additional_provider_specific_params"] == {"level": 3} and check.keys == ["k1"]
    made = await guard.InspectAnswer(answer("You are [EMAIL_1].", sealed_map=seen.sealed_map))
    assert made.completion.choices[0].message.parts[0].text == "You are ada@example.com."
    assert check.asked[1]["input_type"] == "response" and check.asked[1]["texts"] == ["You are [EMAIL_1]."]


async def test_what_it_blocks_is_blocked_by_its_name(both: tuple[Called, Guardrail]) -> None:
    guard, check = both
    seen = await guard.InspectPrompt(prompt("a forbidden thing"))
    assert (seen.verdict.action, seen.verdict.rule, len(seen.messages)) == (pb.ACTION_BLOCK, "checks.own", 0)
    assert await refused(guard.InspectAnswer(answer("a forbidden thing"))) == (Code.PERMISSION_DENIED, "POLICY_BREACH")
    calling = answer("fine")
    calling.completion.choices[0].message.tool_calls.add(id="c", name="look", arguments='{"for": "forbidden"}')
    assert (await refused(guard.InspectAnswer(calling)))[0] is Code.PERMISSION_DENIED
    with pytest.raises(Exception, match=r"checks\.own"):
        await shown(guard, b"", ["a forb", "idden thing"])
    explained = await guard.ExplainPolicy(pb.ExplainPolicyRequest(text="a forbidden thing"))
    assert [(one.rule, one.broken) for one in explained.rules if one.rule == "checks.own"] == [("checks.own", True)]
    two = guard.by("two/app")
    before = len(check.asked)
    assert (await two.InspectPrompt(prompt("a forbidden thing"))).verdict.rule == "checks.own"
    assert len(check.asked) == before + 1, "the second is not asked any more"


async def test_who_only_flags_or_tries_blocks_nothing(both: tuple[Called, Guardrail]) -> None:
    guard, _ = both
    flagging, trial = guard.by("flagging/app"), guard.by("trial/app")
    seen = await flagging.InspectPrompt(prompt("a forbidden thing"))
    assert (seen.verdict.action, seen.verdict.rule) == (pb.ACTION_FLAG, "checks.own")
    seen = await trial.InspectPrompt(prompt("a forbidden, rude thing"))
    assert (seen.verdict.action, seen.verdict.would_be, seen.masked) == (pb.ACTION_FLAG, pb.ACTION_BLOCK, False)
    for one in (flagging, trial):
        assert await shown(one, b"", ["a forbidden thing"]) == "a forbidden thing"
    assert await shown(trial, b"", ["a rude thing"]) == "a rude thing"


async def test_what_it_writes_stands_in_place_of_what_was_written(both: tuple[Called, Guardrail]) -> None:
    guard, _ = both
    seen = await guard.InspectPrompt(prompt("You rude ada@example.com", "hello"))
    assert seen.masked and [one.parts[0].text for one in seen.messages] == ["You nice [EMAIL_1]", "hello"]
    made = await guard.InspectAnswer(answer("A rude [EMAIL_1].", sealed_map=seen.sealed_map))
    assert made.completion.choices[0].message.parts[0].text == "A nice ada@example.com."
    for cut in (1, 3, 100):
        text = "A rude [EMAIL_1]."
        parts = [text[n : n + cut] for n in range(0, len(text), cut)]
        assert await shown(guard, seen.sealed_map, parts) == "A nice ada@example.com."


@pytest.mark.parametrize(
    "answers", [500, 302, {"action": "PERHAPS"}, {}, [], {"action": "GUARDRAIL_INTERVENED", "texts": ["a", "b"]}]
)
async def test_one_that_cannot_be_heard_refuses_or_lets_pass(both: tuple[Called, Guardrail], answers: Any) -> None:
    guard, check = both
    check.answers = answers
    away = (Code.UNAVAILABLE, "CHECK_AWAY")
    assert await refused(guard.InspectPrompt(prompt("hello"))) == away
    assert await refused(guard.InspectAnswer(answer("hello"))) == away
    lenient = guard.by("lenient/app")
    assert (await lenient.InspectPrompt(prompt("hello"))).verdict.action == pb.ACTION_ALLOW
    assert await shown(lenient, b"", ["hello"]) == "hello"


async def test_it_is_asked_about_what_it_is_for(both: tuple[Called, Guardrail]) -> None:
    guard, check = both
    documents = guard.by("documents/app")
    found = prompt("a forbidden thing", origin=pb.ORIGIN_DOCUMENT)
    assert (await documents.InspectPrompt(prompt("a forbidden thing"))).verdict.action == pb.ACTION_ALLOW
    assert (await documents.InspectPrompt(found)).verdict.rule == "checks.own"
    assert (await guard.InspectPrompt(found)).verdict.action == pb.ACTION_ALLOW
    assert await shown(documents, b"", ["a forbidden thing"]) == "a forbidden thing" and len(check.asked) == 1


async def test_where_there_is_no_text_nobody_is_asked(both: tuple[Called, Guardrail]) -> None:
    guard, check = both
    picture = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(image=chat.Image(url="https://x/y.png"))])
    assert (await guard.InspectPrompt(pb.InspectPromptRequest(messages=[picture]))).verdict.action == pb.ACTION_ALLOW
    assert not check.asked


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{name: own}", "url must be given"),
        ("{name: own, url: 'ftp://x'}", "no HTTP address"),
        ("{name: own, url: 'http://x', on: [answer]}", "none of prompt, document, completion"),
        ("{name: own, url: 'http://x', fails: never}", "neither closed nor open"),
        ("{name: own, url: 'http://x', within_s: 0}", "not above 0"),
        ("{name: own, url: 'http://x', action: mask}", "flag or block"),
        ("{name: own, url: 'http://x', params: {a: 99999999999999999999999}}", "64-bit"),
        ("{name: own, url: 'http://x'}\n  - {name: own, url: 'http://x'}", "two checks are called own"),
    ],
)
def test_a_faulty_check_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(BadPolicy, match=r"line [23]") as fault:
        parse(f"checks:\n  - {line}\n", "acme")
    assert words in str(fault.value)


DELTAS = st.builds(
    chat.ChoiceDelta, index=st.integers(0, 1), content=st.text("ab", max_size=3), reasoning=st.text("ab", max_size=2)
)


@given(st.lists(st.lists(DELTAS, max_size=2), max_size=5))
def test_pieces_are_the_text_that_they_came_from(chunks: list[list[chat.ChoiceDelta]]) -> None:
    held = Pieces()
    whole = {
        (index, name): "".join(getattr(one, name) for chunk in chunks for one in chunk if one.index == index)
        for index in (0, 1) for name in ("reasoning", "content")
    }  # fmt: skip
    for chunk in chunks:
        piece = chat.ChatChunk(choices=chunk, usage=chat.Usage(output_tokens=1))
        held.hold(piece)
        assert not any(one.content or one.reasoning for one in piece.choices) and not piece.HasField("usage")
    texts = [text for text in whole.values() if text]
    assert held.texts() == texts
    held.rewrite([text.upper() for text in texts])
    assert held.texts() == [text.upper() for text in texts]
