"""`tollway restart`: one service of a split mesh anew, perhaps from another version's code, while requests flow."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from services.mesh import running
from services.mesh.commands.calling import State
from services.mesh.plan import READY_WITHIN_S, Plan
from services.mesh.screen import err, fail


def restart(
    service: Annotated[str, typer.Argument(help="Its name, as `tollway up` shows it.")],
    code: Annotated[Path | None, typer.Option(help="A checkout of another version to run it from.")] = None,
    kill: Annotated[bool, typer.Option(help="End it at once instead of letting it finish its calls.")] = False,
    state: State = running.STATE,
) -> None:
    """Stops one service and starts it again; the others go on, and their calls to it wait."""
    try:
        mesh = running.running(state)
    except running.NotUp as error:
        fail(str(error))
    if not mesh.processes:
        fail("its services share one process: start it with `tollway up --split`")
    if (process := mesh.processes.get(service)) is None:
        fail(f"there is no service {service}: it has {', '.join(sorted(mesh.processes))}")
    if code is not None and not (code / "services" / service / "__main__.py").exists():
        fail(f"--code {code}: there is no services/{service} in it")
    Plan(state.absolute()).choose_code(service, code)
    began, until = time.monotonic(), time.monotonic() + READY_WITHIN_S + 60
    os.kill(process, signal.SIGKILL if kill else signal.SIGTERM)
    with err.status(f"restarting {service}"):
        while (now := running.told(state)) is None or now.processes.get(service) == process:
            if now is None or time.monotonic() > until:
                fail(f"{service} does not come back; its log is {state / 'run' / f'{service}.log'}")
            time.sleep(0.05)
    err.print(f"[green]✓[/green] {service:<13}process {now.processes[service]}, after {time.monotonic() - began:.1f} s")
