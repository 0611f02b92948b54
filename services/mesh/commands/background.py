"""`tollway up --detach` and `tollway down`: a mesh in the background."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from services.mesh import running
from services.mesh.plan import Plan
from services.mesh.screen import err, fail, say

DETACHED_WITHIN_S = 180.0
DOWN_WITHIN_S = 120.0


def welcome(url: str, state: Path, key: str) -> None:
    """Where the mesh is, a key, and a request to paste."""
    err.print(f"\n[bold]Tollway is up[/bold] at [cyan]{url}[/cyan]")
    err.print(f"[dim]Console:[/dim] {url}/console/ [dim](`./tollway console` shows the key to sign in with)[/dim]")
    err.print(
        f"[dim]Development key ({running.dev_key_file(state)}):[/dim] {key}\n[dim]Paste this:[/dim]\n", soft_wrap=True
    )
    say(
        f"curl {url}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"model": "auto", "messages": [{"role": "user", "content": "What is photosynthesis?"}]}'"""
    )


def detached(plan: Plan, arguments: list[str]) -> None:
    """Starts the mesh in the background and returns once every service is healthy."""
    if (found := running.told(plan.state)) is not None:
        err.print(f"already up since process {found.pid}")
        welcome(found.url, plan.state, running.dev_key_file(plan.state).read_text().strip())
        return
    plan.run.mkdir(parents=True, exist_ok=True)
    log = plan.run / "mesh.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "services.mesh", "up", "--quiet", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    until, shown = time.monotonic() + DETACHED_WITHIN_S, 0
    with err.status("starting"):
        while running.told(plan.state) is None:
            shown = _forwarded(log, shown)
            if child.poll() is not None:
                fail(f"the mesh ended with {child.returncode}; its log is {log}:\n{log.read_text()[-2000:]}")
            if time.monotonic() > until:
                child.terminate()
                fail(f"the mesh is not up after {DETACHED_WITHIN_S:.0f} s; its log is {log}")
            time.sleep(0.1)
    _forwarded(log, shown)
    said = running.running(plan.state)
    welcome(said.url, plan.state, running.dev_key_file(plan.state).read_text().strip())
    err.print(f"\n[dim]Log: {log}. Stop it with `tollway down`.[/dim]")


def _forwarded(log: Path, shown: int) -> int:
    """Shows the start-up lines that are new in `log`; returns how far it has read."""
    text = log.read_text(errors="replace")
    whole = text.rfind("\n") + 1
    for line in text[shown:whole].splitlines():
        if line.startswith("✓"):
            err.print(line, soft_wrap=True, markup=False)
    return max(whole, shown)


def down(state: Path) -> None:
    """Stops the mesh on `state` and waits until the calls under way are answered."""
    found = running.told(state)
    if found is None:
        err.print(f"no mesh runs on {state}")
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    until = time.monotonic() + DOWN_WITHIN_S
    with err.status("draining"):
        while found.alive:
            if time.monotonic() > until:
                fail(f"process {found.pid} is still draining after {DOWN_WITHIN_S:.0f} s")
            time.sleep(0.1)
    err.print("[green]✓[/green] down")
