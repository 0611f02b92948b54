"""What reports ask of the books in PostgreSQL: of sums by the day and the half hour as far as those tell, of entries where not."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from services.ledger.store import Asked, Entry, UsageRow
from services.ledger.windows import BEGINNING, zone

GROUPS = {
    "": "''",
    "account": "account",
    "model": "model",
    "key": "key_id",
    "template": "template",
    "hour": "to_char(at AT TIME ZONE $7, 'YYYY-MM-DD HH24:00')",
    "day": "to_char(at AT TIME ZONE $7, 'YYYY-MM-DD')",
    "month": "to_char(at AT TIME ZONE $7, 'YYYY-MM')",
}
TAG, TEMPLATE = "tag:", "template"
HALF_HOUR, DAY = timedelta(minutes=30), timedelta(days=1)
BY_TIME = ("hour", "day", "month")
MOST_DAYS = 10_000
WITHIN = "($1 = '' OR account = $1 OR starts_with(account, $1 || '/'))"
# From $12 to $13 sums by the day, around them from $10 to $11 by the half hour, and around those entries.
FACTS = f"""
    SELECT began AS at, account, model, key_id, template, NULL::jsonb AS tags, requests, cached, input_tokens, output_tokens, cost,
           baseline, cached_baseline
    FROM tally
    WHERE (minutes = 1440 AND began >= $12 AND began < $13
           OR minutes = 30 AND (began >= $10 AND began < $12 OR began >= $13 AND began < $11)) AND {WITHIN} AND ($4 = '' OR model = $4)
      AND ($5::jsonb->>'template' IS NULL OR template = $5::jsonb->>'template')
    UNION ALL
    SELECT at, account, model, key_id, coalesce(tags->>'template', ''), tags, 1, cached::integer, input_tokens, output_tokens, cost,
           coalesce(baseline, 0), CASE WHEN cached THEN coalesce(baseline, 0) ELSE 0 END
    FROM entry LEFT JOIN spared USING (reservation_id)
    WHERE outcome = 'settled' AND {WITHIN} AND ($4 = '' OR model = $4) AND tags @> $5::jsonb
      AND (at >= $2 AND at < $10 OR at >= $11 AND at < $3)
"""


async def usage(connection: Any, asked: Asked, group_by: str, after: str, most: int) -> list[UsageRow]:
    tag = group_by.removeprefix(TAG) if group_by.startswith(TAG) else ""
    if tag == TEMPLATE:
        tag, group_by = "", TEMPLATE
    group = "coalesce(tags->>$8::text, '')" if tag else GROUPS[group_by]
    rows = await connection.fetch(
        f"""SELECT {group} AS name, sum(requests)::bigint AS requests, sum(cached)::bigint AS cached, sum(input_tokens)::bigint AS input,
                   sum(output_tokens)::bigint AS output, sum(cost)::bigint AS cost, sum(baseline)::bigint AS baseline,
                   sum(cached_baseline)::bigint AS cached_baseline
            FROM ({FACTS}) AS fact WHERE $7::text IS NOT NULL AND $8::text IS NOT NULL AND ($6 = '' OR {group} > $6)
            GROUP BY 1 ORDER BY 1 LIMIT $9""",
        asked.account, asked.since, asked.until, asked.model, json.dumps(dict(asked.tags)), after,
        asked.time_zone or "UTC", tag, most, *_summed(asked, group_by, tag),
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


def _summed(asked: Asked, group_by: str, tag: str) -> tuple[datetime, datetime, datetime, datetime]:
    """From when to when sums by the half hour tell what was asked, and within that by the day. Of tags they know the template alone,
    and of zones those whose days begin with a half hour of UTC, which are nearly all; days of UTC are no other zone's."""
    nothing = asked.until, asked.until, asked.until, asked.until
    since, until = _whole(asked.since, asked.until, HALF_HOUR)
    offset = min(until, datetime.now(UTC)).astimezone(zone(asked.time_zone)).utcoffset() or timedelta()
    if tag or set(asked.tags) - {TEMPLATE} or (group_by in BY_TIME and offset % HALF_HOUR) or since >= until:
        return nothing
    first, last = _whole(since, until, DAY)
    if first >= last or group_by == "hour" or (group_by in BY_TIME and zone(asked.time_zone).key != "UTC"):
        first = last = until
    return since, until, first, last


def _whole(since: datetime, until: datetime, step: timedelta) -> tuple[datetime, datetime]:
    """The whole steps within; none where the first is behind the last."""
    return BEGINNING + -(-(since - BEGINNING) // step) * step, until - (until - BEGINNING) % step


async def entries(
    connection: Any, asked: Asked, after: tuple[datetime, UUID] | None, most: int, newest_first: bool
) -> list[Entry]:
    at, last = after or (None, None)
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    rows = await connection.fetch(
        f"""SELECT * FROM entry WHERE outcome = 'settled' AND {WITHIN} AND at >= $2 AND at < $3 AND ($4 = '' OR model = $4)
              AND tags @> $5::jsonb AND ($6 = '' OR key_id = $6)
              AND ($7::timestamptz IS NULL OR (at, reservation_id) {beyond} ($7, $8::uuid))
            ORDER BY at {order}, reservation_id {order} LIMIT $9""",
        asked.account, asked.since, asked.until, asked.model, json.dumps(dict(asked.tags)), asked.key_id, at, last, most,
    )  # fmt: skip
    return [entry(row) for row in rows]


async def daily(connection: Any, asked: Asked) -> dict[date, int]:
    """What was spent, by day."""
    return {date.fromisoformat(row.group): row.cost for row in await usage(connection, asked, "day", "", MOST_DAYS)}


def entry(row: Any) -> Entry:
    return Entry(**{**dict(row), "tags": json.loads(row["tags"])})
