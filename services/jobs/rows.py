"""A job as a row, and what is asked of many rows at once."""

import json
from typing import Any

from services.jobs.life import ERASED, Fault, Job, State

WITHOUT_RESULT = """id, parent, line, custom_id, request_id, kind, account, key_id, state, priority, created, ready, deadline,
    started, ended, keep, attempts, total, succeeded, failed, webhook, metadata, code, reason, message, digest, evaluation,
    scores, shown, partial, worker, lease, subject, conversation"""
COLUMNS = f"{WITHOUT_RESULT}, request, result"
OURS = ", ".join(f"job.{name.strip()}" for name in WITHOUT_RESULT.split(","))

# Tenants by a loose scan of the index of what waits; of each as many as it has room for, those with the fewest running first.
CLAIM = f"""
WITH RECURSIVE tenants AS (
    (SELECT tenant FROM job WHERE state = 1 AND kind <> 'batch' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT tenant FROM job WHERE state = 1 AND kind <> 'batch' AND tenant > tenants.tenant
            ORDER BY tenant LIMIT 1)
    FROM tenants WHERE tenants.tenant IS NOT NULL
), busy AS (
    SELECT tenant, (SELECT count(*) FROM job WHERE job.tenant = tenants.tenant AND state = 2 AND kind <> 'batch') AS running
    FROM tenants WHERE tenant IS NOT NULL
), picked AS (
    SELECT turn.id FROM busy CROSS JOIN LATERAL (
        SELECT id, row_number() OVER () AS place FROM (
            SELECT id FROM job
            WHERE tenant = busy.tenant AND state = 1 AND kind <> 'batch' AND ready <= now()
            ORDER BY priority DESC, ready, id LIMIT least($2, greatest($3 - busy.running, 0))
            FOR UPDATE SKIP LOCKED
        ) AS waiting
    ) AS turn ORDER BY busy.running + turn.place LIMIT $2
)
UPDATE job SET state = 2, worker = $1, lease = now() + $4, attempts = attempts + 1, started = coalesce(started, now())
FROM picked WHERE job.id = picked.id RETURNING {OURS}, job.request, NULL::bytea AS result
"""

FINISH = f"""
WITH done AS (
    SELECT * FROM unnest($2::uuid[], $3::smallint[], $4::bytea[], $5::int[], $6::text[], $7::text[], $8::timestamptz[],
                           $9::jsonb[]) AS t(id, state, result, code, reason, message, ready, scores)
)
UPDATE job SET state = done.state, result = done.result, code = done.code, reason = done.reason, message = done.message,
    ready = coalesce(done.ready, job.ready), worker = NULL, lease = NULL, scores = done.scores, partial = '',
    ended = CASE WHEN done.state > 2 THEN now() END,
    succeeded = CASE WHEN done.state = 3 THEN 1 ELSE 0 END,
    failed = CASE WHEN done.state IN (4, 6) THEN 1 ELSE 0 END
FROM done WHERE job.id = done.id AND job.worker = $1 AND job.state = 2
RETURNING {OURS}, ''::bytea AS request, NULL::bytea AS result
"""

# A batch has what its lines have; it ends with the last of them.
PARENTS = f"""
WITH sums AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS t(id, good, bad) ORDER BY id
), held AS (
    SELECT job.id FROM job JOIN sums USING (id) ORDER BY job.id FOR UPDATE
)
UPDATE job SET succeeded = job.succeeded + good, failed = job.failed + bad, started = coalesce(job.started, now()),
    state = CASE WHEN job.state > 2 THEN job.state WHEN job.succeeded + job.failed + good + bad >= job.total THEN 3 ELSE 2 END,
    ended = CASE WHEN job.state > 2 THEN job.ended
                 WHEN job.succeeded + job.failed + good + bad >= job.total THEN now() END
FROM sums JOIN held USING (id) WHERE job.id = sums.id
RETURNING {OURS}, ''::bytea AS request, NULL::bytea AS result
"""

# Lines of an end user: what they asked and got goes, they stay in their places, ended. `before` is the state each was in.
ERASE_LINES = f"""
WITH found AS (
    SELECT id, state AS before FROM job WHERE tenant = $1 AND subject = $2 AND parent IS NOT NULL ORDER BY id FOR UPDATE
)
UPDATE job SET state = 5, request = '', result = NULL, partial = '', custom_id = 'erased-' || line, scores = '{{}}', subject = '',
    code = 5, reason = '{ERASED}', message = 'the data of its end user was erased', worker = NULL, lease = NULL,
    ended = coalesce(ended, now()), succeeded = 0, failed = 1
FROM found WHERE job.id = found.id
RETURNING {OURS}, ''::bytea AS request, NULL::bytea AS result, found.before
"""

RECORD = ["id", "parent", "line", "custom_id", "request_id", "kind", "account", "tenant", "key_id", "state", "priority",
           "created", "ready", "deadline", "ended", "keep", "total", "failed", "webhook", "metadata", "code", "reason", "message",
           "request", "digest", "evaluation", "shown", "worker", "lease", "attempts", "started", "subject", "succeeded",
           "result", "conversation"]  # fmt: skip


KEEP = f"""
INSERT INTO job ({", ".join(RECORD)}) VALUES ({", ".join(f"${n}" for n, _ in enumerate(RECORD, 1))}) ON CONFLICT (id) DO NOTHING
RETURNING id
"""


def record(job: Job) -> tuple[Any, ...]:
    fault, evaluation = job.fault or Fault(0, "", ""), job.kind == "evaluation"
    kind = "batch" if evaluation else job.kind
    return (job.id, job.parent, job.line, job.custom_id, job.request_id, kind, job.account, job.tenant, job.key_id,
            int(job.state), job.priority, job.created, job.ready, job.deadline, job.ended, job.keep, job.total, job.failed,
            job.webhook, json.dumps(dict(job.metadata)), fault.code, fault.reason, fault.message, job.request,
            job.digest, evaluation, job.shown, job.worker, job.lease, job.attempts, job.started, job.subject,
            job.succeeded, job.result, job.conversation)  # fmt: skip


def read(row: Any) -> Job:
    said = row["code"], row["reason"], row["message"]
    return Job(
        id=row["id"], kind="evaluation" if row["evaluation"] else row["kind"], account=row["account"], key_id=row["key_id"], created=row["created"],
        ready=row["ready"], deadline=row["deadline"], request=row["request"], state=State(row["state"]),
        parent=row["parent"], line=row["line"] or 0, custom_id=row["custom_id"], request_id=row["request_id"],
        priority=row["priority"], keep=row["keep"], started=row["started"], ended=row["ended"],
        attempts=row["attempts"], total=row["total"], succeeded=row["succeeded"], failed=row["failed"],
        webhook=row["webhook"], metadata=json.loads(row["metadata"]), fault=Fault(*said) if any(said) else None,
        result=row["result"], digest=row["digest"] or b"", scores=json.loads(row["scores"]), shown=row["shown"],
        partial=row["partial"], worker=row["worker"], lease=row["lease"], subject=row["subject"], conversation=row["conversation"],
    )  # fmt: skip
