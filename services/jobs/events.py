"""CloudEvents 1.0 of a job's end, as the broker and webhooks carry them. They hold no prompt and no answer."""

import json
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from services.jobs.life import Job

SOURCE = "tollway/jobs"


def ended(job: Job, at: datetime) -> bytes:
    """The same event for the same end, whoever writes it: its id tells a repeated one."""
    body = {
        "specversion": "1.0",
        "id": str(uuid5(NAMESPACE_URL, f"{job.id}/{job.attempts}/{job.state.name}")),
        "source": SOURCE,
        "type": f"dev.tollway.job.{job.state.name.lower()}",
        "subject": str(job.id),
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "tenant": job.tenant,
        "data": {
            "job_id": str(job.id),
            "kind": job.kind,
            "account": job.account,
            "state": job.state.name.lower(),
            "total": job.total,
            "succeeded": job.succeeded,
            "failed": job.failed,
            "reason": job.fault.reason if job.fault else "",
            "metadata": dict(job.metadata),
        },
    }
    return json.dumps(body, separators=(",", ":")).encode()
