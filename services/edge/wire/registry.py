"""Artifacts, shadows, records and the audit log as JSON; what people and other systems say, from it."""

from typing import Annotated, Any, Literal

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from msgspec import Meta, Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.registry.v1 import registry_pb2 as pb

from services.edge.wire import body as wire
from services.edge.wire import prompt, request
from services.edge.wire.errors import Refusal, as_json, decoded

NANO = 1_000_000_000
Answer = Annotated[str, Meta(min_length=1, max_length=1 << 20)]


class ComparisonBody(Struct, forbid_unknown_fields=True):
    """What was asked of another system, and what it answered."""

    messages: Annotated[list[wire.Message], Meta(min_length=1, max_length=4096)]
    answer: Answer
    model: str = ""
    variables: dict[str, Any] | None = None
    expected: Annotated[str, Meta(max_length=1 << 20)] = ""
    cost_usd: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    took_s: Annotated[float, Meta(ge=0, le=1e6)] = 0.0


class FeedbackBody(Struct, forbid_unknown_fields=True):
    """What somebody made of an answer; the `x-tollway-*` headers of the answer say which it was."""

    trace_id: str = ""
    decision_id: str = ""
    model: str = ""
    cache_entry_id: str = ""
    score: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    label: str = ""
    correction: str = ""
    comment: str = ""


class DecisionBody(Struct, forbid_unknown_fields=True):
    """What a person says of an answer that was marked."""

    decision: Literal["approved", "corrected", "rejected"]
    reason: str = ""
    correction: str = ""


class ProposalBody(Struct, forbid_unknown_fields=True):
    """A version to be kept; its content as the contract says it."""

    content: dict[str, Any]
    owner: Annotated[str, Meta(max_length=256)] = ""
    why: Annotated[str, Meta(max_length=4096)] = ""
    dry_run: bool = False


class MoveBody(Struct, forbid_unknown_fields=True):
    """Where a label is to point; with a candidate, a rollout."""

    name: str
    label: str
    number: Annotated[int, Meta(ge=1, lt=1 << 31)]
    revision: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
    why: Annotated[str, Meta(max_length=4096)] = ""
    candidate: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    share: Annotated[float, Meta(gt=0, le=1)] = 0.1


_PROPOSAL, _MOVE = msgspec.json.Decoder(ProposalBody), msgspec.json.Decoder(MoveBody)
REVIEWS = {
    "": pb.REVIEW_STATE_UNSPECIFIED,
    "waiting": pb.REVIEW_STATE_WAITING,
    "approved": pb.REVIEW_STATE_APPROVED,
    "corrected": pb.REVIEW_STATE_CORRECTED,
    "rejected": pb.REVIEW_STATE_REJECTED,
}
_WORDS = {number: name for name, number in REVIEWS.items()}
_ROLES = {
    chat.ROLE_SYSTEM: "system", chat.ROLE_DEVELOPER: "developer", chat.ROLE_USER: "user", chat.ROLE_ASSISTANT: "assistant",
    chat.ROLE_TOOL: "tool",
}  # fmt: skip
_FEEDBACK, _DECISION = msgspec.json.Decoder(FeedbackBody), msgspec.json.Decoder(DecisionBody)
_COMPARISON = msgspec.json.Decoder(ComparisonBody)


def comparison_of(name: str, raw: bytes) -> pb.CompareShadowRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_COMPARISON, raw)
    took = Duration()
    took.FromMicroseconds(int(said.took_s * 1e6))
    return pb.CompareShadowRequest(
        name=name,
        chat=request.chat_request(wire.ChatBody(model=said.model, messages=said.messages)),
        answer=said.answer,
        variables_json=as_json(said.variables, "variables") if said.variables is not None else "",
        expected=said.expected,
        cost_nano_usd=int(said.cost_usd * NANO),
        took=took,
    )


def feedback_of(raw: bytes) -> pb.RecordFeedbackRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_FEEDBACK, raw)
    return pb.RecordFeedbackRequest(feedback=pb.Feedback(**msgspec.structs.asdict(said)))


def decision_of(record_id: str, raw: bytes) -> pb.DecideReviewRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_DECISION, raw)
    return pb.DecideReviewRequest(
        record_id=record_id, decision=REVIEWS[said.decision], reason=said.reason, correction=said.correction
    )


def review_of(word: str) -> "pb.ReviewState.ValueType":
    """
    Raises:
        Refusal: there is no such state.
    """
    if word not in REVIEWS:
        allowed = ", ".join(filter(None, REVIEWS))
        raise Refusal(400, "invalid_value", f"invalid value for review: allowed are {allowed}", param="review")
    return REVIEWS[word]


def record(one: pb.Record) -> dict[str, Any]:
    return {
        "id": one.record_id,
        "trace_id": one.trace_id,
        "account": one.account,
        "model": one.model,
        "route_reason": one.route_reason,
        "decision_id": one.decision_id or None,
        "cache_entry_id": one.cache_entry_id or None,
        "prompt": [prompt.used(each) for each in one.used],
        "messages": [
            {"role": _ROLES.get(each.role), "content": "".join(part.text for part in each.parts)}
            for each in one.messages
        ],
        "answer": one.answer,
        "cost_usd": one.cost_nano_usd / NANO,
        "took_s": one.took.ToTimedelta().total_seconds(),
        "findings": list(one.findings),
        "causes": list(one.causes),
        "review": _WORDS[one.review] or None,
        "held": one.held,
        "reviewer": one.reviewer or None,
        "reason": one.reason or None,
        "correction": one.correction or None,
        "at": one.at.ToJsonString(),
        "decided": one.decided.ToJsonString() if one.HasField("decided") else None,
    }


def artifact(one: pb.Artifact) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": pb.Kind.Name(one.kind).removeprefix("KIND_").lower(),
        "newest": one.newest,
        "labels": [label(each) for each in one.labels],
    }


def label(one: pb.Label) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": one.label,
        "number": one.number,
        "revision": one.revision,
        "candidate": one.rollout.candidate or None,
        "share": one.rollout.share or None,
        "moved_by": one.moved_by,
        "moved": one.moved.ToJsonString(),
        "why": one.why,
    }


def version(one: pb.Version) -> dict[str, Any]:
    return {
        "name": one.name,
        "number": one.number or None,
        "digest": one.digest,
        "kind": pb.Kind.Name(one.kind).removeprefix("KIND_").lower(),
        "content": MessageToDict(one.content, preserving_proto_field_name=True),
        "parent": one.parent or None,
        "owner": one.owner,
        "why": one.why,
        "author": one.author,
        "created": one.created.ToJsonString(),
        "reviews": [{"reviewer": each.reviewer, "approved": each.approved, "note": each.note} for each in one.reviews],
    }


def proposal_of(name: str, raw: bytes) -> pb.ProposeVersionRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_PROPOSAL, raw)
    made = pb.ProposeVersionRequest(name=name, owner=said.owner, why=said.why, dry_run=said.dry_run)
    try:
        ParseDict(said.content, made.content)
    except ParseError as error:
        raise Refusal(400, "invalid_value", f"invalid value for content: {error}", param="content") from None
    return made


def move_of(raw: bytes) -> pb.MoveLabelRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_MOVE, raw)
    made = pb.MoveLabelRequest(
        name=said.name, label=said.label, number=said.number, revision=said.revision, why=said.why
    )
    if said.candidate:
        made.rollout.candidate, made.rollout.share = said.candidate, said.share
    return made


def run(one: pb.Run) -> dict[str, Any]:
    return {
        "id": one.run_id,
        "dataset": f"{one.dataset}@{one.number}",
        "candidate": {"model": one.candidate.model or None, "prompt": one.candidate.prompt or None},
        "state": pb.RunState.Name(one.state).removeprefix("RUN_STATE_").lower(),
        "cases": one.cases,
        "judged": one.judged,
        "failed": one.failed,
        "scores": [{"name": each.name, "mean": each.mean, "low": each.low, "high": each.high} for each in one.scores],
        "cost_usd": one.cost_nano_usd / NANO,
        "took_s": one.took.ToTimedelta().total_seconds(),
        "created": one.created.ToJsonString(),
    }


def probe(one: pb.ProbeReport) -> dict[str, Any]:
    return {
        "name": one.probe.name,
        "dataset": one.probe.dataset,
        "every_s": one.probe.every.ToTimedelta().total_seconds(),
        "false_alarm_every": one.probe.false_alarm_every or 100_000,
        "models": [
            {
                "model": each.model,
                "rounds": each.rounds,
                "reported": each.reported or None,
                "alarmed": each.alarmed.ToJsonString() if each.HasField("alarmed") else None,
                "alarm": each.alarm or None,
                "signals": [
                    {"name": signal.name, "usual": signal.usual, "last": signal.last, "evidence": signal.evidence}
                    for signal in each.signals
                ],
            }
            for each in one.models
        ],
    }


def shadow(one: pb.Shadow) -> dict[str, Any]:
    kind = one.WhichOneof("source") or ""
    return {
        "name": one.name,
        "source": kind,
        "of": getattr(one, kind) if kind in ("template", "model") else None,
        "share": one.share,
        "candidate": {"model": one.candidate.model or None, "prompt": one.candidate.prompt or None},
        "measures": [each.measure.name for each in one.measures],
        "revision": one.revision,
    }


def report(made: pb.GetShadowReportResponse) -> dict[str, Any]:
    return {
        **shadow(made.shadow),
        "verdict": _word(made.verdict),
        "measures": [
            {
                "name": one.name,
                "verdict": _word(one.verdict),
                "pairs": one.pairs,
                "live": one.live,
                "candidate": one.candidate,
                "evidence_better": one.better,
                "evidence_worse": one.worse,
                "more_pairs": one.more if one.more >= 0 else None,
            }
            for one in made.measures
        ],
        "live": _side(made.live),
        "candidate_side": _side(made.candidate),
        "waiting": made.waiting,
        "failed": made.failed,
        "skipped": made.skipped,
        "promoted": made.promoted.ToJsonString() if made.HasField("promoted") else None,
    }


def entry(one: pb.AuditEntry) -> dict[str, Any]:
    return {"sequence": one.sequence, "json": one.json, "hash": one.hash}


def _side(one: pb.Side) -> dict[str, Any]:
    took = one.took.ToTimedelta().total_seconds()
    return {"answers": one.answers, "cost_usd": one.cost_nano_usd / NANO, "took_s": took}


def _word(verdict: "pb.Verdict.ValueType") -> str:
    return pb.Verdict.Name(verdict).removeprefix("VERDICT_").lower()
