"""`/tollway/v1/usage`, `/budgets` and their like: the ledger over HTTP, for tools that speak no gRPC and for the console."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import books as wire
from services.edge.wire import query
from services.runtime import identity

TAG, EVERYBODY = "tag.", "*"


@dataclass(frozen=True, slots=True)
class Books:
    ledger: ledger_pb2_grpc.LedgerServiceStub
    gateway: gateway_pb2_grpc.GatewayServiceStub

    async def caller(self, exchange: Exchange, door: Door) -> None:
        """Who the key is: what a page may offer depends on it."""
        found = identity.caller()
        said = {"tenant": found.tenant, "account": found.account, "admin": found.admin, "models": found.models}
        await exchange.answer(orjson.dumps(said))

    async def status(self, exchange: Exchange, door: Door) -> None:
        made = await self.gateway.GetStatus(gateway_pb2.GetStatusRequest())
        await exchange.answer(orjson.dumps(wire.status(made)))

    async def usage(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.ledger.QueryUsage(
            pb.QueryUsageRequest(
                account=_account(asked), group_by=asked.get("group_by", ""), model=asked.get("model", ""),
                since=wire.when(asked.get("since", ""), "since"), until=wire.when(asked.get("until", ""), "until"),
                time_zone=asked.get("time_zone", ""), tags=_tags(asked), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""),
            )
        )  # fmt: skip
        await exchange.answer(_listed(map(wire.usage, page.rows), page.next_page_token))

    async def forecast(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        made = await self.ledger.ForecastUsage(
            pb.ForecastUsageRequest(account=_account(asked), time_zone=asked.get("time_zone", ""))
        )
        await exchange.answer(orjson.dumps(wire.forecast(made)))

    async def entries(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.ledger.ListEntries(
            pb.ListEntriesRequest(
                newest_first=asked.get("order") == "newest", model=asked.get("model", ""), key_id=asked.get("key_id", ""),
                tags=_tags(asked), account=_account(asked), since=wire.when(asked.get("since", ""), "since"),
                until=wire.when(asked.get("until", ""), "until"), page_size=query.limit(asked),
                page_token=asked.get("page_token", ""),
            )
        )  # fmt: skip
        await exchange.answer(_listed(map(wire.entry, page.entries), page.next_page_token))

    async def alerts(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        after = query.number(asked, "after", 0)
        page = await self.ledger.ListAlerts(
            pb.ListAlertsRequest(account=_account(asked), after=after, page_size=query.limit(asked))
        )
        await exchange.answer(_listed(map(wire.alert, page.alerts), ""))

    async def budgets(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.ledger.ListBudgets(
            pb.ListBudgetsRequest(
                account=_account(asked), page_size=query.limit(asked), page_token=asked.get("page_token", "")
            )
        )
        await exchange.answer(_listed(map(wire.budget, page.budgets), page.next_page_token))

    async def set_budget(self, exchange: Exchange, door: Door) -> None:
        made = await self.ledger.SetBudget(pb.SetBudgetRequest(budget=wire.budget_of(exchange.body)))
        await exchange.answer(orjson.dumps(wire.budget(made.state)))

    async def delete_budget(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        await self.ledger.DeleteBudget(
            pb.DeleteBudgetRequest(account=asked.get("account", ""), name=asked.get("name", "main"))
        )
        await exchange.answer(b"{}")

    async def suspensions(self, exchange: Exchange, door: Door) -> None:
        asked = exchange.query
        page = await self.ledger.ListSuspensions(
            pb.ListSuspensionsRequest(page_size=query.limit(asked), page_token=asked.get("page_token", ""))
        )
        await exchange.answer(_listed(map(wire.suspension, page.suspensions), page.next_page_token))

    async def suspend(self, exchange: Exchange, door: Door) -> None:
        made = await self.ledger.SuspendAccount(wire.suspension_of(exchange.body))
        await exchange.answer(orjson.dumps(wire.suspension(made.suspension)))

    async def resume(self, exchange: Exchange, door: Door) -> None:
        await self.ledger.ResumeAccount(pb.ResumeAccountRequest(account=exchange.query.get("account", "")))
        await exchange.answer(b"{}")

    def routes(self) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {
            "/tollway/v1/caller": {"GET": self.caller},
            "/tollway/v1/status": {"GET": self.status},
            "/tollway/v1/usage": {"GET": self.usage},
            "/tollway/v1/forecast": {"GET": self.forecast},
            "/tollway/v1/entries": {"GET": self.entries},
            "/tollway/v1/alerts": {"GET": self.alerts},
            "/tollway/v1/budgets": {"GET": self.budgets, "PUT": self.set_budget, "DELETE": self.delete_budget},
            "/tollway/v1/suspensions": {"GET": self.suspensions, "PUT": self.suspend, "DELETE": self.resume},
        }


def _listed(rows: Iterable[dict[str, Any]], token: str) -> bytes:
    return orjson.dumps({"data": list(rows), "next_page_token": token})


def _account(asked: dict[str, str]) -> str:
    """What is asked about; without a word the caller's own account, and an administrator's is every one."""
    return asked.get("account") or (EVERYBODY if identity.caller().admin else "")


def _tags(asked: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(TAG): value for name, value in asked.items() if name.startswith(TAG)}
