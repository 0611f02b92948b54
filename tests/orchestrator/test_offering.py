"""Prompts and documents through the gateway over every transport: the order of the steps, who may, what is judged, what is paid for."""

from grpc import StatusCode as Code
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2

from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_service import gateway, mesh  # noqa: F401 - fixtures
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called
from tests.support.waiting import until

LETTER = pb.GetPromptRequest(name="box__letter", arguments={"to": "Ada"})
TOLLS = pb.ReadResourceRequest(server="box", uri="box://tolls")


async def test_a_prompt_is_judged_masked_held_for_and_shown(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    made = await gateway.GetPrompt(LETTER)
    assert [(one.role, one.content.text) for one in made.messages] == [
        ("user", "write to Ada"),
        ("assistant", "I shall"),
    ]
    assert (made.description, made.road.model, made.road.held_nano_usd) == ("for letters", "tools/box", 70)
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert [one for one in mesh.asked if one != "ledger.Settle"] == [
        "tools.DescribePrompt",
        "guard.InspectPrompt",  # what the prompt says of itself
        "guard.InspectPrompt",  # the arguments
        "ledger.Reserve",
        "tools.GetPrompt",
        "guard.InspectAnswer",  # what it says, with the caller's own values
        "guard.InspectPrompt",  # and as what it is: a user's text
    ]
    (attempt,) = mesh.messages["ledger.Reserve"].attempts
    assert (attempt.model, attempt.provider, attempt.provider_model) == ("tools/box", "tools", "box__prompts/get")
    assert mesh.messages["guard.InspectPrompt"].origin == guard_pb2.ORIGIN_USER
    mesh.masks = True
    await gateway.GetPrompt(LETTER)
    assert dict(mesh.messages["tools.GetPrompt"].arguments) == {"to": "[PERSON_1]"}
    mesh.prompts[0].trusted = True
    await gateway.GetPrompt(LETTER)
    assert dict(mesh.messages["tools.GetPrompt"].arguments) == {"to": "Ada"}


async def test_a_prompt_without_words_of_its_own(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    mesh.described = ""
    made = await gateway.GetPrompt(LETTER)
    assert (made.description, len(made.messages)) == ("", 2)


async def test_a_document_is_judged_as_one_and_paid_for(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    made = await gateway.ReadResource(TOLLS)
    assert [(one.uri, one.text) for one in made.contents] == [("box://tolls", "nine crowns")] and made.server == "box"
    await until(lambda: "ledger.Settle" in mesh.asked)
    assert [one for one in mesh.asked if one != "ledger.Settle"] == [
        "tools.DescribeResource", "ledger.Reserve", "tools.ReadResource", "guard.InspectAnswer", "guard.InspectPrompt",
    ]  # fmt: skip
    assert mesh.messages["guard.InspectPrompt"].origin == guard_pb2.ORIGIN_DOCUMENT
    mesh.breaks = True
    assert (await refused(gateway.ReadResource(TOLLS)))[0] is Code.UNAVAILABLE
    await until(lambda: "ledger.Release" in mesh.asked)


async def test_an_address_of_the_callers_own_holds_nothing_private(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    asked = pb.ReadResourceRequest(server="box", uri="box://ada@example.com")
    assert (await gateway.ReadResource(asked)).contents
    mesh.masks = True
    assert await refused(gateway.ReadResource(asked)) == (Code.PERMISSION_DENIED, "ARGUMENTS_BLOCKED")
    assert (await gateway.ReadResource(TOLLS)).contents  # its server lists it, and knows it
    mesh.of_the_house = True
    assert (await gateway.ReadResource(asked)).contents
    mesh.poisoned = "ada@"
    assert await refused(gateway.ReadResource(asked)) == (Code.PERMISSION_DENIED, "ARGUMENTS_BLOCKED")
    assert mesh.asked.count("tools.ReadResource") == 3


async def test_what_attacks_is_left_out_and_kept_back(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    assert [one.name for one in (await gateway.ListPrompts(pb.ListPromptsRequest())).prompts] == ["box__letter"]
    listed = await gateway.ListResources(pb.ListResourcesRequest())
    assert ([one.uri for one in listed.resources], listed.next_page_token) == (["box://tolls"], "more")
    forms = await gateway.ListResources(pb.ListResourcesRequest(templates=True))
    assert [one.name for one in forms.resources] == ["people"]
    mesh.prompts[0].digest, mesh.resources[0].digest = "p9", "r9"
    mesh.blocked = True
    assert not (await gateway.ListPrompts(pb.ListPromptsRequest())).prompts
    assert not (await gateway.ListResources(pb.ListResourcesRequest())).resources
    assert await refused(gateway.GetPrompt(LETTER)) == (Code.PERMISSION_DENIED, "TOOL_WITHHELD")
    assert await refused(gateway.ReadResource(TOLLS)) == (Code.PERMISSION_DENIED, "RESULT_BLOCKED")
    mesh.blocked, mesh.poisoned, mesh.prompts[0].digest = False, "I shall", "p10"
    assert await refused(gateway.GetPrompt(LETTER)) == (Code.PERMISSION_DENIED, "RESULT_BLOCKED")
    mesh.poisoned = '{\\"to\\"'
    mesh.prompts[0].digest = "p11"
    assert await refused(gateway.GetPrompt(LETTER)) == (Code.PERMISSION_DENIED, "ARGUMENTS_BLOCKED")


async def test_who_may(gateway: Called, mesh: Mesh) -> None:  # noqa: F811
    for narrow in (gateway.by("acme/search", models=["tools/other"]), gateway.by("acme/search", scopes=["chat"])):
        reason = "SCOPE_MISSING" if narrow.more.get("scopes") else "TOOL_NOT_ALLOWED"
        assert await refused(narrow.GetPrompt(LETTER)) == (Code.PERMISSION_DENIED, reason)
        assert await refused(narrow.ReadResource(TOLLS)) == (Code.PERMISSION_DENIED, reason)
    other = gateway.by("acme/search", models=["tools/other"])
    assert not (await other.ListPrompts(pb.ListPromptsRequest())).prompts
    assert not (await other.ListResources(pb.ListResourcesRequest())).resources
    assert "tools.GetPrompt" not in mesh.asked and "tools.ReadResource" not in mesh.asked
    assert await field_of(gateway.GetPrompt(pb.GetPromptRequest())) == "name"
    assert await field_of(gateway.ReadResource(pb.ReadResourceRequest(server="box"))) == "uri"
    assert (await refused(gateway.GetPrompt(pb.GetPromptRequest(name="box__nobody"))))[0] is Code.NOT_FOUND
