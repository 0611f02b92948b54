"""CloudEvents 1.0 of a job's end, as the broker and webhooks carry them. They hold no prompt and no answer."""

import json
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from google.protobuf.json_format import MessageToDict
from tollway.jobs.v1 import events_pb2 as pb

from services.jobs.life import Job

SOURCE = "tollway/jobs"


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
    body = {
        "specversion": "1.0",
        "id": str(uuid5(NAMESPACE_URL, f"{job.id}/{job.attempts}/{job.state.name}")),
        "source": SOURCE,
        "type": f"dev.tollway.job.{state}",
        "subject": str(job.id),
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "tenant": job.tenant,
        "data": MessageToDict(data, preserving_proto_field_name=True, always_print_fields_with_no_presence=True),
    }
    return json.dumps(body, separators=(",", ":")).encode()
