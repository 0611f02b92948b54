"""What an erasure does to the books in PostgreSQL, each within a transaction: entries go with their postings, and balances still balance."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.runtime.postgres import affected

# Not as in the reports, where '' stands for all: nothing may be erased of everybody.
WITHIN = "(account = $1 OR starts_with(account, $1 || '/'))"
# What of a tenant's spend was carried forward when its months left, by model: sums stay when entries leave.
CARRIED = f"""
WITH left_ AS (
    SELECT model, sum(cost) AS cost FROM (
        SELECT model, cost FROM tally WHERE minutes = 1440 AND {WITHIN}
        UNION ALL SELECT model, -cost FROM entry WHERE outcome = 'settled' AND {WITHIN}
    ) AS both_ GROUP BY model
)
UPDATE carried SET amount = amount - left_.cost FROM left_ WHERE book = 'model:' || left_.model
"""
# A key that is erased opens nothing and belongs to nobody; its id stays, so that its tokens are refused while they live.
KEYS = f"""
UPDATE api_key SET account = '', name = '', secret_hash = sha256(gen_random_uuid()::text::bytea), models = '{{}}', scopes = '{{}}',
    regions = '{{}}', request_id = NULL, revoked = coalesce(revoked, $2)
WHERE {WITHIN}
"""
# People who are bound to nothing else. Their bindings are gone already.
PEOPLE = """
DELETE FROM person WHERE names && $1::text[] AND NOT EXISTS (SELECT FROM role_binding WHERE subject = ANY(names))
"""
LABELS = f"""
UPDATE entry SET tags = (SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each_text(tags) WHERE value <> $2)
WHERE {WITHIN} AND EXISTS (SELECT FROM jsonb_each_text(tags) WHERE value = $2)
"""


async def tenant(connection: Any, name: str, at: datetime) -> Mapping[str, int]:
    """Takes everything. That a reservation has ended stays known, by its id alone: no late message can end it again."""
    await connection.execute(CARRIED, name)
    await connection.execute(f"DELETE FROM client_secret WHERE key_id IN (SELECT id FROM api_key WHERE {WITHIN})", name)
    await connection.execute(
        "DELETE FROM carried WHERE book = 'account:' || $1 OR starts_with(book, 'account:' || $1 || '/')", name
    )
    ours = f"SELECT reservation_id, at FROM entry WHERE {WITHIN}"
    await connection.execute(f"DELETE FROM posting WHERE (reservation_id, at) IN ({ours})", name)
    await connection.execute(f"DELETE FROM spared WHERE reservation_id IN (SELECT reservation_id FROM ({ours}))", name)
    await connection.execute(f"DELETE FROM tally WHERE {WITHIN}", name)
    await connection.execute("DELETE FROM suspension WHERE starts_with(account, $1 || '/')", name)
    bound = await connection.fetch(f"DELETE FROM role_binding WHERE {WITHIN} RETURNING subject", name)
    await connection.execute(PEOPLE, [row["subject"] for row in bound])
    return {
        "entries": affected(await connection.execute(f"DELETE FROM entry WHERE {WITHIN}", name)),
        "keys": affected(await connection.execute(KEYS, name, at)),
        "budgets": affected(await connection.execute(f"DELETE FROM budget WHERE {WITHIN}", name)),
        "alerts": affected(await connection.execute(f"DELETE FROM alert WHERE {WITHIN}", name)),
        "safeguards": affected(await connection.execute(f"DELETE FROM safeguard WHERE {WITHIN}", name)),
        "role_bindings": len(bound),
    }


async def subject(connection: Any, name: str, of: str) -> Mapping[str, int]:
    """Takes the labels whose value is the end user's name; what was spent stays."""
    return {"entries": affected(await connection.execute(LABELS, name, of))}
