"""`tollway usage`: what was asked, answered and spent; what the month will have cost; every entry, for other tools."""

import csv
import json
import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.ledger.v1 import ledger_pb2 as pb

from services.mesh import running
from services.mesh.commands.accounts import NANO, called
from services.mesh.commands.calling import State, pages
from services.mesh.ledgers import Administered
from services.mesh.screen import err, fail, table

usage = typer.Typer(no_args_is_help=True, help="Usage: show, forecast, export.")
Account = Annotated[str, typer.Argument(help="An account, with all below.")]
Zone = Annotated[str, typer.Option(help="Time zone of days and months.")]
Since = Annotated[str, typer.Option(help="From this day on, as 2026-03-01, in UTC.")]
COLUMNS = {
    "reservation_id": str,
    "at": datetime,
    "account": str,
    "key_id": str,
    "model": str,
    "input_tokens": int,
    "output_tokens": int,
    "cached_input_tokens": int,
    "reasoning_tokens": int,
    "cost_nano_usd": int,
    "cached": bool,
    "tags": str,
}
"""What is exported, tags as JSON."""
PAGE = 10_000


@usage.command("show")
def show(
    account: Account = "dev",
    by: Annotated[str, typer.Option(help="account, model, key, template, hour, day, month or tag:NAME.")] = "model",
    since: Since = "",
    zone: Zone = "UTC",
    state: State = running.STATE,
) -> None:
    """Shows what was asked, answered and spent."""
    request = pb.QueryUsageRequest(account=account, group_by=by, page_size=1000, time_zone=zone, since=_day(since))

    async def read(ledger: Administered) -> list[pb.UsageRow]:
        return list((await ledger.stub.QueryUsage(request, metadata=ledger.metadata)).rows)

    found = called(state, read)
    compared = any(one.baseline_nano_usd for one in found)
    rows = [
        (one.group or "(none)", str(one.requests), str(one.cached_requests), str(one.input_tokens),
         str(one.output_tokens), f"{one.cost_nano_usd / NANO:.6f}", *([_saved(one)] if compared else []))
        for one in found
    ]  # fmt: skip
    heads = (by, "requests", "from the cache", "input tokens", "output tokens", "US dollars")
    table((*heads, *(["saved against the strongest"] if compared else [])), rows)


@usage.command("forecast")
def forecast(account: Account = "dev", zone: Zone = "UTC", state: State = running.STATE) -> None:
    """Tells what the month will have cost at its end."""
    request = pb.ForecastUsageRequest(account=account, time_zone=zone)

    async def read(ledger: Administered) -> pb.ForecastUsageResponse:
        return await ledger.stub.ForecastUsage(request, metadata=ledger.metadata)

    made = called(state, read)
    spent, expected, low, high = (
        f"{one / NANO:.6f}"
        for one in (made.spent_nano_usd, made.expected_nano_usd, made.low_nano_usd, made.high_nano_usd)
    )
    table(("spent so far", "expected at its end", "low", "high", "days it rests on"),
          [(spent, expected, low, high, str(made.days))])  # fmt: skip


@usage.command("export")
def export(
    account: Account = "dev",
    to: Annotated[Path, typer.Option(help="A file that ends in .csv or .parquet; - for CSV on stdout.")] = Path("-"),
    since: Since = "",
    state: State = running.STATE,
) -> None:
    """Writes every entry: what invoices and other tools are made of."""
    if to.suffix not in (".csv", ".parquet") and str(to) != "-":
        fail(f"--to {to}: a name that ends in .csv or .parquet")
    rows = called(state, lambda ledger: _entries(ledger, account, _day(since)))
    if to.suffix == ".parquet":
        _parquet(to, rows)
    else:
        with _opened(to) as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows({**row, "at": row["at"].isoformat()} for row in rows)
    err.print(f"[green]✓[/green] {len(rows)} entries")


async def _entries(ledger: Administered, account: str, since: Timestamp | None) -> list[dict[str, Any]]:
    def ask(token: str) -> Awaitable[pb.ListEntriesResponse]:
        request = pb.ListEntriesRequest(account=account, since=since, page_size=PAGE, page_token=token)
        return ledger.stub.ListEntries(request, metadata=ledger.metadata)

    return [_row(one) async for page in pages(ask) for one in page.entries]


def _saved(one: pb.UsageRow) -> str:
    """What the cache and routing spared, in dollars and as a share."""
    saved = one.baseline_nano_usd - one.cost_nano_usd
    return f"{saved / NANO:.6f} ({saved / one.baseline_nano_usd:.0%})" if one.baseline_nano_usd else ""


def _row(one: pb.Entry) -> dict[str, Any]:
    made = {name: getattr(one, name) for name in COLUMNS}
    return {**made, "at": one.at.ToDatetime(UTC), "tags": json.dumps(dict(one.tags), sort_keys=True)}


def _parquet(to: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {
        str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_(), datetime: pyarrow.timestamp("us", "UTC"),
    }  # fmt: skip
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), to)


@contextmanager
def _opened(to: Path) -> Iterator[IO[str]]:
    if str(to) == "-":
        yield sys.stdout
        return
    with to.open("w", newline="") as file:
        yield file


def _day(text: str) -> Timestamp | None:
    if not text:
        return None
    made = Timestamp()
    try:
        made.FromDatetime(datetime.fromisoformat(text))
    except ValueError:
        fail(f"--since {text}: a day such as 2026-03-01")
    return made
