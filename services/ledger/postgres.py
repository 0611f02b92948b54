"""The books in PostgreSQL. Each change is one statement or one transaction: whole or not at all.

Whoever changes meters or leases first locks all meters concerned, in the order of their keys, and only then
touches a lease: so no two changes, of one replica or of several, can wait for each other.
"""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from services.ledger import erasing, reports
from services.ledger.books import Budget, Unit, carved, wanted
from services.ledger.safeguards import Safeguard
from services.ledger.statements import (
    CONCERNED,
    END,
    GIVE_BACK,
    LEASE,
    LOCKED,
    OPEN_METERS,
    RECALL,
    RECALLED,
    TAKE_BACK,
)
from services.ledger.store import (
    Alert,
    ApiKey,
    Asked,
    BudgetKey,
    Ending,
    Entry,
    LedgerAway,
    MeterKey,
    Standing,
    UsageRow,
)
from services.ledger.suspensions import Suspension
from services.ledger.windows import Window
from services.runtime.postgres import AWAY

AT_ONCE = 500
"""Budgets that are read at a time: others get their turn in between."""
KEY_COLUMNS = "id, account, name, secret_hash, admin, models, created, expires, revoked, scopes, regions"


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

    async def revision(self) -> int:
        async with self._connection() as connection:
            return int(await connection.fetchval("SELECT number FROM revision"))

    async def budgets(self) -> list[Budget]:
        async with self._connection() as connection, connection.transaction():
            rows = connection.cursor("SELECT * FROM budget ORDER BY account, name", prefetch=AT_ONCE)
            return [
                Budget(
                    row["account"], row["name"], Unit(row["unit"]), row["limit"], Window(row["window"]),
                    row["time_zone"], row["model"], row["warn_at"],
                )
                async for row in rows
            ]  # fmt: skip

    async def standing(self, meters: Sequence[MeterKey]) -> dict[MeterKey, Standing]:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(OPEN_METERS, *_columns(meters))
            rows = await connection.fetch(CONCERNED, *_columns(meters))
        return _standings(rows)

    async def carve(self, allowance: UUID, most: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        async with self._connection() as connection, connection.transaction():
            stands = await _locked(connection, most)
            has = await _leased(connection, [(allowance, meter) for meter in stands])
            given = {meter: carved(most[meter], has[allowance, meter], one.remaining) for meter, one in stands.items()}
            if not given or not all(given.values()):
                return {}
            more = {meter: amount - has[allowance, meter] for meter, amount in given.items()}
            await connection.execute(LEASE, *_amounts(more), allowance, expires)
        return given

    async def lease(self, replica: UUID, wants: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        async with self._connection() as connection, connection.transaction():
            stands = await _locked(connection, wants)  # without those whose budget was removed meanwhile
            given = {meter: wanted(wants[meter], one.remaining, one.recalled) for meter, one in stands.items()}
            if any(amount < wants[meter] for meter, amount in given.items()):
                return {}
            if given:
                await connection.execute(LEASE, *_amounts(given), replica, expires)
        return given

    async def give_back(self, replica: UUID, amounts: Mapping[MeterKey, int]) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(LOCKED, *_columns(amounts))
            await connection.execute(GIVE_BACK, *_amounts(amounts), replica)

    async def recall(self, replica: UUID, meter: MeterKey, until: datetime) -> bool:
        async with self._connection() as connection:
            return bool(await connection.fetch(RECALL, *_columns([meter]), replica, until))

    async def recalled(self, now: datetime) -> Collection[BudgetKey]:
        async with self._connection() as connection:
            return {BudgetKey(row["account"], row["name"]) for row in await connection.fetch(RECALLED, now)}

    async def extend(self, replica: UUID, expires: datetime, now: datetime) -> int:
        async with self._connection() as connection, connection.transaction():
            concerned = await connection.fetch(
                "SELECT DISTINCT account, name, started FROM lease WHERE replica = $1 OR expires <= $2", replica, now
            )
            await connection.execute(LOCKED, *_columns([_meter(row) for row in concerned]))
            await connection.execute("UPDATE lease SET expires = $2 WHERE replica = $1", replica, expires)
            return int(await connection.fetchval(TAKE_BACK, now))

    async def entry(self, reservation_id: UUID) -> Entry | None:
        async with self._connection() as connection:
            row = await connection.fetchrow("SELECT * FROM entry WHERE reservation_id = $1", reservation_id)
        return reports.entry(row) if row else None

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        inserted = sorted(endings, key=lambda ending: ending.entry.reservation_id)  # in one order, as the meters
        entries = [ending.entry for ending in inserted]
        async with self._connection() as connection, AsyncExitStack() as whole:
            if any(ending.bounded for ending in inserted):
                await whole.enter_async_context(connection.transaction())
                inserted = await _bounded(connection, inserted)
            charges = [(ending, charge) for ending in inserted for charge in ending.charges]
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

    async def entries(
        self, asked: Asked, after: tuple[datetime, UUID] | None, most: int, *, newest_first: bool = False
    ) -> list[Entry]:
        async with self._connection() as connection:
            return await reports.entries(connection, asked, after, most, newest_first)

    async def daily(self, asked: Asked) -> dict[date, int]:
        async with self._connection() as connection:
            return await reports.daily(connection, asked)

    async def erase(self, tenant: str, subject: str, at: datetime) -> Mapping[str, int]:
        async with self._connection() as connection, connection.transaction():
            if subject:
                return await erasing.subject(connection, tenant, subject)
            return await erasing.tenant(connection, tenant, at)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            async with self._pool.acquire(timeout=5.0) as connection:
                yield connection
        except (*AWAY, TimeoutError, asyncpg.DeadlockDetectedError) as error:
            raise LedgerAway from error


async def _leased(connection: Any, leases: Sequence[tuple[UUID, MeterKey]]) -> dict[tuple[UUID, MeterKey], int]:
    """What each holder has of each meter; the meters are locked."""
    rows = await connection.fetch(
        "SELECT * FROM lease WHERE (replica, account, name, started) IN"
        " (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]))",
        [holder for holder, _ in leases], *_columns([meter for _, meter in leases]),
    )  # fmt: skip
    return {**dict.fromkeys(leases, 0), **{(row["replica"], _meter(row)): row["amount"] for row in rows}}


async def _bounded(connection: Any, endings: Sequence[Ending]) -> list[Ending]:
    """Locks what the endings change; those from allowances take no more out of a lease than is in it."""
    await connection.execute(LOCKED, *_columns({charge.meter for one in endings for charge in one.charges}))
    wanted = [(one.replica, charge.meter) for one in endings if one.bounded for charge in one.charges]
    left, bounded = await _leased(connection, wanted), []
    for one in endings:
        if one.bounded:
            charges = []
            for charge in one.charges:
                taken = min(charge.unleased, left[one.replica, charge.meter])
                left[one.replica, charge.meter] -= taken
                charges.append(replace(charge, unleased=taken))
            one = replace(one, charges=tuple(charges))
        bounded.append(one)
    return bounded


async def _locked(connection: Any, meters: Collection[MeterKey]) -> dict[MeterKey, Standing]:
    """Where meters stand, opened where they are new; nobody changes them until the transaction ends."""
    await connection.execute(OPEN_METERS, *_columns(meters))
    return _standings(await connection.fetch(LOCKED, *_columns(meters)))


def _columns(meters: Collection[MeterKey]) -> tuple[list[str], list[str], list[datetime]]:
    return [one.account for one in meters], [one.name for one in meters], [one.started for one in meters]


def _amounts(of: Mapping[MeterKey, int]) -> tuple[list[str], list[str], list[datetime], list[int]]:
    return *_columns(of), list(of.values())


def _standings(rows: Sequence[Any]) -> dict[MeterKey, Standing]:
    """By the meter that was asked for: it has spent what all have that count with it."""
    found: dict[MeterKey, Standing] = {}
    for row in rows:
        key = MeterKey(row["account"], row["name"], row["asked"])
        before = found.get(key, Standing(row["limit"], 0, 0))
        spent, leased = before.spent + row["spent"], before.leased + row["leased"]
        found[key] = Standing(row["limit"], spent, leased, row["recalled"])
    return found


def _meter(row: Any) -> MeterKey:
    return MeterKey(row["account"], row["name"], row["started"])


def _key(row: Any) -> ApiKey:
    return ApiKey(
        row["id"], row["account"], row["name"], row["secret_hash"], row["admin"], tuple(row["models"]),
        row["created"], row["expires"], row["revoked"], tuple(row["scopes"]), tuple(row["regions"]),
    )  # fmt: skip
