"""`tollway roles`: what people of an OIDC issuer may do, and under which account."""

from collections.abc import Awaitable
from typing import Annotated

import typer
from tollway.ledger.v1 import ledger_pb2 as pb

from services.mesh import running
from services.mesh.commands.accounts import called
from services.mesh.commands.calling import State, pages
from services.mesh.ledgers import Administered
from services.mesh.screen import err, fail, table

ROLES = {name.removeprefix("ROLE_").lower(): number for name, number in pb.Role.items() if number}
NAMES = {number: name for name, number in ROLES.items()}
Subject = Annotated[str, typer.Argument(help="user:ann@example.com, group:ml-team or subject:SUB.")]
Role = Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")]
Account = Annotated[str, typer.Argument(help="Under which account, and all below it.")]

roles = typer.Typer(no_args_is_help=True, help="What people may do: bind, unbind, list.")


@roles.command("bind")
def bind(subject: Subject, role: Role, account: Account, state: State = running.STATE) -> None:
    """Lets people do something under an account."""
    request = pb.SetRoleBindingRequest(binding=_binding(subject, role, account))

    async def put(ledger: Administered) -> pb.SetRoleBindingResponse:
        return await ledger.stub.SetRoleBinding(request, metadata=ledger.metadata)

    called(state, put)
    err.print(f"[green]✓[/green] {subject} is {role} under {account}")


@roles.command("unbind")
def unbind(subject: Subject, role: Role, account: Account, state: State = running.STATE) -> None:
    """Lets them no longer: it bites within the minute that their token lives."""
    request = pb.DeleteRoleBindingRequest(binding=_binding(subject, role, account))

    async def drop(ledger: Administered) -> pb.DeleteRoleBindingResponse:
        return await ledger.stub.DeleteRoleBinding(request, metadata=ledger.metadata)

    called(state, drop)
    err.print(f"[green]✓[/green] {subject} is not {role} under {account} any more")


@roles.command("list")
def list_bindings(
    account: Annotated[str, typer.Argument(help="Of this account and all below; of all without one.")] = "",
    state: State = running.STATE,
) -> None:
    """Lists who may do what."""

    async def read(ledger: Administered) -> list[pb.RoleBinding]:
        def ask(token: str) -> Awaitable[pb.ListRoleBindingsResponse]:
            request = pb.ListRoleBindingsRequest(account=account, page_size=1000, page_token=token)
            return ledger.stub.ListRoleBindings(request, metadata=ledger.metadata)

        return [one async for page in pages(ask) for one in page.bindings]

    rows = [(one.account, one.subject, NAMES.get(one.role, "")) for one in called(state, read)]
    table(("account", "who", "role"), rows)


def _binding(subject: str, role: str, account: str) -> pb.RoleBinding:
    if role not in ROLES:
        fail(f"{role}: one of {', '.join(ROLES)}")
    return pb.RoleBinding(account=account, subject=subject, role=ROLES[role])
