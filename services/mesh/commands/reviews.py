"""`tollway reviews`: answers that wait for a person."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from tollway.registry.v1 import registry_pb2 as pb

from services.mesh import running
from services.mesh.commands.calling import Key, State
from services.mesh.commands.registry import called
from services.mesh.screen import err, fail, say, table

STATES = {
    "": pb.REVIEW_STATE_UNSPECIFIED,
    "waiting": pb.REVIEW_STATE_WAITING,
    "approved": pb.REVIEW_STATE_APPROVED,
    "corrected": pb.REVIEW_STATE_CORRECTED,
    "rejected": pb.REVIEW_STATE_REJECTED,
}
WORDS = {number: name for name, number in STATES.items()}
RecordId = Annotated[str, typer.Argument(help="The record's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the decision.")]

reviews = typer.Typer(
    no_args_is_help=True, help="Answers that a person looks at: list, show, approve, correct, reject."
)


@reviews.command("list")
def list_reviews(
    only: Annotated[
        str, typer.Option(help="waiting, approved, corrected or rejected; all that was kept without it.")
    ] = "waiting",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists answers, the newest first."""
    if only not in STATES:
        fail(f"--only {only}: one of {', '.join(filter(None, STATES))}")
    request = pb.ListRecordsRequest(review=STATES[only])
    rows = [
        (one.record_id, f"{one.at.ToDatetime():%Y-%m-%d %H:%M}", one.account, one.model, ", ".join(one.causes),
         "holds the answer" if one.held and one.review == pb.REVIEW_STATE_WAITING else WORDS[one.review])
        for one in called(state, key, lambda stub: stub.ListRecords(request)).records
    ]  # fmt: skip
    table(("record", "at (UTC)", "account", "model", "why", "now"), rows)


@reviews.command("show")
def show(record_id: RecordId, key: Key = "", state: State = running.STATE) -> None:
    """Shows a request and its answer, masked, as JSON. The id may be a trace's, as in `x-tollway-trace`."""
    request = pb.GetRecordRequest(record_id=record_id)
    found = called(state, key, lambda stub: stub.GetRecord(request))
    say(MessageToJson(found.record, preserving_proto_field_name=True))


@reviews.command("approve")
def approve(record_id: RecordId, reason: Reason = "", key: Key = "", state: State = running.STATE) -> None:
    """Lets an answer stand."""
    decide(record_id, "approved", reason, "", key, state)


@reviews.command("correct")
def correct(
    record_id: RecordId,
    answer: Annotated[str, typer.Argument(help="What should have been answered.")],
    reason: Reason = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Says what should have been answered: it becomes a case of the dataset `corrections`."""
    decide(record_id, "corrected", reason, answer, key, state)


@reviews.command("reject")
def reject(record_id: RecordId, reason: Reason = "", key: Key = "", state: State = running.STATE) -> None:
    """Says that an answer is of no use: it is not given, and not served again."""
    decide(record_id, "rejected", reason, "", key, state)


def decide(record_id: str, decision: str, reason: str, correction: str, key: str, state: State) -> None:
    request = pb.DecideReviewRequest(
        record_id=record_id, decision=STATES[decision], reason=reason, correction=correction
    )
    called(state, key, lambda stub: stub.DecideReview(request))
    err.print(f"[green]✓[/green] {decision}")
