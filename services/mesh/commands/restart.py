"""`tollway restart`: services or workers that have a process of their own anew, perhaps from another version's code, while requests flow."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from services.mesh import running
from services.mesh.commands.calling import State
from services.mesh.plan import PORTS, READY_WITHIN_S, Plan
from services.mesh.screen import err, fail


def restart(
    services: Annotated[list[str], typer.Argument(help="Their names, as `tollway up` shows them.")],
    code: Annotated[Path | None, typer.Option(help="A checkout of another version to run them from.")] = None,
    kill: Annotated[bool, typer.Option(help="End them at once instead of letting them finish their calls.")] = False,
    state: State = running.STATE,
) -> None:
    """Stops services, all at once, and starts them again; the others go on, and their calls wait."""
    try:
        mesh = running.running(state)
    except running.NotUp as error:
        fail(str(error))
    if not mesh.processes:
        fail("its services share one process: start it with `tollway up --split`, or with `--workers`")
    for service in services:
        if service not in mesh.processes:
            fail(f"there is no service {service}: it has {', '.join(sorted(mesh.processes))}")
        module = f"services/{service}/__main__.py" if service in (*PORTS, "edge") else "services/mesh/commands/serve.py"
        if code is not None and not (code / module).exists():
            fail(f"--code {code}: there is no {module} in it")
    began, until = time.monotonic(), time.monotonic() + READY_WITHIN_S + 60
    before = {service: mesh.processes[service] for service in services}
    for service, process in before.items():
        Plan(state.absolute()).choose_code(service, code)
        os.kill(process, signal.SIGKILL if kill else signal.SIGTERM)
    with err.status(f"restarting {', '.join(before)}"):
        while before:
            if (now := running.told(state)) is None or time.monotonic() > until:
                fail(f"{' and '.join(before)}: not back; see the logs in {state / 'run'}")
            for service in [one for one, process in before.items() if now.processes.get(one) not in (None, process)]:
                took = time.monotonic() - began
                err.print(f"[green]✓[/green] {service:<13}process {now.processes[service]}, after {took:.1f} s")
                del before[service]
            time.sleep(0.05)
