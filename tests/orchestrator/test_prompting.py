"""Requests that begin with a template: whose words count, what falls back, what the registry is told."""

from typing import Any

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.registry.v1 import registry_pb2
from tollway.router.v1 import router_pb2

from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_service import asking, gateway, mesh, streaming
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called
from tests.support.waiting import until

__all__ = ["gateway", "mesh"]
Code = grpc.StatusCode
PROMPT = pb.Options(prompt=pb.Prompt(reference="support/answer", variables_json='{"a": 1}'))


def said(role: "chat.Role.ValueType", text: str) -> chat.Message:
    return chat.Message(role=role, parts=[chat.ContentPart(text=text)])


def resolution(text: str, number: int = 1, candidate: bool = False, **settings: Any) -> registry_pb2.Resolution:
    messages = [said(chat.ROLE_SYSTEM, text), said(chat.ROLE_DEVELOPER, "the end")]
    used = chat.PromptVersion(name="support/answer", number=number, label="production", candidate=candidate)
    return registry_pb2.Resolution(chat=chat.ChatRequest(messages=messages, **settings), slot=1, used=[used])


def texts(mesh: Mesh) -> list[str]:
    return [one.parts[0].text for one in mesh.messages["models.Generate"].chat.messages]


async def test_the_requests_own_messages_stand_in_their_place(gateway: Called, mesh: Mesh) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("be kind"))
    made = await gateway.Complete(asking(options=PROMPT, user="ann"))
    assert texts(mesh) == ["be kind", "what is new?", "the end"]
    assert mesh.asked[0] == "registry.Resolve" and mesh.messages["registry.Resolve"].subject == "ann"
    assert made.road.used[0].number == 1
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert mesh.messages["ledger.Settle"].tags["template"] == "support/answer@1"


async def test_what_the_request_says_counts_before_the_template(gateway: Called, mesh: Mesh) -> None:
    tool = chat.Tool(name="look_up")
    made = resolution("x", model="m", temperature=0.1, top_p=0.5, stop=["a"], tools=[tool])
    made.routing = router_pb2.POLICY_FASTEST
    mesh.resolved.resolution.CopyFrom(made)
    await gateway.Complete(pb.CompleteRequest(chat=chat.ChatRequest(temperature=0.0, stop=["b"]), options=PROMPT))
    sent = mesh.messages["models.Generate"].chat
    assert (sent.model, sent.temperature, sent.top_p, list(sent.stop)) == ("m", 0.0, 0.5, ["b"])
    assert [one.name for one in sent.tools] == ["look_up"]
    assert mesh.messages["router.Route"].policy == router_pb2.POLICY_FASTEST
    assert texts(mesh) == ["x", "the end"]


async def test_without_a_template_the_request_says_it_all(gateway: Called, mesh: Mesh) -> None:
    assert await field_of(gateway.Complete(pb.CompleteRequest(chat=chat.ChatRequest(model="m")))) == "chat.messages"
    assert await field_of(gateway.Complete(asking(model=""))) == "chat.model"
    assert "registry.Resolve" not in mesh.asked


@pytest.mark.parametrize("stream", [False, True])
async def test_a_candidate_that_fails_is_answered_for_by_the_stable_version(
    gateway: Called, mesh: Mesh, stream: bool
) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("new", 2, candidate=True))
    mesh.resolved.stable.CopyFrom(resolution("old"))
    mesh.resolved.reported = True
    mesh.breaks_on = "new"
    options = pb.Options(idempotency_key="k1")
    options.MergeFrom(PROMPT)
    if stream:
        pieces = [one async for one in gateway.StreamComplete(streaming(asking(options=options)))]
        assert "".join(c.content for one in pieces for c in one.chunk.choices) == "one two"
        assert pieces[-1].road.used[0].number == 1
    else:
        made = await gateway.Complete(asking(options=options))
        assert made.completion.choices[0].message.parts[0].text == "one two" and made.road.used[0].number == 1
    await until(lambda: "registry.ReportOutcome" in mesh.asked)
    told = mesh.messages["registry.ReportOutcome"]
    assert (told.number, told.failed, told.label) == (2, True, "production")
    holds = [request.reservation_id for name, request in mesh.all if name == "Reserve"]
    assert len(set(holds)) == 2, "each attempt has a hold of its own"


async def test_what_fails_on_both_sides_is_the_candidates_fault_no_more_than_others(
    gateway: Called, mesh: Mesh
) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("new", 2, candidate=True))
    mesh.resolved.stable.CopyFrom(resolution("old"))
    mesh.resolved.reported = mesh.blocked = True
    assert (await refused(gateway.Complete(asking(options=PROMPT))))[1] == "PROMPT_BLOCKED"
    assert "registry.ReportOutcome" not in mesh.asked


async def test_an_answer_under_a_rollout_is_told_of(gateway: Called, mesh: Mesh) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("old"))
    await gateway.Complete(asking(options=PROMPT))
    mesh.resolved.reported = True
    assert "registry.ReportOutcome" not in mesh.asked
    await gateway.Complete(asking(options=PROMPT))
    await until(lambda: "registry.ReportOutcome" in mesh.asked)
    told = mesh.messages["registry.ReportOutcome"]
    assert (told.number, told.failed) == (1, False) and told.took.nanos > 0


async def test_without_the_registry_a_prompt_is_as_it_was_last_made(gateway: Called, mesh: Mesh) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("be kind"))
    await gateway.Complete(asking(options=PROMPT))
    mesh.away = {"registry": Code.UNAVAILABLE}
    made = await gateway.Complete(asking(options=PROMPT))
    assert list(made.road.degraded) == ["registry"] and texts(mesh)[0] == "be kind"
    other = pb.Options(prompt=pb.Prompt(reference="support/answer", variables_json='{"a": 2}'))
    assert (await refused(gateway.Complete(asking(options=other))))[0] is Code.UNAVAILABLE
    await gateway.Complete(asking())  # who names no template misses nothing
    assert (await refused(gateway.by("globex/app").Complete(asking(options=PROMPT))))[0] is Code.UNAVAILABLE


async def test_a_refusal_of_the_registry_is_no_absence(gateway: Called, mesh: Mesh) -> None:
    mesh.resolved.resolution.CopyFrom(resolution("be kind"))
    await gateway.Complete(asking(options=PROMPT))
    mesh.away = {"registry": Code.INVALID_ARGUMENT}
    assert (await refused(gateway.Complete(asking(options=PROMPT))))[0] is Code.INVALID_ARGUMENT
