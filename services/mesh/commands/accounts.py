"""`tollway keys`, `tollway accounts`, `tollway budgets`: what administrators do in the ledger."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from tollway.ledger.v1 import ledger_pb2 as pb

from services.mesh import ledgers, running
from services.mesh.commands.calling import State, pages, ran
from services.mesh.ledgers import Administered
from services.mesh.screen import err, fail, say, table

T = TypeVar("T")
UNITS = {
    "usd": pb.UNIT_NANO_USD,
    "tokens": pb.UNIT_TOKENS,
    "requests": pb.UNIT_REQUESTS,
    "concurrent": pb.UNIT_CONCURRENT_REQUESTS,
}
WINDOWS = {
    "total": pb.WINDOW_TOTAL,
    "minute": pb.WINDOW_MINUTE,
    "day": pb.WINDOW_DAY,
    "month": pb.WINDOW_MONTH,
    "rolling-hour": pb.WINDOW_ROLLING_HOUR,
    "rolling-day": pb.WINDOW_ROLLING_DAY,
    "rolling-30-days": pb.WINDOW_ROLLING_30_DAYS,
}
SCOPES = {name.removeprefix("SCOPE_").lower(): number for name, number in pb.Scope.items() if number}
NANO = 1_000_000_000

keys = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")
accounts = typer.Typer(no_args_is_help=True, help="Accounts: suspend, resume, list who is suspended.")
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
    scope: Annotated[list[str] | None, typer.Option(help=f"Allow only this: {', '.join(SCOPES)}; repeatable.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only models of these regions; repeatable.")] = None,
    state: State = running.STATE,
) -> None:
    """Makes an API key and prints it, alone, on stdout. It is shown this once."""
    lifetime = Duration()
    lifetime.FromTimedelta(timedelta(days=days))
    if unknown := [one for one in scope or () if one not in SCOPES]:
        fail(f"--scope {unknown[0]}: one of {', '.join(SCOPES)}")
    request = pb.CreateKeyRequest(
        account=account,
        name=name,
        admin=admin,
        models=model or (),
        lifetime=lifetime if days else None,
        scopes=[SCOPES[one] for one in scope or ()],
        regions=region or (),
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
        def ask(token: str) -> Awaitable[pb.ListKeysResponse]:
            request = pb.ListKeysRequest(account=account, page_token=token)
            return ledger.stub.ListKeys(request, metadata=ledger.metadata)

        return [one async for page in pages(ask) for one in page.keys]

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


@accounts.command("suspend")
def suspend(
    account: str,
    reason: Annotated[str, typer.Option(help="For people who read the list.")] = "",
    state: State = running.STATE,
) -> None:
    """Stops an account and all below it, everywhere within a second."""

    async def stop(ledger: Administered) -> pb.SuspendAccountResponse:
        request = pb.SuspendAccountRequest(account=account, reason=reason)
        return await ledger.stub.SuspendAccount(request, metadata=ledger.metadata)

    made = called(state, stop).suspension
    err.print(f"[green]✓[/green] {made.account} is suspended since {made.since.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")


@accounts.command("resume")
def resume(account: str, state: State = running.STATE) -> None:
    """Lets a suspended account go on."""

    async def go_on(ledger: Administered) -> pb.ResumeAccountResponse:
        return await ledger.stub.ResumeAccount(pb.ResumeAccountRequest(account=account), metadata=ledger.metadata)

    called(state, go_on)
    err.print(f"[green]✓[/green] {account} goes on")


@accounts.command("suspended")
def suspended(state: State = running.STATE) -> None:
    """Lists the accounts that are suspended, and why."""

    async def read(ledger: Administered) -> list[pb.Suspension]:
        page = await ledger.stub.ListSuspensions(pb.ListSuspensionsRequest(page_size=1000), metadata=ledger.metadata)
        return list(page.suspensions)

    rows = [
        (one.account, f"{one.since.ToDatetime():%Y-%m-%d %H:%M:%S}", one.by_key_id, one.reason)
        for one in called(state, read)
    ]
    table(("account", "since (UTC)", "by", "why"), rows)


@budgets.command("set")
def set_budget(
    account: Annotated[str, typer.Argument(help="The account that it limits, with all below.")],
    limit: Annotated[str, typer.Argument(help="Such as 20usd, 100000tokens, 500requests or 8concurrent.")],
    per: Annotated[str, typer.Option(help=f"{', '.join(WINDOWS)}.")] = "month",
    name: Annotated[str, typer.Option(help="Several budgets of an account have different names.")] = "main",
    model: Annotated[str, typer.Option(help="Count only this model, or a class by *, as gpt-5*.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of day and month.")] = "UTC",
    warn_at: Annotated[float, typer.Option(help="Share from which answers carry a warning.")] = 0.8,
    state: State = running.STATE,
) -> None:
    """Sets a hard limit. What would pass it is refused before it is spent."""
    amount, unit = _amount(limit)
    if unit == pb.UNIT_CONCURRENT_REQUESTS:
        per = "total"  # what runs at once is counted at any time
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


def _amount(text: str) -> tuple[int, "pb.Unit.ValueType"]:
    for word, unit in UNITS.items():
        if text.endswith(word):
            try:
                number = Decimal(text.removesuffix(word))
            except InvalidOperation:
                break
            return int(number * NANO) if word == "usd" else int(number), unit
    fail(f"{text}: not an amount such as 20usd, 100000tokens, 500requests or 8concurrent")


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
