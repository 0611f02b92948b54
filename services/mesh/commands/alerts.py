"""`tollway safeguards`, `tollway alerts`: loops and spikes, and who hears of them."""

import asyncio
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from tollway.jobs.v1 import jobs_pb2
from tollway.ledger.v1 import ledger_pb2 as pb

from services.mesh import running
from services.mesh.commands.accounts import NANO, called
from services.mesh.commands.calling import State
from services.mesh.commands.jobs import WITHIN_S
from services.mesh.commands.jobs import called as asked
from services.mesh.ledgers import Administered
from services.mesh.screen import err, fail, say, table

ACTIONS = {
    "flag": pb.SAFEGUARD_ACTION_FLAG,
    "throttle": pb.SAFEGUARD_ACTION_THROTTLE,
    "suspend": pb.SAFEGUARD_ACTION_SUSPEND,
}
EVERYBODY = "*"
LOOKS_EVERY_S = 1.0

safeguards = typer.Typer(no_args_is_help=True, help="Safeguards against loops and spikes: set, list, remove.")
alerts = typer.Typer(no_args_is_help=True, help="Alerts: list, follow, send to a webhook.")


@safeguards.command("set")
def set_safeguard(
    account: Annotated[str, typer.Argument(help="Whose keys are watched, with all below.")],
    action: Annotated[str, typer.Option(help="flag, throttle or suspend.")] = "flag",
    loop: Annotated[int, typer.Option(help="More prompts nearly alike than this are a loop; 0 for not watched.")] = 30,
    within: Annotated[float, typer.Option(help="In so many seconds.")] = 60.0,
    likeness: Annotated[float, typer.Option(help="From which cosine prompts are nearly alike.")] = 0.97,
    spike: Annotated[float, typer.Option(help="Times the usual minute's spending; 0 for not watched.")] = 10.0,
    least_usd: Annotated[float, typer.Option(help="Less than this in a minute is no spike.")] = 1.0,
    state: State = running.STATE,
) -> None:
    """Says what happens when a key loops, or spends far more than it uses to."""
    if action not in ACTIONS:
        fail(f"--action {action}: one of {', '.join(ACTIONS)}")
    made = pb.Safeguard(account=account, action=ACTIONS[action])
    if loop:
        span = Duration()
        span.FromMilliseconds(round(within * 1000))
        made.loop.CopyFrom(pb.LoopRule(likeness=likeness, most=loop, within=span))
    if spike:
        made.spike.times, made.spike.least_nano_usd = spike, round(least_usd * NANO)

    async def put(ledger: Administered) -> pb.SetSafeguardResponse:
        return await ledger.stub.SetSafeguard(pb.SetSafeguardRequest(safeguard=made), metadata=ledger.metadata)

    called(state, put)
    err.print(f"[green]✓[/green] {account} is watched")


@safeguards.command("list")
def list_safeguards(state: State = running.STATE) -> None:
    """Lists the safeguards."""

    async def read(ledger: Administered) -> list[pb.Safeguard]:
        page = await ledger.stub.ListSafeguards(pb.ListSafeguardsRequest(page_size=1000), metadata=ledger.metadata)
        return list(page.safeguards)

    names = {number: name for name, number in ACTIONS.items()}
    rows = [
        (one.account, names.get(one.action, "flag"),
         f"{one.loop.most} alike in {one.loop.within.ToTimedelta().total_seconds():g} s" if one.HasField("loop") else "",
         f"{one.spike.times:g} times, from ${one.spike.least_nano_usd / NANO:g}" if one.HasField("spike") else "")
        for one in called(state, read)
    ]  # fmt: skip
    table(("account", "action", "loop", "spike"), rows)


@safeguards.command("remove")
def remove_safeguard(account: str, state: State = running.STATE) -> None:
    """Watches an account's keys no more."""

    async def remove(ledger: Administered) -> pb.DeleteSafeguardResponse:
        return await ledger.stub.DeleteSafeguard(pb.DeleteSafeguardRequest(account=account), metadata=ledger.metadata)

    called(state, remove)
    err.print(f"[green]✓[/green] {account} has no safeguard of its own")


@alerts.command("list")
def list_alerts(
    account: Annotated[str, typer.Argument(help="An account, with all below; all without one.")] = EVERYBODY,
    follow: Annotated[bool, typer.Option(help="Go on as they come.")] = False,
    state: State = running.STATE,
) -> None:
    """Lists what people should know of: budgets past their mark, loops, spikes, suspensions."""

    async def read(ledger: Administered) -> None:
        after = 0
        while True:
            request = pb.ListAlertsRequest(account=account, after=after, page_size=1000)
            found = (await ledger.stub.ListAlerts(request, metadata=ledger.metadata)).alerts
            for one in found:
                say(f"{one.at.ToDatetime():%Y-%m-%d %H:%M:%S}  {one.kind:<14}  {one.account}  {one.text}")
                after = one.alert_id
            if not found:
                if not follow:
                    return
                await asyncio.sleep(LOOKS_EVERY_S)

    called(state, read)


@alerts.command("hook")
def hook(
    account: Annotated[str, typer.Argument(help="Whose alerts, with all below.")],
    url: Annotated[str, typer.Argument(help="Where they are sent by signed POST; - for nowhere.")],
    state: State = running.STATE,
) -> None:
    """Has an account's alerts sent to a webhook."""
    metadata = running.bearing(running.admin_key(state))
    if url == "-":
        gone = jobs_pb2.DeleteAlertHookRequest(account=account)
        asked(state, lambda stub: stub.DeleteAlertHook(gone, metadata=metadata, timeout=WITHIN_S))
        err.print(f"[green]✓[/green] alerts of {account} are sent nowhere")
        return
    made = jobs_pb2.SetAlertHookRequest(hook=jobs_pb2.AlertHook(account=account, url=url))
    asked(state, lambda stub: stub.SetAlertHook(made, metadata=metadata, timeout=WITHIN_S))
    err.print(f"[green]✓[/green] alerts of {account} go to {url}")
