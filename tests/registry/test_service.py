"""The service over every transport."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc

from services.registry import audit, documents
from services.registry.memory import MemoryStore
from services.registry.outcomes import Outcomes
from services.registry.promoting import Approvals
from services.registry.service import RegistryService
from services.registry.shelf import Shelf
from services.runtime.background import running
from services.runtime.server import Service
from tests.registry.made import snippet, template
from tests.support.callers import identity
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import eventually

NAME = "support/answer"


@asynccontextmanager
async def served(transport: str = "inproc", store: Any = None, **approvals: int) -> AsyncIterator[Called]:
    store = store or MemoryStore()
    outcomes = Outcomes(store)
    nobody: Any = None  # shadows have tests of their own
    servicer = RegistryService(
        store, Shelf(store), outcomes, Approvals({"*": approvals}), nobody, nobody, nobody, nobody, nobody
    )
    service = Service(
        name="tollway.registry.v1.RegistryService",
        domain="registry.tollway",
        register=partial(registry_pb2_grpc.add_RegistryServiceServicer_to_server, servicer),
        identity=identity(),
    )
    async with running(outcomes.run()), channel_to(service, transport) as channel:
        yield Called(registry_pb2_grpc.RegistryServiceStub(channel), key="key_ann")


def content(said: dict[str, Any]) -> pb.Content:
    made = pb.Content()
    documents.read(said, made)
    return made


async def proposed(stub: Called, *texts: str, name: str = NAME, **more: Any) -> list[pb.Version]:
    return [
        (
            await stub.ProposeVersion(pb.ProposeVersionRequest(name=name, content=content(template(text, **more))))
        ).version
        for text in texts
    ]


async def moved(stub: Called, number: int, revision: int = 0, label: str = "production", **more: Any) -> pb.Label:
    asked = pb.MoveLabelRequest(name=NAME, label=label, number=number, revision=revision, **more)
    made: pb.Label = (await stub.MoveLabel(asked)).label
    return made


def texts(made: pb.Resolution) -> list[str]:
    return [one.parts[0].text for one in made.chat.messages]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_version_is_proposed_labelled_and_answers(transport: str) -> None:
    async with served(transport) as stub:
        (one,) = await proposed(stub, "Hello {{ who }}", variables=("who",))
        assert one.number == 1 and one.digest.startswith("sha256:") and one.author == "key_ann"
        asked = pb.ProposeVersionRequest(name=NAME, content=one.content, why="again")
        again = await stub.ProposeVersion(asked)
        assert not again.created and again.version.digest == one.digest
        await moved(stub, 1)
        for reference in (NAME, f"{NAME}@production", f"{NAME}@1", f"{NAME}@{one.digest[:20]}"):
            made = await stub.Resolve(pb.ResolveRequest(reference=reference, variables_json='{"who": "Ann"}'))
            assert texts(made.resolution) == ["Hello Ann"] and made.resolution.slot == 1 and not made.reported
            assert made.resolution.used[0].digest == one.digest
        found = (await stub.GetVersion(pb.GetVersionRequest(reference=NAME))).version
        assert found.content == one.content
        listed = await stub.ListVersions(pb.ListVersionsRequest(name=NAME))
        assert [version.number for version in listed.versions] == [1]
        artifacts = await stub.ListArtifacts(pb.ListArtifactsRequest(kind=pb.KIND_TEMPLATE))
        assert artifacts.artifacts[0].labels[0].number == 1


async def test_lists_are_paged() -> None:
    async with served() as stub:
        await proposed(stub, "a", "b", "c")
        await proposed(stub, "a", name="billing")
        first = await stub.ListVersions(pb.ListVersionsRequest(name=NAME, page_size=2))
        rest = await stub.ListVersions(pb.ListVersionsRequest(name=NAME, page_token=first.next_page_token))
        assert [one.number for one in [*first.versions, *rest.versions]] == [3, 2, 1] and not rest.next_page_token
        page = await stub.ListArtifacts(pb.ListArtifactsRequest(page_size=1))
        more = await stub.ListArtifacts(pb.ListArtifactsRequest(page_token=page.next_page_token))
        assert [one.name for one in [*page.artifacts, *more.artifacts]] == ["billing", NAME]
        log = await stub.ListAudit(pb.ListAuditRequest(page_size=3))
        tail = await stub.ListAudit(pb.ListAuditRequest(page_token=log.next_page_token))
        entries = [audit.Entry(one.sequence, one.json, one.hash) for one in [*log.entries, *tail.entries]]
        assert audit.verified(entries) == entries[3]


async def test_a_dry_run_keeps_nothing() -> None:
    async with served() as stub:
        asked = pb.ProposeVersionRequest(name=NAME, content=content(template("a")), dry_run=True)
        made = await stub.ProposeVersion(asked)
        assert made.created and made.version.number == 0
        assert await refused(stub.ListVersions(pb.ListVersionsRequest(name=NAME))) == (
            grpc.StatusCode.NOT_FOUND,
            "ARTIFACT_UNKNOWN",
        )
        await proposed(stub, "a")
        assert (await moved(stub, 1, dry_run=True)).revision == 1
        assert not (await stub.ListLabels(pb.ListLabelsRequest(name=NAME))).labels


async def test_content_that_cannot_be_rendered_is_not_kept() -> None:
    async with served() as stub:
        asked = pb.ProposeVersionRequest(name=NAME, content=content(template("{{ nobody }}")))
        assert await field_of(stub.ProposeVersion(asked)) == "content"
        asked = pb.ProposeVersionRequest(name="No", content=content(template("a")))
        assert await field_of(stub.ProposeVersion(asked)) == "name"
        asked = pb.ProposeVersionRequest(name=NAME, content=content(template('{% include "rules" %}')))
        assert await refused(stub.ProposeVersion(asked)) == (grpc.StatusCode.NOT_FOUND, "ARTIFACT_UNKNOWN")
        assert await field_of(stub.Resolve(pb.ResolveRequest(reference="No good"))) == "reference"


async def test_includes_are_fixed_when_a_template_is_proposed() -> None:
    async with served() as stub:
        for text in ("be kind", "be brief"):
            await stub.ProposeVersion(pb.ProposeVersionRequest(name="rules", content=content(snippet(text))))
            await proposed(stub, f'{{% include "rules" %}} {text}', '{% include "rules@1" %}!')
        said = [
            texts((await stub.Resolve(pb.ResolveRequest(reference=f"{NAME}@{n}"))).resolution)[0] for n in (1, 2, 3)
        ]
        assert said == ["be kind be kind", "be kind!", "be brief be brief"]
        asked = pb.ProposeVersionRequest(name="x", content=content(template(f'{{% include "{NAME}@1" %}}')))
        assert await field_of(stub.ProposeVersion(asked)) == "content"


async def test_variables_are_named_when_they_do_not_fit() -> None:
    async with served() as stub:
        await proposed(stub, "{{ who }}", variables=("who",))
        asked = partial(pb.ResolveRequest, reference=f"{NAME}@1")
        assert await field_of(stub.Resolve(asked())) == "variables"
        assert await field_of(stub.Resolve(asked(variables_json="[1]"))) == "variables"
        with pytest.raises(grpc.aio.AioRpcError, match="whom: no such variable; who: missing"):
            await stub.Resolve(asked(variables_json='{"whom": 1}'))


async def test_a_configuration_stands_below_the_templates_own_settings() -> None:
    async with served() as stub:
        settings: dict[str, Any] = {"model": "small", "temperature": 0.2, "max_output_tokens": 50, "stop": ["a"]}
        await stub.ProposeVersion(pb.ProposeVersionRequest(name="fast", content=content({"configuration": settings})))
        more: dict[str, Any] = {"settings": {"temperature": 0.0, "stop": ["b"]}, "output": {"type": "json_object"}}
        assert await refused(
            stub.ProposeVersion(
                pb.ProposeVersionRequest(name=NAME, content=content(template("a", configuration="fast", **more)))
            )
        ) == (grpc.StatusCode.NOT_FOUND, "LABEL_UNKNOWN")
        await stub.MoveLabel(pb.MoveLabelRequest(name="fast", label="production", number=1))
        await proposed(stub, "a", configuration="fast", **more)
        made = (await stub.Resolve(pb.ResolveRequest(reference=f"{NAME}@1"))).resolution
        said = made.chat
        assert (said.model, said.temperature, said.max_output_tokens, list(said.stop)) == ("small", 0.0, 50, ["b"])
        assert said.response_format.type == chat.ResponseFormat.TYPE_JSON_OBJECT
        assert [(one.name, one.number, one.label) for one in made.used] == [(NAME, 1, ""), ("fast", 1, "production")]
        assert await refused(stub.Resolve(pb.ResolveRequest(reference="fast"))) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "KIND_DIFFERS",
        )


async def test_a_second_person_approves_where_the_label_asks_for_it() -> None:
    async with served(production=1) as ann:
        ben = ann.by("acme/search", key="key_ben")
        await proposed(ann, "a")
        assert await refused(moved(ann, 1)) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_APPROVED")
        await moved(ann, 1, label="trial")
        review = pb.ReviewVersionRequest(name=NAME, number=1, approve=True, note="good")
        assert await refused(ann.ReviewVersion(review)) == (grpc.StatusCode.PERMISSION_DENIED, "OWN_PROPOSAL")
        assert (await ben.ReviewVersion(review)).version.reviews[0].reviewer == "key_ben"
        await moved(ann, 1)
        await proposed(ann, "b")
        rollout = pb.Rollout(candidate=2, share=0.1)
        assert await refused(moved(ann, 1, 1, rollout=rollout)) == (
            grpc.StatusCode.FAILED_PRECONDITION, "NOT_APPROVED",
        )  # fmt: skip
        await ben.ReviewVersion(pb.ReviewVersionRequest(name=NAME, number=2, approve=False))
        assert (await refused(moved(ann, 2, 1)))[1] == "VERSION_REJECTED"


async def test_a_label_moves_from_where_it_was_seen_and_is_taken_away() -> None:
    async with served() as stub:
        await proposed(stub, "a", "b")
        await moved(stub, 1)
        assert await refused(moved(stub, 2)) == (grpc.StatusCode.FAILED_PRECONDITION, "LABEL_MOVED")
        assert (await refused(moved(stub, 3, 1)))[1] == "VERSION_UNKNOWN"
        made = await moved(stub, 2, 1)
        assert (made.number, made.revision, made.moved_by) == (2, 2, "key_ann")
        assert (await refused(moved(stub, 1, 2, rollout=pb.Rollout(candidate=2, share=0.1, rules=pb.Rules(ramp=[0.5, 0.4])))))[1] == "RAMP_UNFIT"  # fmt: skip
        await stub.DeleteLabel(pb.DeleteLabelRequest(name=NAME, label="production", revision=2))
        assert (await refused(stub.GetRollout(pb.GetRolloutRequest(name=NAME, label="production"))))[
            1
        ] == "LABEL_UNKNOWN"


async def test_versions_are_compared() -> None:
    async with served() as stub:
        await proposed(stub, "one\ntwo", "one\nthree")
        request = pb.DiffVersionsRequest(to=f"{NAME}@2", **{"from": f"{NAME}@1"})
        said = (await stub.DiffVersions(request)).diff
        assert "two" in said and "three" in said
        same = pb.DiffVersionsRequest(to=f"{NAME}@2", **{"from": f"{NAME}@2"})
        assert (await stub.DiffVersions(same)).diff == ""


async def test_another_tenant_sees_nothing() -> None:
    async with served() as stub:
        await proposed(stub, "a")
        await moved(stub, 1)
        theirs = stub.by("globex/app")
        assert (await refused(theirs.Resolve(pb.ResolveRequest(reference=NAME))))[1] == "ARTIFACT_UNKNOWN"
        assert not (await theirs.ListArtifacts(pb.ListArtifactsRequest())).artifacts
        assert not (await theirs.ListAudit(pb.ListAuditRequest())).entries


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("chat", {"Resolve", "ReportOutcome"}),
        ("propose", {"Resolve", "ReportOutcome", "GetVersion", "ProposeVersion"}),
        ("review", {"Resolve", "ReportOutcome", "GetVersion", "ReviewVersion"}),
        ("promote", {"Resolve", "ReportOutcome", "GetVersion", "MoveLabel"}),
        ("audit", {"Resolve", "ReportOutcome", "GetVersion", "ListAudit"}),
    ],
)
async def test_a_key_does_what_its_scopes_say(scope: str, allowed: set[str]) -> None:
    async with served() as stub:
        await proposed(stub, "a")
        await moved(stub, 1)
        calls = {
            "Resolve": pb.ResolveRequest(reference=NAME),
            "ReportOutcome": pb.ReportOutcomeRequest(name=NAME, label="production", number=1),
            "GetVersion": pb.GetVersionRequest(reference=NAME),
            "ProposeVersion": pb.ProposeVersionRequest(name=NAME, content=content(template("b"))),
            "ReviewVersion": pb.ReviewVersionRequest(name=NAME, number=1),
            "MoveLabel": pb.MoveLabelRequest(name=NAME, label="x", number=1),
            "ListAudit": pb.ListAuditRequest(),
        }
        theirs, done = stub.by("acme/search", key="key_scoped", scopes=(scope,)), set()
        for name, request in calls.items():
            try:
                await getattr(theirs, name)(request)
                done.add(name)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.PERMISSION_DENIED, (name, error)
        assert done == allowed


async def test_administrative_calls_of_other_services_are_in_the_log_of_whom_they_are_about() -> None:
    async with served() as stub:
        operator = stub.by("operator", admin=True, key="key_root")
        said = json.dumps({"account": "acme/search", "name": "for the page"})
        before = json.dumps({"name": "what stood there"})
        appended = pb.AppendAuditRequest(
            action="ledger.CreateKey", target="acme/search", request_json=said, before_json=before
        )
        await operator.AppendAudit(appended)
        await operator.AppendAudit(pb.AppendAuditRequest(action="ledger.RevokeKey", target="key_9"))
        (entry,) = (await stub.ListAudit(pb.ListAuditRequest())).entries
        found = json.loads(entry.json)
        assert (found["action"], found["actor"], found["after"]["name"]) == (
            "ledger.CreateKey",
            "key_root",
            "for the page",
        )
        assert found["before"] == {"name": "what stood there"}
        (other,) = (await operator.ListAudit(pb.ListAuditRequest())).entries
        assert json.loads(other.json)["target"] == "key_9"
        assert (await refused(stub.AppendAudit(appended)))[1] == "ADMINISTRATORS_ONLY"
        for unfit in ({"request_json": "["}, {"before_json": "3"}):
            status, reason = (await refused(operator.AppendAudit(pb.AppendAuditRequest(action="a.B", **unfit))))[:2]
            assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ENTRY_UNFIT")


async def test_a_rollout_gives_each_subject_one_side_and_a_way_back() -> None:
    async with served() as stub:
        await proposed(stub, "stable {{ q }}", "candidate {{ q }}", variables=("q",))
        await moved(stub, 1, rollout=pb.Rollout(candidate=2, share=0.5))
        sides = {}
        for n in range(60):
            asked = pb.ResolveRequest(reference=NAME, variables_json=json.dumps({"q": "x"}), subject=f"user {n}")
            one, again = await stub.Resolve(asked), await stub.Resolve(asked)
            assert texts(one.resolution) == texts(again.resolution) and one.reported
            sides[n] = texts(one.resolution)[0]
            assert one.HasField("stable") == (sides[n] == "candidate x")
            if one.HasField("stable"):
                assert texts(one.stable) == ["stable x"] and one.resolution.used[0].candidate
        assert 15 < sum(one == "candidate x" for one in sides.values()) < 45


async def test_a_candidate_that_fails_is_taken_back_by_itself() -> None:
    async with served() as stub:
        await proposed(stub, "a", "b")
        await moved(stub, 1, rollout=pb.Rollout(candidate=2, share=0.5))
        outcome = partial(pb.ReportOutcomeRequest, name=NAME, label="production")
        for _ in range(20):
            await stub.ReportOutcome(outcome(number=1, took=Duration(seconds=1)))
        await stub.ReportOutcome(outcome(number=2, failed=True))
        rollout = partial(stub.GetRollout, pb.GetRolloutRequest(name=NAME, label="production"))

        async def counted() -> bool:
            found = await rollout()
            return bool(found.stable.answers == 20 and found.candidate.failed == 1 and found.evidence > 1)

        await eventually(counted)
        for _ in range(5):
            await stub.ReportOutcome(outcome(number=2, failed=True))

        async def back() -> bool:
            return not (await rollout()).label.HasField("rollout")

        await eventually(back)
        found = (await rollout()).label
        assert (found.number, found.moved_by) == (1, "rules") and "rolled back" in found.why


async def test_a_ramp_ends_in_promotion() -> None:
    async with served() as stub:
        await proposed(stub, "a", "b")
        rules = pb.Rules(ramp=[0.9], step=Duration(), step_answers=5, promote=True)
        await moved(stub, 1, rollout=pb.Rollout(candidate=2, share=0.5, rules=rules))

        async def promoted() -> bool:
            await stub.ReportOutcome(pb.ReportOutcomeRequest(name=NAME, label="production", number=2))
            return bool((await stub.ListLabels(pb.ListLabelsRequest(name=NAME))).labels[0].number == 2)

        await eventually(promoted)
        actions = [json.loads(one.json) for one in (await stub.ListAudit(pb.ListAuditRequest())).entries]
        moves = [
            (one["after"]["number"], one["after"].get("share")) for one in actions if one["action"] == "label.move"
        ]
        assert moves == [(1, 0.5), (1, 0.9), (2, None)] and actions[-1]["actor"] == "rules"


class Away(MemoryStore):
    """A database that can go away."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    async def label(self, tenant: str, name: str, label: str) -> Any:
        if self.gone:
            raise OSError("gone")
        return await super().label(tenant, name, label)


async def test_what_answered_goes_on_answering_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.registry.shelf.FRESH_S", 0.0)
    store = Away()
    async with served(store=store) as stub:
        await proposed(stub, "a")
        await moved(stub, 1)
        asked = pb.ResolveRequest(reference=NAME)
        await stub.Resolve(asked)
        store.gone = True
        assert texts((await stub.Resolve(asked)).resolution) == ["a"]
        assert await refused(stub.Resolve(pb.ResolveRequest(reference=f"{NAME}@other"))) == (
            grpc.StatusCode.UNAVAILABLE,
            "REGISTRY_AWAY",
        )
