"""`tollway top`: the mesh's vital signs in a terminal, as they change."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import State, ran
from services.mesh.screen import PIPED

NANO, EVERYBODY, WITHIN_S = 1_000_000_000, "*", 10.0
ALERTS = 5


@dataclass(frozen=True, slots=True)
class Signs:
    status: gateway_pb2.GetStatusResponse
    minute: pb.UsageRow
    today: pb.UsageRow
    models: list[pb.UsageRow]
    alerts: list[pb.Alert]


def top(
    every: Annotated[float, typer.Option(help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option(help="Look once and end.")] = False,
    state: State = running.STATE,
) -> None:
    """Shows health, requests, spending and alerts, live. Ctrl-C ends it."""

    async def run() -> None:
        found, metadata = running.running(state), running.bearing(running.admin_key(state))
        async with AsyncExitStack() as stack:
            gateway = gateway_pb2_grpc.GatewayServiceStub(
                await stack.enter_async_context(found.channel("orchestrator"))
            )
            ledger = ledger_pb2_grpc.LedgerServiceStub(await stack.enter_async_context(found.channel("ledger")))
            screen = Console(highlight=False)
            if once or not screen.is_terminal:
                Console(highlight=False, width=PIPED if not screen.is_terminal else None).print(
                    drawn(await _signs(gateway, ledger, metadata))
                )
                return
            with Live(console=screen, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(drawn(await _signs(gateway, ledger, metadata)), refresh=True)
                    await asyncio.sleep(every)

    try:
        ran(run())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _signs(
    gateway: gateway_pb2_grpc.GatewayServiceStub,
    ledger: ledger_pb2_grpc.LedgerServiceStub,
    metadata: tuple[tuple[str, str], ...],
) -> Signs:
    now = datetime.now(UTC)

    async def usage(since: datetime, by: str = "") -> list[pb.UsageRow]:
        at = Timestamp()
        at.FromDatetime(since)
        asked = pb.QueryUsageRequest(account=EVERYBODY, since=at, group_by=by, page_size=1000)
        return list((await ledger.QueryUsage(asked, metadata=metadata, timeout=WITHIN_S)).rows)

    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    status, minute, today, models, alerts = await asyncio.gather(
        gateway.GetStatus(gateway_pb2.GetStatusRequest(), metadata=metadata, timeout=WITHIN_S),
        usage(now - timedelta(minutes=1)),
        usage(midnight),
        usage(midnight, "model"),
        ledger.ListAlerts(pb.ListAlertsRequest(account=EVERYBODY, page_size=1000), metadata=metadata, timeout=WITHIN_S),
    )
    one, day = (rows[0] if rows else pb.UsageRow() for rows in (minute, today))
    return Signs(status, one, day, models, list(alerts.alerts[-ALERTS:]))


def drawn(signs: Signs) -> Group:
    figures = _table("", "last minute", "today (UTC)")
    spans = signs.minute, signs.today
    figures.add_row("requests", *(f"{row.requests:,}" for row in spans))
    shares = (f"{row.cached_requests / row.requests:.0%}" if row.requests else "-" for row in spans)
    figures.add_row("from the cache", *shares)
    figures.add_row("tokens", *(f"{row.input_tokens + row.output_tokens:,}" for row in spans))
    figures.add_row("US dollars", *(f"{row.cost_nano_usd / NANO:,.6f}" for row in spans))
    services = _table("service", "state", "answered in")
    for one in signs.status.services:
        said = "[green]serving[/green]" if one.serving else f"[red]{one.why}[/red]"
        services.add_row(one.name, said, f"{one.took.ToMicroseconds() / 1000:.1f} ms")
    spent = {row.group: row for row in signs.models}
    models = _table("model", "state", "errors", "latency", "load", "requests today", "US dollars")
    for health in signs.status.models:
        row = spent.get(health.model, pb.UsageRow())
        models.add_row(
            health.model,
            "[green]available[/green]" if health.available else "[red]left alone[/red]",
            f"{health.error_rate:.0%}",
            f"{health.latency.ToMicroseconds() / 1000:.0f} ms",
            f"{health.saturation:.0%}",
            f"{row.requests:,}",
            f"{row.cost_nano_usd / NANO:,.6f}",
        )
    alerts = _table("alerts", "", "")
    for alert in reversed(signs.alerts):
        alerts.add_row(f"{alert.at.ToDatetime():%H:%M:%S}", f"[yellow]{alert.kind}[/yellow]", alert.text)
    clock = f"[bold]Tollway[/bold]  {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    parts: list[RenderableType] = [clock, "", figures, "", services, "", models]
    if signs.alerts:
        parts += ["", alerts]
    return Group(*parts)


def _table(*heads: str) -> Table:
    return Table(*heads, box=None, header_style="bold", pad_edge=False)
