"""A year's worth of entries in a ledger's database, made by the database itself."""

from datetime import datetime, timedelta
from typing import Any

from benchmarks import report

CHUNKS = 50
# Busy by day, quiet by night; 4 organisations of 5 teams of 3 keys; 6 models, of which one answers in three of ten.
ROWS = """
INSERT INTO entry
SELECT gen_random_uuid(), 'settled', at, 'key_' || team || '_' || key, 'org' || team % 4 || '/team' || team,
       CASE WHEN cached THEN '' ELSE 'model-' || least(floor(random() * 9)::int, 5) END,
       CASE WHEN cached THEN 0 ELSE read END, CASE WHEN cached THEN 0 ELSE written END, 0, 0,
       CASE WHEN cached THEN 0 ELSE read * 150 + written * 600 END, 1000000, cached,
       CASE WHEN key = 0 THEN jsonb_build_object('template', 'support@' || 1 + team % 3) WHEN key = 1 THEN '{"team": "growth"}' ELSE '{}' END
FROM (
    SELECT $1::timestamptz + (n + random()) * ($2::timestamptz - $1::timestamptz) / $3 AS at, floor(random() * 20)::int AS team,
           floor(random() * 3)::int AS key, random() < 0.3 AS cached, floor(random() * 2000)::int AS read, floor(random() * 500)::int AS written
    FROM generate_series(0, $3 - 1) AS n
) AS drawn
"""
SUMS = """
INSERT INTO tally
SELECT minutes, date_bin(make_interval(mins => minutes), at, 'epoch'), account, key_id, model, coalesce(tags->>'template', ''), count(*),
       count(*) FILTER (WHERE cached), sum(input_tokens), sum(output_tokens), sum(cost), 0, 0
FROM entry, (VALUES (30), (1440)) AS steps(minutes) GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2
"""


async def seed(connection: Any, rows: int, until: datetime, days: int) -> None:
    """Fills empty tables with `rows` entries of the days before `until`, and their sums: as the triggers make them over time, at once."""
    await connection.execute("ALTER TABLE entry DISABLE TRIGGER USER")
    for table in await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'entry'::regclass"
    ):
        await connection.execute(f"ALTER TABLE {table['name']} DISABLE TRIGGER USER")
    span = timedelta(days=days) / CHUNKS
    for n in report.progress(range(CHUNKS), f"{rows:,} entries"):
        begins = until - span * (CHUNKS - n)
        await connection.execute(ROWS, begins, begins + span, rows // CHUNKS)
    await connection.execute(SUMS)
    await connection.execute("ANALYZE entry; ANALYZE tally")
    await connection.execute("ALTER TABLE entry ENABLE TRIGGER USER")
