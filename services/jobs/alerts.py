"""Carries the ledger's alerts to the broker and to webhooks: each once into the outbox, whoever is killed on the way."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import asyncpg
import grpc
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.jobs import events
from services.jobs.store import EVENTS
from services.runtime.errors import Failure, Kind
from services.runtime.postgres import AWAY, affected

log = logging.getLogger(__name__)

LOOKS_EVERY_S, CALL_S, PAGE = 1.0, 5.0, 200
EVERYBODY = "*"
KEPT_DAYS = 30


class HookUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "HOOK_UNKNOWN"
    text = "the alerts of {account} are sent nowhere"


@dataclass(frozen=True, slots=True)
class Hooks:
    pool: asyncpg.Pool

    async def set(self, account: str, url: str) -> None:
        await self.pool.execute(
            "INSERT INTO hook VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET url = $2", account, url
        )

    async def delete(self, account: str) -> None:
        """
        Raises:
            HookUnknown
        """
        if await self.pool.execute("DELETE FROM hook WHERE account = $1", account) != "DELETE 1":
            raise HookUnknown(account=account)

    async def erase(self, tenant: str) -> int:
        done = await self.pool.execute("DELETE FROM hook WHERE account = $1 OR starts_with(account, $1 || '/')", tenant)
        return affected(done)

    async def listed(self, account: str, after: str, most: int) -> list[tuple[str, str]]:
        """Account and URL, of `account` ('' for all) and below, by account."""
        rows = await self.pool.fetch(
            """SELECT account, url FROM hook WHERE account > $2
               AND ($1 = '' OR account = $1 OR starts_with(account, $1 || '/')) ORDER BY account LIMIT $3""",
            account, after, most,
        )  # fmt: skip
        return [(row["account"], row["url"]) for row in rows]


@dataclass(slots=True)
class Alerts:
    pool: asyncpg.Pool
    ledger: ledger_pb2_grpc.LedgerServiceStub
    key: str = field(repr=False)
    """An administrator's: alerts of every account are read with it."""
    noted: Any = None
    """Called after something was written for the broker."""

    async def run(self) -> None:
        """Until cancelled. A ledger or a database that is away is asked again."""
        while True:
            try:
                many = await self.carry()
            except (grpc.aio.AioRpcError, *AWAY, TimeoutError) as error:
                log.debug("alerts wait: %s", type(error).__name__)
                many = 0
            if many < PAGE:
                await asyncio.sleep(LOOKS_EVERY_S)

    async def carry(self) -> int:
        """Those that are new; how many. Of several replicas one does it, and the others come another time."""
        async with self.pool.acquire() as connection, connection.transaction():
            after = await connection.fetchval("SELECT after FROM told FOR UPDATE SKIP LOCKED")
            if after is None:
                return 0
            request = ledger_pb2.ListAlertsRequest(account=EVERYBODY, after=after, page_size=PAGE)
            metadata = (("authorization", f"Bearer {self.key}"),)
            alerts = (await self.ledger.ListAlerts(request, metadata=metadata, timeout=CALL_S)).alerts
            for one in alerts:
                await self._written(connection, one)
            if alerts:
                await connection.execute("UPDATE told SET after = $1", alerts[-1].alert_id)
                await connection.execute(
                    "DELETE FROM delivery WHERE job IS NULL AND due IS NULL AND made < now() - make_interval(days => $1)",
                    KEPT_DAYS,
                )
        if alerts and self.noted is not None:
            self.noted()
        return len(alerts)

    async def _written(self, connection: Any, one: ledger_pb2.Alert) -> None:
        body, tenant = events.alert(one), one.account.partition("/")[0]
        await connection.execute(
            "INSERT INTO outbox (topic, key, body, due) VALUES ($1, $2, $3, now())", EVENTS, tenant, body
        )
        hooks = await connection.fetch(
            "SELECT account, url FROM hook WHERE $1 = account OR starts_with($1, account || '/')", one.account
        )
        for hook in hooks:
            name = f"{json.loads(body)['id']}/{hook['account']}"
            await connection.execute(
                "INSERT INTO delivery (id, tenant, url, body, due) VALUES ($1, $2, $3, $4, now()) ON CONFLICT DO NOTHING",
                uuid5(NAMESPACE_URL, name), hook["account"].partition("/")[0], hook["url"], body,
            )  # fmt: skip
