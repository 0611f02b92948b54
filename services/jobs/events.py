"""CloudEvents 1.0 of a job's end and of alerts, as the broker and webhooks carry them. They hold no prompt and no answer."""

import json
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tollway.jobs.v1 import events_pb2 as pb
from tollway.ledger.v1 import ledger_pb2

from services.jobs.life import Job

JOBS, LEDGER = "tollway/jobs", "tollway/ledger"


def ended(job: Job, at: datetime) -> bytes:
    """The same event for the same end, whoever writes it: its id tells a repeated one."""
    state = job.state.name.lower()
    data = pb.JobEnded(
        job_id=str(job.id),
        kind=job.kind,
        account=job.account,
        state=state,
        total=job.total,
        succeeded=job.succeeded,
        failed=job.failed,
        reason=job.fault.reason if job.fault else "",
        metadata=job.metadata,
    )
    name = f"{job.id}/{job.attempts}/{job.state.name}"
    return _event(f"job.{state}", name, JOBS, str(job.id), at, job.tenant, data)


def alert(one: ledger_pb2.Alert) -> bytes:
    """People should know of it."""
    data = pb.AlertRaised(kind=one.kind, account=one.account, subject=one.subject, text=one.text)
    at, tenant = one.at.ToDatetime(UTC), one.account.partition("/")[0]
    return _event(f"alert.{one.kind}", f"alert/{one.alert_id}/{at.isoformat()}", LEDGER, one.account, at, tenant, data)


def _event(kind: str, name: str, source: str, subject: str, at: datetime, tenant: str, data: Message) -> bytes:
    """`name` tells the event from every other: its id is made of it."""
    body = {
        "specversion": "1.0",
        "id": str(uuid5(NAMESPACE_URL, name)),
        "source": source,
        "type": f"dev.tollway.{kind}",
        "subject": subject,
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "tenant": tenant,
        "data": MessageToDict(data, preserving_proto_field_name=True, always_print_fields_with_no_presence=True),
    }
    return json.dumps(body, separators=(",", ":")).encode()
