"""`tollway up`: runs the mesh in this terminal until it is told to stop."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module

import uvloop
import yaml

from services.mesh import embedded, ledgers, running
from services.mesh.commands.background import welcome
from services.mesh.plan import Ended, NotReady, Plan, Up
from services.mesh.screen import err, fail
from services.runtime import memory
from services.runtime.server import Process, told_to_stop
from services.runtime.settings import BadSettings, load


def run(plan: Plan, quiet: bool) -> None:
    """Runs the mesh until it is told to stop."""
    if (found := running.told(plan.state)) is not None:
        fail(f"a mesh runs on {plan.state} already: {found.url} (process {found.pid}); stop it with `tollway down`")
    plan.run.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "TOLLWAY_CONFIG": str(plan.file)}
    try:
        plan.write("")
        kind = load(Process, environ, "process")
        if plan.several:  # they have one each
            kind = replace(kind, metrics_address="")
        with kind.observed("tollway"):
            uvloop.run(_run(plan, environ, quiet))
    except (BadSettings, yaml.YAMLError) as fault:
        fail(f"settings: {fault}")
    except (OSError, RuntimeError, ValueError, Ended, NotReady, embedded.DatabaseStuck, embedded.BrokerStuck) as fault:
        fail(f"{fault}; `tollway doctor` may know more")
    finally:
        running.forget(plan.state)


async def _run(plan: Plan, environ: Mapping[str, str], quiet: bool) -> None:
    stop = asyncio.create_task(told_to_stop())
    up = asyncio.Event()
    latest: dict[str, Up] = {}

    def told(one: Up) -> None:
        again = one.name in latest
        latest[one.name] = one
        if again:  # a service that was started anew has another process
            running.tell(plan.state, list(latest.values()), plan.certificates("client"))
        err.print(f"[green]✓[/green] {one.name:<13}{one.address:<34} [dim]{one.backend}[/dim]", soft_wrap=True)

    async def stopped(ups: list[Up]) -> None:
        addresses = {name: address for one in ups for name, address in one.found.items()}
        key = await ledgers.development_key(plan.state, addresses["ledger"], plan.certificates("client"))
        running.tell(plan.state, ups, plan.certificates("client"))
        up.set()
        if not quiet:
            welcome(addresses["edge"], plan.state, key)
        await stop
        err.print("[dim]draining, from the edge inwards[/dim]")

    if not plan.several:
        memory.opening()
    # All the services' code comes in while the database starts: each takes the better part of a second.
    code = asyncio.create_task(
        asyncio.to_thread(import_module, f"services.mesh.{'apart' if plan.several else 'together'}")
    )
    async with _database(plan, environ) as database, _broker(plan, environ, database):
        run = (await code).run
        work = asyncio.ensure_future(run(plan, environ, told, stopped) if plan.several else run(environ, told, stopped))
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        if not up.is_set() and work.cancel():  # told to stop while it still starts: nobody is served yet
            await asyncio.wait([work])
            return
        await work


@asynccontextmanager
async def _database(plan: Plan, environ: Mapping[str, str]) -> AsyncIterator[str]:
    """The embedded PostgreSQL's URL; empty where settings name a database for each service that wants one."""
    whole = plan.write("")
    if all(
        environ.get(f"TOLLWAY_{name.upper()}__DATABASE_URL") or whole[name]["database_url"]
        for name in ("ledger", "jobs")
    ):
        yield ""
        return
    async with embedded.postgres(plan.state / "postgres") as url:
        err.print(f"[green]✓[/green] {'postgresql':<13}{'embedded':<34} [dim]{plan.state / 'postgres'}[/dim]")
        yield url


@asynccontextmanager
async def _broker(plan: Plan, environ: Mapping[str, str], database: str) -> AsyncIterator[None]:
    """The embedded NATS, unless settings name a broker. The plan is whole from here on."""
    if environ.get("TOLLWAY_JOBS__BROKER") or plan.own("jobs", "broker"):
        plan.write(database)
        yield
        return
    async with embedded.nats(plan.state / "nats") as url:
        plan.write(database, url)
        err.print(f"[green]✓[/green] {'nats':<13}{url:<34} [dim]{plan.state / 'nats'}[/dim]")
        yield
