"""Answers that are kept, looked at and corrected, and what people make of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import reviewing
from services.registry.app import MIGRATIONS
from services.registry.records import Record, Records, RecordUnknown
from services.registry.reviewing import Policy, Rules
from services.runtime import postgres
from tests.registry.served import Learners, served
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS
from tests.support.stubs import Called

TRACE = "0af7651916cd43dd8448eb211c80319c"


def record(**more: Any) -> pb.Record:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="to [EMAIL_1]?")])
    said: dict[str, Any] = {
        "trace_id": TRACE, "model": "m", "decision_id": "d", "messages": [message], "answer": "yes",
        "causes": ["label"], "review": pb.REVIEW_STATE_WAITING, **more,
    }  # fmt: skip
    return pb.Record(**said)


async def kept(stub: Called, **more: Any) -> str:
    made = await stub.RecordAnswer(pb.RecordAnswerRequest(record=record(**more)))
    return str(made.record_id)


def decision(record_id: str, state: "pb.ReviewState.ValueType", **more: Any) -> pb.DecideReviewRequest:
    return pb.DecideReviewRequest(record_id=record_id, decision=state, **more)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_is_looked_at(postgres_url: str, transport: str) -> None:
    async with served(postgres_url, transport=transport) as ann:
        ben = ann.by("acme/search", key="key_ben")
        record_id = await kept(ann)
        await kept(ann, review=pb.REVIEW_STATE_UNSPECIFIED)
        (waiting,) = (await ben.ListRecords(pb.ListRecordsRequest(review=pb.REVIEW_STATE_WAITING))).records
        assert waiting.record_id == record_id and not waiting.messages and waiting.account == "acme/search"
        assert len((await ben.ListRecords(pb.ListRecordsRequest())).records) == 2
        for name in (record_id, TRACE):
            found = (await ben.GetRecord(pb.GetRecordRequest(record_id=name))).record
            assert found.answer == "yes" and found.key_id == "key_ann"
        made = (await ben.DecideReview(decision(record_id, pb.REVIEW_STATE_APPROVED, reason="fine"))).record
        assert (made.review, made.reviewer, made.reason) == (pb.REVIEW_STATE_APPROVED, "key_ben", "fine")
        again = ben.DecideReview(decision(record_id, pb.REVIEW_STATE_REJECTED))
        assert await refused(again) == (grpc.StatusCode.FAILED_PRECONDITION, "DECIDED_ALREADY")
        log = (await ann.ListAudit(pb.ListAuditRequest())).entries
        assert [one.json.count("review.decide") for one in log] == [1]


async def test_a_correction_becomes_a_case_and_drops_what_was_stored(postgres_url: str) -> None:
    learners = Learners()
    async with served(postgres_url, learners=learners) as stub:
        for n in (1, 2):
            record_id = await kept(stub, cache_entry_id="e1")
            assert await field_of(stub.DecideReview(decision(record_id, pb.REVIEW_STATE_CORRECTED))) == "correction"
            await stub.DecideReview(decision(record_id, pb.REVIEW_STATE_CORRECTED, correction=f"no, {n}"))
        found = (await stub.GetVersion(pb.GetVersionRequest(reference="corrections@2"))).version
        cases = found.content.dataset.cases
        assert [one.expected for one in cases] == ["no, 1", "no, 2"] and cases[0].messages[0].text == "to [EMAIL_1]?"
        assert {getattr(one, "tag", "") or getattr(one, "entry_id", "") for one in learners.told} == {
            f"trace:{TRACE}",
            "e1",
        }
        assert not any(getattr(one, "right", False) for one in learners.told)


async def test_whoever_waits_is_told_when_it_is_decided(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(postgres_url) as stub:
        record_id = await kept(stub, held=True)
        waiting = asyncio.ensure_future(stub.AwaitReview(pb.AwaitReviewRequest(record_id=record_id)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await stub.DecideReview(decision(record_id, pb.REVIEW_STATE_CORRECTED, correction="better", reason="shorter"))
        told = await waiting
        assert (told.decision, told.correction, told.reason) == (pb.REVIEW_STATE_CORRECTED, "better", "shorter")
        monkeypatch.setattr("services.registry.reviewing.HOLD_S", 0.0)
        other = await kept(stub)
        still = await stub.AwaitReview(pb.AwaitReviewRequest(record_id=other))
        assert still.decision == pb.REVIEW_STATE_WAITING


async def test_records_are_the_tenants_own_and_need_their_scope(postgres_url: str) -> None:
    async with served(postgres_url) as stub:
        record_id = await kept(stub)
        other = await kept(stub, review=pb.REVIEW_STATE_UNSPECIFIED)
        assert (await refused(stub.DecideReview(decision(other, pb.REVIEW_STATE_APPROVED))))[1] == "NOT_FOR_REVIEW"
        theirs = stub.by("globex/app")
        assert (await refused(theirs.GetRecord(pb.GetRecordRequest(record_id=record_id))))[1] == "RECORD_UNKNOWN"
        assert (await refused(theirs.DecideReview(decision(record_id, pb.REVIEW_STATE_APPROVED))))[
            1
        ] == "RECORD_UNKNOWN"
        chatting = stub.by("acme/search", scopes=("chat",))
        assert (await refused(chatting.ListRecords(pb.ListRecordsRequest())))[1] == "SCOPE_MISSING"


async def test_feedback_reaches_the_router_and_the_cache(postgres_url: str) -> None:
    learners = Learners()
    async with served(postgres_url, learners=learners) as stub:
        said = pb.Feedback(trace_id=TRACE, decision_id="d", model="m", score=-1, label="thumb", comment="wrong")
        made = await stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=said))
        assert made.routed and made.stored == 2
        outcome, dropped = learners.told
        assert (outcome.decision_id, outcome.model, outcome.good) == (
            "d",
            "m",
            False,
        ) and dropped.tag == f"trace:{TRACE}"
        good = pb.Feedback(cache_entry_id="e1", score=1)
        assert (await stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=good))).stored == 1
        assert learners.told[-1].right
        learners.away = True
        made = await stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=said))
        assert not made.routed and made.stored == 0, "kept, whoever is away"
        entries = (await stub.ListFeedback(pb.ListFeedbackRequest(trace_id=TRACE))).entries
        assert [one.feedback.comment for one in entries] == ["wrong", "wrong"] and entries[0].by == "key_ann"
        page = await stub.ListFeedback(pb.ListFeedbackRequest(page_size=2))
        rest = await stub.ListFeedback(pb.ListFeedbackRequest(page_token=page.next_page_token))
        assert len(page.entries) + len(rest.entries) == 3 and not rest.next_page_token
        assert not (await stub.by("globex/app").ListFeedback(pb.ListFeedbackRequest())).entries
        assert (await refused(stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=pb.Feedback(score=1)))))[0] is grpc.StatusCode.INVALID_ARGUMENT  # fmt: skip


async def test_what_is_old_is_forgotten_unless_it_waits(postgres_url: str) -> None:
    now = datetime.now(UTC)
    async with postgres.opened(postgres_url, "registry", MIGRATIONS, 2) as pool:
        records = Records(pool)
        made = [
            Record(uuid4(), "acme", "", record().SerializeToString(), now, now + timedelta(days=days), review)
            for days, review in ((-1, ""), (-1, "waiting"), (-1, "approved"), (1, ""))
        ]
        for one in made:
            await records.add(one)
        await records.forget(now)
        left = [one.id for one in await records.listed("acme", "", 0, 10)]
        assert left == [made[3].id, made[1].id]
        with pytest.raises(RecordUnknown):
            await records.record("acme", str(made[0].id))


def test_a_policy_is_told_to_the_gateway_as_rules() -> None:
    rules = Rules(sampled=0.1, flagged="hold", unsure_below=0.4, labels={"stakes=high": "hold", "stakes=some": "after"})
    (made,) = reviewing.policies({"acme": Policy(0.5, review=rules)})
    assert (made.tenant, made.share) == ("acme", 0.5)
    assert [(one.WhichOneof("cause"), one.hold) for one in made.rules] == [
        ("sampled", False), ("flagged", True), ("unsure_below", False), ("label", True), ("label", False),
    ]  # fmt: skip


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_was_kept_of_an_end_user_is_erased(postgres_url: str, transport: str) -> None:
    async with served(postgres_url, transport=transport) as stub:
        admin = stub.by("operator", admin=True)
        other = "0af7651916cd43dd8448eb211c80319d"
        for user, trace in (("ann", TRACE), ("ben", other)):
            await stub.RecordAnswer(pb.RecordAnswerRequest(record=record(trace_id=trace), user=user))
            await stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=pb.Feedback(trace_id=trace, score=1)))
        gone = await admin.Erase(pb.EraseRequest(tenant="acme", subject="ann"))
        assert gone.erased == {"records": 1, "feedback": 1}
        (left,) = (await stub.ListRecords(pb.ListRecordsRequest())).records
        (said,) = (await stub.ListFeedback(pb.ListFeedbackRequest())).entries
        assert left.trace_id == other == said.feedback.trace_id
        (entry,) = (await stub.ListAudit(pb.ListAuditRequest())).entries
        assert '"registry.Erase"' in entry.json and "ann" not in entry.json
        assert (await refused(stub.Erase(pb.EraseRequest(tenant="acme", subject="ann"))))[1] == "ADMINISTRATORS_ONLY"
