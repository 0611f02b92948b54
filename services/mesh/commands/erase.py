"""`tollway erase`: a tenant, or what is kept of one of its end users, in every service, with a receipt."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import State, ran
from services.mesh.screen import err, say, table

WITHIN_S = 600.0

erase = typer.Typer(no_args_is_help=True, help="Erasing a tenant, or what is kept of one of its end users, everywhere.")
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
AsJson = Annotated[bool, typer.Option("--json", help="The receipt as JSON.")]


@erase.command("subject")
def subject(
    name: Annotated[str, typer.Argument(help="The end user, as requests name them in `user`.")],
    tenant: Annotated[str, typer.Option(help="Whose end user.")],
    yes: Yes = False,
    as_json: AsJson = False,
    state: State = running.STATE,
) -> None:
    """Erases what is kept of an end user: answers, documents, jobs, files, records, labels of spend."""
    if not yes:
        typer.confirm(f"Erase what is kept of {name} in {tenant}, for good?", abort=True, err=True)
    request = pb.EraseSubjectRequest(tenant=tenant, subject=name)
    _told(state, lambda stub, **call: stub.EraseSubject(request, **call), as_json)


@erase.command("tenant")
def whole(
    tenant: Annotated[str, typer.Argument(help="The tenant, such as acme.")],
    yes: Yes = False,
    as_json: AsJson = False,
    state: State = running.STATE,
) -> None:
    """Suspends a tenant, and erases all that is kept of it: its keys, its spend and its audit log, too."""
    if not yes:
        typer.confirm(f"Erase everything of {tenant}, for good?", abort=True, err=True)
    request = pb.EraseTenantRequest(tenant=tenant)
    _told(state, lambda stub, **call: stub.EraseTenant(request, **call), as_json)


def _told(state: Path, asked: Callable[..., Awaitable[Any]], as_json: bool) -> None:
    """Calls the gateway, and shows its receipt; ends with 1 where something is left to be erased."""

    async def run() -> pb.Receipt:
        metadata = running.bearing(running.admin_key(state))
        async with running.running(state).channel("orchestrator") as channel:
            stub = gateway_pb2_grpc.GatewayServiceStub(channel)
            made: pb.Receipt = (await asked(stub, metadata=metadata, timeout=WITHIN_S)).receipt
            return made

    receipt = ran(run())
    if as_json:
        say(json.dumps(MessageToDict(receipt, preserving_proto_field_name=True)))
    else:
        table(("service", "erased", ""), [(one.service, _counts(one), one.fault) for one in receipt.erasures])
        say(f"receipt {receipt.receipt_id}")
    if not receipt.complete:
        err.print("[yellow]![/yellow] not everything was reached: the same command takes what is left")
        raise typer.Exit(1)


def _counts(one: pb.Erasure) -> str:
    return (
        ", ".join(f"{many} {what.replace('_', ' ')}" for what, many in sorted(one.erased.items()) if many) or "nothing"
    )
