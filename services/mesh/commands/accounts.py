"""`tollway keys`, `tollway budgets`, `tollway usage`: what administrators do in the ledger."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from tollway.ledger.v1 import ledger_pb2 as pb

from services.mesh import ledgers, running
from services.mesh.commands.calling import State, ran
from services.mesh.ledgers import Administered
from services.mesh.screen import err, fail, say, table

T = TypeVar("T")
UNITS = {"usd": pb.UNIT_NANO_USD, "tokens": pb.UNIT_TOKENS, "requests": pb.UNIT_REQUESTS}
WINDOWS = {"total": pb.WINDOW_TOTAL, "minute": pb.WINDOW_MINUTE, "day": pb.WINDOW_DAY, "month": pb.WINDOW_MONTH}
NANO = 1_000_000_000

keys = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")
budgets = typer.Typer(no_args_is_help=True, help="Budgets: set, list, remove.")


def called(state: Path, work: Callable[[Administered], Awaitable[T]]) -> T:
    """Does `work` with the ledger of the mesh on `state`; a refusal ends the command with its words."""

    async def run() -> T:
        async with ledgers.opened(state) as ledger:
            return await work(ledger)

    return ran(run())


@keys.command("create")
def create_key(
    account: Annotated[str, typer.Argument(help="Such as acme/search/prod; made by naming it.")] = ledgers.DEVELOPMENT,
    name: Annotated[str, typer.Option(help="For people who read the list.")] = "",
    admin: Annotated[bool, typer.Option(help="May administer keys and budgets.")] = False,
    days: Annotated[float, typer.Option(help="How long it lives; 0 for ever.")] = 0,
    model: Annotated[list[str] | None, typer.Option(help="Allow only these models; repeatable.")] = None,
    state: State = running.STATE,
) -> None:
    """Makes an API key and prints it, alone, on stdout. It is shown this once."""
    lifetime = Duration()
    lifetime.FromTimedelta(timedelta(days=days))
    request = pb.CreateKeyRequest(
        account=account, name=name, admin=admin, models=model or (), lifetime=lifetime if days else None
    )

    async def create(ledger: Administered) -> pb.CreateKeyResponse:
        return await ledger.stub.CreateKey(request, metadata=ledger.metadata)

    made = called(state, create)
    err.print(f"[green]✓[/green] {made.key.key_id} for {made.key.account}")
    say(made.secret)


@keys.command("list")
def list_keys(account: Annotated[str, typer.Argument()] = "", state: State = running.STATE) -> None:
    """Shows the keys of an account and below; of all without one."""

    async def read(ledger: Administered) -> list[pb.Key]:
        found, token = list[pb.Key](), ""
        while True:
            page = await ledger.stub.ListKeys(
                pb.ListKeysRequest(account=account, page_token=token), metadata=ledger.metadata
            )
            found += page.keys
            if not (token := page.next_page_token):
                return found

    rows = [
        (one.key_id, one.account, one.name, "revoked" if one.revoked else "admin" if one.admin else "",
         f"{one.created.ToDatetime():%Y-%m-%d %H:%M}")
        for one in called(state, read)
    ]  # fmt: skip
    table(("key", "account", "name", "", "created (UTC)"), rows)


@keys.command("revoke")
def revoke_key(key_id: str, state: State = running.STATE) -> None:
    """Revokes a key: it stops working everywhere within a second."""

    async def revoke(ledger: Administered) -> pb.RevokeKeyResponse:
        return await ledger.stub.RevokeKey(pb.RevokeKeyRequest(key_id=key_id), metadata=ledger.metadata)

    made = called(state, revoke)
    err.print(f"[green]✓[/green] {made.key.key_id} of {made.key.account} is revoked")


@keys.command("rotate")
def rotate_key(
    key_id: str,
    hours: Annotated[float, typer.Option(help="How long the old key goes on working.")] = 24.0,
    state: State = running.STATE,
) -> None:
    """Makes a key like another and prints it, alone, on stdout; the old one expires after a while."""
    overlap = Duration()
    overlap.FromTimedelta(timedelta(hours=hours))

    async def rotate(ledger: Administered) -> pb.RotateKeyResponse:
        return await ledger.stub.RotateKey(
            pb.RotateKeyRequest(key_id=key_id, overlap=overlap), metadata=ledger.metadata
        )

    made = called(state, rotate)
    until = made.old.expires.ToDatetime().strftime("%Y-%m-%d %H:%M UTC")
    err.print(f"[green]✓[/green] {made.key.key_id} for {made.key.account}; {key_id} works until {until}")
    say(made.secret)


@budgets.command("set")
def set_budget(
    account: Annotated[str, typer.Argument(help="The account that it limits, with all below.")],
    limit: Annotated[str, typer.Argument(help="Such as 20usd, 100000tokens or 500requests.")],
    per: Annotated[str, typer.Option(help="total, minute, day or month.")] = "month",
    name: Annotated[str, typer.Option(help="Several budgets of an account have different names.")] = "main",
    model: Annotated[str, typer.Option(help="Count only this model.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of day and month.")] = "UTC",
    warn_at: Annotated[float, typer.Option(help="Share from which answers carry a warning.")] = 0.8,
    state: State = running.STATE,
) -> None:
    """Sets a hard limit. What would pass it is refused before it is spent."""
    amount, unit = _amount(limit)
    if per not in WINDOWS:
        fail(f"--per {per}: one of {', '.join(WINDOWS)}")
    budget = pb.Budget(
        account=account, name=name, unit=unit, limit=amount, window=WINDOWS[per], time_zone=zone, model=model,
        warn_at=warn_at,
    )  # fmt: skip

    async def put(ledger: Administered) -> pb.SetBudgetResponse:
        return await ledger.stub.SetBudget(pb.SetBudgetRequest(budget=budget), metadata=ledger.metadata)

    _show([called(state, put).state])


@budgets.command("list")
def list_budgets(account: str, state: State = running.STATE) -> None:
    """Shows the budgets that bind an account, and what is left of each."""

    async def read(ledger: Administered) -> list[pb.BudgetState]:
        page = await ledger.stub.ListBudgets(
            pb.ListBudgetsRequest(account=account, page_size=1000), metadata=ledger.metadata
        )
        return list(page.budgets)

    _show(called(state, read))


@budgets.command("remove")
def remove_budget(account: str, name: str = "main", state: State = running.STATE) -> None:
    """Removes a limit. What was spent stays in the books."""

    async def remove(ledger: Administered) -> pb.DeleteBudgetResponse:
        return await ledger.stub.DeleteBudget(
            pb.DeleteBudgetRequest(account=account, name=name), metadata=ledger.metadata
        )

    called(state, remove)
    err.print(f"[green]✓[/green] {account} has no budget {name} any more")


def usage(
    account: Annotated[str, typer.Argument(help="An account, with all below.")] = "dev",
    by: Annotated[str, typer.Option(help="account, model, key or day.")] = "model",
    state: State = running.STATE,
) -> None:
    """Shows what was asked, answered and spent."""
    if by not in ("account", "model", "key", "day"):
        fail(f"--by {by}: one of account, model, key, day")

    async def read(ledger: Administered) -> list[pb.UsageRow]:
        page = await ledger.stub.QueryUsage(
            pb.QueryUsageRequest(account=account, group_by=by, page_size=1000), metadata=ledger.metadata
        )
        return list(page.rows)

    rows = [
        (one.group or "(from the cache)", str(one.requests), str(one.cached_requests), str(one.input_tokens),
         str(one.output_tokens), f"{one.cost_nano_usd / NANO:.6f}")
        for one in called(state, read)
    ]  # fmt: skip
    table((by, "requests", "from the cache", "input tokens", "output tokens", "US dollars"), rows)


def _amount(text: str) -> tuple[int, "pb.Unit.ValueType"]:
    for word, unit in UNITS.items():
        if text.endswith(word):
            try:
                number = Decimal(text.removesuffix(word))
            except InvalidOperation:
                break
            return int(number * NANO) if word == "usd" else int(number), unit
    fail(f"{text}: not an amount such as 20usd, 100000tokens or 500requests")


def _show(states: list[pb.BudgetState]) -> None:
    def amount(unit: int, value: int) -> str:
        return f"${value / NANO:.6f}" if unit == pb.UNIT_NANO_USD else str(value)

    rows = []
    for one in states:
        budget = one.budget
        names = {number: word for word, number in WINDOWS.items()}
        units = {number: word for word, number in UNITS.items()}
        rows.append((
            f"{budget.account}:{budget.name}", units[budget.unit], names.get(budget.window, "total"),
            *(amount(budget.unit, value) for value in (budget.limit, one.spent, one.held, one.available)),
        ))  # fmt: skip
    table(("budget", "unit", "per", "limit", "spent", "held", "left"), rows)
