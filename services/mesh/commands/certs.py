"""`tollway certs`: an authority and certificates for trying mutual TLS."""

from pathlib import Path
from typing import Annotated

import typer

from services.mesh.certificates import authority
from services.mesh.plan import PORTS
from services.mesh.screen import err, say

CLIENT = "client"
"""For whoever calls the mesh and is no service."""


def certs(
    folder: Annotated[Path, typer.Argument(help="Where the files go; an authority that lies there signs again.")],
    name: Annotated[list[str] | None, typer.Option(help="Whom for; every service and a client without.")] = None,
    host: Annotated[list[str] | None, typer.Option(help="Another DNS name they are called by; repeatable.")] = None,
    days: Annotated[float, typer.Option(help="How long they are good.", min=0.0001)] = 90.0,
) -> None:
    """Makes a development authority and a certificate for each service. Run again, it rotates them under a running mesh."""
    signer = authority(folder)
    for one in name or ("edge", *PORTS, CLIENT):
        made = signer.issue(one, host or (), days)
        say(made.certificate)
    err.print(f"[green]✓[/green] signed by {folder / 'ca.pem'}, good for {days:g} days", soft_wrap=True)
