"""The books in PostgreSQL. Each change is one statement or one transaction: whole or not at all.

Whoever changes meters or leases first locks all meters concerned, in the order of their keys, and only then
touches a lease: so no two changes, of one replica or of several, can wait for each other.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from services.ledger import reports
from services.ledger.books import Budget, Unit, wanted
from services.ledger.safeguards import Safeguard
from services.ledger.store import Alert, ApiKey, Asked, Ending, Entry, LedgerAway, MeterKey, Standing, UsageRow
from services.ledger.suspensions import Suspension
from services.ledger.windows import Window
from services.runtime.postgres import AWAY

KEY_COLUMNS = "id, account, name, secret_hash, admin, models, created, expires, revoked, scopes, regions"

# In the order of `sorted(meters)`: code points, whatever the database's own collation is.
IN_ORDER = 'ORDER BY m.account COLLATE "C", m.name COLLATE "C", m.started FOR UPDATE OF m'
# What a meter that is asked for counts with: itself, and of a rolling window the steps before it (and any after it, which a
# replica with a faster clock has begun).
CONCERNED = """
SELECT m.*, b."limit", t.started AS asked FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS t(account, name, started)
JOIN budget b USING (account, name) JOIN meter m ON m.account = b.account AND m.name = b.name AND (
    m.started = t.started OR (starts_with(b."window", 'rolling') AND m.started >= t.started - reach(b."window")))
"""
LOCKED = f"{CONCERNED} {IN_ORDER}"

# What ended is inserted once; its lines and charges follow only for rows that are new. One round trip.
# `locks` is asked by itself, so that all of it is there before the first lease changes.
END = f"""
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
                         $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                         $13::boolean[], $14::jsonb[])
        AS t(reservation_id, outcome, at, key_id, account, model, input_tokens, output_tokens, cached_tokens,
             reasoning_tokens, cost, held, cached, tags)
), made AS (
    INSERT INTO entry (reservation_id, outcome, at, key_id, account, model, input_tokens, output_tokens,
                       cached_tokens, reasoning_tokens, cost, held, cached, tags)
    SELECT * FROM asked ON CONFLICT DO NOTHING RETURNING reservation_id, account, model, cost, at
), lines AS (
    INSERT INTO posting (reservation_id, book, amount, at)
    SELECT reservation_id, 'account:' || account, -cost, at FROM made WHERE cost > 0
    UNION ALL
    SELECT reservation_id, 'model:' || model, cost, at FROM made WHERE cost > 0
), baselines AS (
    INSERT INTO spared (reservation_id, baseline)
    SELECT reservation_id, b.baseline FROM unnest($22::uuid[], $23::bigint[]) AS b(reservation_id, baseline)
    JOIN made USING (reservation_id)
), charged AS (
    SELECT c.* FROM unnest($15::uuid[], $16::uuid[], $17::text[], $18::text[], $19::timestamptz[], $20::bigint[],
                           $21::bigint[])
        AS c(reservation_id, replica, account, name, started, spent, unleased)
    JOIN made USING (reservation_id)
), locks AS (
    SELECT m.account FROM meter m WHERE (m.account, m.name, m.started) IN (SELECT account, name, started FROM charged)
    {IN_ORDER}
), leases AS (
    UPDATE lease SET amount = lease.amount - c.unleased
    FROM (SELECT replica, account, name, started, sum(unleased)::bigint AS unleased FROM charged
          GROUP BY 1, 2, 3, 4) c
    WHERE (lease.replica, lease.account, lease.name, lease.started) = (c.replica, c.account, c.name, c.started)
      AND (SELECT count(*) FROM locks) > 0
    RETURNING lease.account, lease.name, lease.started, c.unleased
), sums AS (
    SELECT account, name, started, sum(spent)::bigint AS spent FROM charged GROUP BY 1, 2, 3
), returned AS (
    SELECT account, name, started, sum(unleased)::bigint AS unleased FROM leases GROUP BY 1, 2, 3
), meters AS (
    UPDATE meter SET spent = meter.spent + s.spent, leased = meter.leased - coalesce(r.unleased, 0)
    FROM sums s LEFT JOIN returned r USING (account, name, started)
    WHERE (meter.account, meter.name, meter.started) = (s.account, s.name, s.started)
      AND (SELECT count(*) FROM locks) > 0
)
SELECT reservation_id FROM made
"""

# A budget's first meter also counts what its window has seen before the budget was set; without an end, as sums have it, which
# stay when entries leave. A later one does not: what ended in its window was charged to a meter, its own or that of the window in
# which it was held.
OPEN_METER = """
INSERT INTO meter (account, name, started, spent, leased)
SELECT b.account, b.name, $3, CASE WHEN EXISTS (
    SELECT FROM meter m WHERE m.account = b.account AND m.name = b.name AND m.started < $3 AND m.started >= $3 - reach(b."window")
) THEN 0 ELSE coalesce((
    SELECT sum(CASE b.unit WHEN 'nano_usd' THEN e.cost WHEN 'tokens' THEN e.input_tokens + e.output_tokens
                           WHEN 'requests' THEN e.requests ELSE 0 END)
    FROM (
        SELECT account, model, began AS at, requests, input_tokens, output_tokens, cost FROM tally WHERE b."window" = 'total'
        UNION ALL
        SELECT account, model, at, 1, input_tokens, output_tokens, cost FROM entry
        WHERE b."window" <> 'total' AND outcome = 'settled'
    ) e
    WHERE (e.account = b.account OR starts_with(e.account, b.account || '/'))
      AND e.at >= $3 - CASE WHEN starts_with(b."window", 'rolling') THEN reach(b."window") ELSE interval '0' END
      AND (b.model = '' OR e.model = b.model OR
           (b.model LIKE '%*%' AND e.model LIKE replace(replace(replace(replace(b.model, '\\', '\\\\'), '%', '\\%'), '_', '\\_'), '*', '%')))
), 0)::bigint END, 0
FROM budget b WHERE b.account = $1 AND b.name = $2
ON CONFLICT DO NOTHING
"""


class PostgresStore:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add_key(self, key: ApiKey, request_id: str) -> ApiKey:
        async with self._connection() as connection:
            row = await connection.fetchrow(
                f"INSERT INTO api_key ({KEY_COLUMNS}, request_id) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)"
                f" ON CONFLICT (request_id) DO NOTHING RETURNING {KEY_COLUMNS}",
                key.id, key.account, key.name, key.secret_hash, key.admin, list(key.models),
                key.created, key.expires, key.revoked, list(key.scopes), list(key.regions), request_id or None,
            )  # fmt: skip
            row = row or await connection.fetchrow(
                f"SELECT {KEY_COLUMNS} FROM api_key WHERE request_id = $1", request_id
            )
        return _key(row)

    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(f"SELECT {KEY_COLUMNS} FROM api_key WHERE secret_hash = $1", secret_hash)
        return _key(row) if row else None

    async def keys(self, account: str, after: str, most: int) -> list[ApiKey]:
        async with self._connection() as connection:
            rows = await connection.fetch(
                f"SELECT {KEY_COLUMNS} FROM api_key WHERE id > $2 AND"
                " ($1 = '' OR account = $1 OR starts_with(account, $1 || '/')) ORDER BY id LIMIT $3",
                account, after, most,
            )  # fmt: skip
        return [_key(row) for row in rows]

    async def revoke_key(self, key_id: str, at: datetime) -> ApiKey | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(
                f"UPDATE api_key SET revoked = coalesce(revoked, $2) WHERE id = $1 RETURNING {KEY_COLUMNS}", key_id, at
            )
        return _key(row) if row else None

    async def key(self, key_id: str) -> ApiKey | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(f"SELECT {KEY_COLUMNS} FROM api_key WHERE id = $1", key_id)
        return _key(row) if row else None

    async def expire_key(self, key_id: str, at: datetime) -> ApiKey | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(
                f"UPDATE api_key SET expires = least(expires, $2) WHERE id = $1 RETURNING {KEY_COLUMNS}", key_id, at
            )
        return _key(row) if row else None

    async def revoked_since(self, since: datetime) -> list[str]:
        async with self._connection() as connection:
            return [row["id"] for row in await connection.fetch("SELECT id FROM api_key WHERE revoked >= $1", since)]

    async def publish_signing_key(self, key_id: str, public: bytes, expires: datetime) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "INSERT INTO signing_key VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET expires = $3",
                key_id, public, expires,
            )  # fmt: skip

    async def signing_keys(self, now: datetime) -> dict[str, bytes]:
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT id, ed25519 FROM signing_key WHERE expires > $1", now)
        return {row["id"]: row["ed25519"] for row in rows}

    async def shared_secret(self, name: str, fresh: bytes) -> bytes:
        async with self._connection() as connection:
            await connection.execute("INSERT INTO secret VALUES ($1, $2) ON CONFLICT DO NOTHING", name, fresh)
            return bytes(await connection.fetchval("SELECT value FROM secret WHERE name = $1", name))

    async def set_budget(self, budget: Budget) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "INSERT INTO budget VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, name) DO UPDATE"
                ' SET unit = $3, "limit" = $4, "window" = $5, time_zone = $6, model = $7, warn_at = $8',
                budget.account, budget.name, budget.unit.value, budget.limit, budget.window.value,
                budget.time_zone, budget.model, budget.warn_at,
            )  # fmt: skip

    async def delete_budget(self, account: str, name: str) -> bool:
        async with self._connection() as connection:
            done = await connection.execute("DELETE FROM budget WHERE account = $1 AND name = $2", account, name)
        return bool(done == "DELETE 1")

    async def budgets(self) -> list[Budget]:
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT * FROM budget ORDER BY account, name")
        return [
            Budget(
                row["account"], row["name"], Unit(row["unit"]), row["limit"], Window(row["window"]),
                row["time_zone"], row["model"], row["warn_at"],
            )
            for row in rows
        ]  # fmt: skip

    async def standing(self, meters: Sequence[MeterKey]) -> dict[MeterKey, Standing]:
        async with self._connection() as connection, connection.transaction():
            for meter in sorted(meters):
                await connection.execute(OPEN_METER, meter.account, meter.name, meter.started)
            rows = await connection.fetch(CONCERNED, *_columns(meters))
        return _standings(rows)

    async def lease(self, replica: UUID, wants: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        given: dict[MeterKey, int] = {}
        async with self._connection() as connection, connection.transaction():
            for meter in sorted(wants):
                await connection.execute(OPEN_METER, meter.account, meter.name, meter.started)
            stands = _standings(await connection.fetch(LOCKED, *_columns(list(wants))))
            for meter, one in stands.items():  # without those whose budget was removed meanwhile
                amount = wanted(wants[meter], one.remaining)
                if amount < wants[meter]:
                    given.clear()
                    break
                given[meter] = amount
            for meter, amount in given.items():
                at = (meter.account, meter.name, meter.started)
                await connection.execute(
                    "UPDATE meter SET leased = leased + $4 WHERE account = $1 AND name = $2 AND started = $3",
                    *at, amount,
                )  # fmt: skip
                await connection.execute(
                    "INSERT INTO lease VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (replica, account, name, started)"
                    " DO UPDATE SET amount = lease.amount + $5, expires = $6",
                    replica, *at, amount, expires,
                )  # fmt: skip
        return given

    async def give_back(self, replica: UUID, amounts: Mapping[MeterKey, int]) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(LOCKED, *_columns(list(amounts)))
            for meter in amounts:
                at = (meter.account, meter.name, meter.started)
                await connection.execute(
                    "WITH back AS (UPDATE lease SET amount = amount - $5 WHERE replica = $4 AND account = $1"
                    " AND name = $2 AND started = $3 AND amount >= $5 RETURNING 1)"
                    " UPDATE meter SET leased = leased - $5 WHERE account = $1 AND name = $2 AND started = $3"
                    " AND EXISTS (SELECT FROM back)",
                    *at, replica, amounts[meter],
                )  # fmt: skip

    async def extend(self, replica: UUID, expires: datetime, now: datetime) -> int:
        async with self._connection() as connection, connection.transaction():
            concerned = await connection.fetch(
                "SELECT DISTINCT account, name, started FROM lease WHERE replica = $1 OR expires <= $2", replica, now
            )
            await connection.execute(LOCKED, *_columns([_meter(row) for row in concerned]))
            await connection.execute("UPDATE lease SET expires = $2 WHERE replica = $1", replica, expires)
            rows = await connection.fetch(
                "DELETE FROM lease WHERE expires <= $1 RETURNING account, name, started, amount", now
            )
            for row in rows:
                await connection.execute(
                    "UPDATE meter SET leased = leased - $4 WHERE account = $1 AND name = $2 AND started = $3",
                    row["account"], row["name"], row["started"], row["amount"],
                )  # fmt: skip
        return len(rows)

    async def entry(self, reservation_id: UUID) -> Entry | None:
        async with self._connection() as connection:
            row = await connection.fetchrow("SELECT * FROM entry WHERE reservation_id = $1", reservation_id)
        return reports.entry(row) if row else None

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        inserted = sorted(endings, key=lambda ending: ending.entry.reservation_id)  # in one order, as the meters
        entries = [ending.entry for ending in inserted]
        charges = [(ending, charge) for ending in inserted for charge in ending.charges]
        async with self._connection() as connection:
            rows = await connection.fetch(
                END,
                [one.reservation_id for one in entries], [one.outcome for one in entries],
                [one.at for one in entries], [one.key_id for one in entries], [one.account for one in entries],
                [one.model for one in entries], [one.input_tokens for one in entries],
                [one.output_tokens for one in entries], [one.cached_tokens for one in entries],
                [one.reasoning_tokens for one in entries], [one.cost for one in entries],
                [one.held for one in entries], [one.cached for one in entries],
                [json.dumps(dict(one.tags)) for one in entries],
                [ending.entry.reservation_id for ending, _ in charges], [ending.replica for ending, _ in charges],
                [charge.meter.account for _, charge in charges], [charge.meter.name for _, charge in charges],
                [charge.meter.started for _, charge in charges], [charge.spent for _, charge in charges],
                [charge.unleased for _, charge in charges],
                [one.reservation_id for one in entries if one.baseline], [one.baseline for one in entries if one.baseline],
            )  # fmt: skip
            made = {row["reservation_id"] for row in rows}
            if len(made) == len(entries):
                return [None] * len(entries)
            known = await connection.fetch(
                "SELECT * FROM entry WHERE reservation_id = ANY($1::uuid[])",
                [one.reservation_id for one in entries if one.reservation_id not in made],
            )
        earlier = {row["reservation_id"]: reports.entry(row) for row in known}
        return [earlier.get(ending.entry.reservation_id) for ending in endings]

    async def suspend(self, suspension: Suspension) -> Suspension:
        async with self._connection() as connection:
            row = await connection.fetchrow(
                "INSERT INTO suspension VALUES ($1, $2, $3, $4) ON CONFLICT (account) DO UPDATE SET account = $1 RETURNING *",
                suspension.account, suspension.reason, suspension.since, suspension.key_id,
            )  # fmt: skip
        return Suspension(**dict(row))

    async def resume(self, account: str) -> bool:
        async with self._connection() as connection:
            done = await connection.execute("DELETE FROM suspension WHERE account = $1", account)
        return bool(done == "DELETE 1")

    async def suspensions(self) -> list[Suspension]:
        async with self._connection() as connection:
            rows = await connection.fetch('SELECT * FROM suspension ORDER BY account COLLATE "C"')
        return [Suspension(**dict(row)) for row in rows]

    async def set_safeguard(self, safeguard: Safeguard) -> None:
        async with self._connection() as connection:
            await connection.execute(
                "INSERT INTO safeguard VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET rules = $2",
                safeguard.account, json.dumps(asdict(safeguard)),
            )  # fmt: skip

    async def delete_safeguard(self, account: str) -> bool:
        async with self._connection() as connection:
            done = await connection.execute("DELETE FROM safeguard WHERE account = $1", account)
        return bool(done == "DELETE 1")

    async def safeguards(self) -> list[Safeguard]:
        async with self._connection() as connection:
            rows = await connection.fetch('SELECT rules FROM safeguard ORDER BY account COLLATE "C"')
        return [msgspec.json.decode(row["rules"], type=Safeguard) for row in rows]

    async def add_alert(self, alert: Alert, once: str) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE alert IN EXCLUSIVE MODE")  # numbers are seen in their order
            await connection.execute(
                """INSERT INTO alert (once, kind, account, subject, text, at) SELECT $1, $2, $3, $4, $5, $6
                   WHERE NOT EXISTS (SELECT FROM alert WHERE once = $1)""",
                once, alert.kind, alert.account, alert.subject, alert.text, alert.at,
            )  # fmt: skip

    async def alerts(self, account: str, after: int, most: int) -> list[Alert]:
        async with self._connection() as connection:
            rows = await connection.fetch(
                "SELECT kind, account, subject, text, at, id FROM alert WHERE id > $2 AND"
                " ($1 = '' OR account = $1 OR starts_with(account, $1 || '/')) ORDER BY id LIMIT $3",
                account, after, most,
            )  # fmt: skip
        return [Alert(**dict(row)) for row in rows]

    async def usage(self, asked: Asked, group_by: str, after: str, most: int) -> list[UsageRow]:
        async with self._connection() as connection:
            return await reports.usage(connection, asked, group_by, after, most)

    async def entries(self, asked: Asked, after: tuple[datetime, UUID] | None, most: int) -> list[Entry]:
        async with self._connection() as connection:
            return await reports.entries(connection, asked, after, most)

    async def daily(self, asked: Asked) -> dict[date, int]:
        async with self._connection() as connection:
            return await reports.daily(connection, asked)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            async with self._pool.acquire(timeout=5.0) as connection:
                yield connection
        except (*AWAY, TimeoutError, asyncpg.DeadlockDetectedError) as error:
            raise LedgerAway from error


def _columns(meters: Sequence[MeterKey]) -> tuple[list[str], list[str], list[datetime]]:
    return [one.account for one in meters], [one.name for one in meters], [one.started for one in meters]


def _standings(rows: Sequence[Any]) -> dict[MeterKey, Standing]:
    """By the meter that was asked for: it has spent what all have that count with it."""
    found: dict[MeterKey, Standing] = {}
    for row in rows:
        key = MeterKey(row["account"], row["name"], row["asked"])
        before = found.get(key, Standing(row["limit"], 0, 0))
        found[key] = Standing(row["limit"], before.spent + row["spent"], before.leased + row["leased"])
    return found


def _meter(row: Any) -> MeterKey:
    return MeterKey(row["account"], row["name"], row["started"])


def _key(row: Any) -> ApiKey:
    return ApiKey(
        row["id"], row["account"], row["name"], row["secret_hash"], row["admin"], tuple(row["models"]),
        row["created"], row["expires"], row["revoked"], tuple(row["scopes"]), tuple(row["regions"]),
    )  # fmt: skip
