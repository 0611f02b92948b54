"""What reports ask of the entries in PostgreSQL."""

import json
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.ledger.store import Asked, Entry, UsageRow

GROUPS = {
    "": "''",
    "account": "account",
    "model": "model",
    "key": "key_id",
    "hour": "to_char(at AT TIME ZONE $7, 'YYYY-MM-DD HH24:00')",
    "day": "to_char(at AT TIME ZONE $7, 'YYYY-MM-DD')",
    "month": "to_char(at AT TIME ZONE $7, 'YYYY-MM')",
}
TAG = "tag:"
WITHIN = "outcome = 'settled' AND ($1 = '' OR account = $1 OR starts_with(account, $1 || '/'))"


async def usage(connection: Any, asked: Asked, group_by: str, after: str, most: int) -> list[UsageRow]:
    tag = group_by.removeprefix(TAG) if group_by.startswith(TAG) else ""
    group = "coalesce(tags->>$8::text, '')" if tag else GROUPS[group_by]
    rows = await connection.fetch(
        f"""SELECT {group} AS name, count(*) AS requests, count(*) FILTER (WHERE cached) AS cached,
                   sum(input_tokens)::bigint AS input, sum(output_tokens)::bigint AS output, sum(cost)::bigint AS cost,
                   coalesce(sum(baseline), 0)::bigint AS baseline,
                   coalesce(sum(baseline) FILTER (WHERE cached), 0)::bigint AS cached_baseline
            FROM entry LEFT JOIN spared USING (reservation_id) WHERE {WITHIN} AND at >= $2 AND at < $3 AND ($4 = '' OR model = $4) AND tags @> $5::jsonb
              AND $7::text IS NOT NULL AND $8::text IS NOT NULL AND ($6 = '' OR {group} > $6)
            GROUP BY 1 ORDER BY 1 LIMIT $9""",
        asked.account, asked.since, asked.until, asked.model, json.dumps(dict(asked.tags)), after,
        asked.time_zone or "UTC", tag, most,
    )  # fmt: skip
    return [
        UsageRow(
            row["name"],
            row["requests"],
            row["cached"],
            row["input"],
            row["output"],
            row["cost"],
            row["baseline"],
            row["cached_baseline"],
        )
        for row in rows
    ]


async def entries(connection: Any, asked: Asked, after: tuple[datetime, UUID] | None, most: int) -> list[Entry]:
    at, last = after or (None, None)
    rows = await connection.fetch(
        f"""SELECT * FROM entry WHERE {WITHIN} AND at >= $2 AND at < $3
              AND ($4::timestamptz IS NULL OR (at, reservation_id) > ($4, $5::uuid))
            ORDER BY at, reservation_id LIMIT $6""",
        asked.account, asked.since, asked.until, at, last, most,
    )  # fmt: skip
    return [entry(row) for row in rows]


async def daily(connection: Any, asked: Asked) -> dict[date, int]:
    """What was spent, by day."""
    rows = await connection.fetch(
        f"""SELECT (at AT TIME ZONE $4)::date AS day, sum(cost)::bigint AS cost FROM entry
            WHERE {WITHIN} AND at >= $2 AND at < $3 GROUP BY 1""",
        asked.account, asked.since, asked.until, asked.time_zone or "UTC",
    )  # fmt: skip
    return {row["day"]: row["cost"] for row in rows}


def entry(row: Any) -> Entry:
    return Entry(**{**dict(row), "tags": json.loads(row["tags"])})
