"""The `tollway` command: what it can be asked. What each command does is in `commands/`."""

import os
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from services.mesh import running, upstreams
from services.mesh.commands.calling import Key, State, key_of
from services.mesh.plan import Plan
from services.mesh.screen import fail

COMMANDS = {
    "keys": "accounts:keys",
    "accounts": "accounts:accounts",
    "roles": "roles:roles",
    "safeguards": "alerts:safeguards",
    "alerts": "alerts:alerts",
    "budgets": "accounts:budgets",
    "route": "route:route",
    "cache": "cache:cache",
    "retrieval": "retrieval:retrieval",
    "policy": "policy:policy",
    "jobs": "jobs:jobs",
    "registry": "registry:registry",
    "shadow": "shadow:shadow",
    "eval": "evaluate:evaluate",
    "reviews": "reviews:reviews",
    "probes": "probes:probes",
    "audit": "audit:audit",
    "erase": "erase:erase",
    "usage": "usage:usage",
    "console": "console:console",
    "top": "top:top",
    "health": "health:health",
    "models": "models:models",
    "tools": "tools:tools",
    "adopt": "adopt:adopt",
    "secrets": "secrets:make",
    "certs": "certs:certs",
    "restart": "restart:restart",
    "serve": "serve:serve",
}
"""By name: the module in `commands/` and what it calls it. Those that need the whole mesh, or nothing of it, are below."""


class Lazily(TyperGroup):
    """Brings the module of a command in when it is asked for: each needs other things, and all of them together take a while."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"services.mesh.commands.{module}"), name)
        if isinstance(found, typer.Typer):
            made: Any = get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            made = get_command(alone)
        made.name = cmd_name
        return made


app = typer.Typer(
    cls=Lazily,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Runs and administers a Tollway mesh.",
)

Url = Annotated[str, typer.Option(help="The edge; of the mesh on --state without one.", envvar="TOLLWAY_URL")]
Port = Annotated[int, typer.Option(help="Of the HTTP edge; 0 takes a free one.")]
GrpcPort = Annotated[int, typer.Option(help="First of eleven gRPC ports; 0 serves on unix sockets.")]


@app.command()
def up(
    port: Port = 8080,
    grpc_port: GrpcPort = 50051,
    model: Annotated[
        list[str] | None, typer.Option(help="An upstream, NAME=PROVIDER:MODEL@BASE_URL; repeatable.")
    ] = None,
    mcp: Annotated[list[str] | None, typer.Option(help="An MCP server, NAME=URL or NAME=COMMAND; repeatable.")] = None,
    config: Annotated[str, typer.Option(help="Settings file, a section a service.", envvar="TOLLWAY_CONFIG")] = "",
    split: Annotated[bool, typer.Option(help="One process a service, over unix sockets.")] = False,
    tls: Annotated[bool, typer.Option(help="With --split: over TCP and mutual TLS.")] = False,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Processes that share the requests, a processor each; 0 for one in all.")
    ] = 0,
    detach: Annotated[bool, typer.Option(help="Run in the background; return when all is healthy.")] = False,
    quiet: Annotated[bool, typer.Option(help="Do not print the request to paste.")] = False,
    state: State = running.STATE,
) -> None:
    """Starts every service, and prints a request to paste."""
    try:
        named = {**upstreams.found(os.environ), **upstreams.spoken(model or ())}
        servers = upstreams.servers(mcp or ())
    except upstreams.BadUpstream as fault:
        fail(str(fault))
    if config and not Path(config).is_file():
        fail(f"--config {config}: there is no such file")
    if tls and not (split and grpc_port):
        fail("--tls needs --split and a row of ports: within one process and over unix sockets nobody listens in")
    if workers and split:
        fail("--workers and --split: workers hold several services each, and with --split each service is alone")
    plan = Plan(state.absolute(), port, grpc_port, split, tls, workers, named, servers, config)
    if not detach:
        from services.mesh.commands import up as foreground

        foreground.run(plan, quiet)
        return
    from services.mesh.commands import background

    arguments = [f"--port={port}", f"--grpc-port={grpc_port}", f"--state={state.absolute()}"]
    arguments += [f"--model={one}" for one in model or ()]
    arguments += [f"--mcp={one}" for one in mcp or ()]
    arguments += [f"--config={Path(config).absolute()}"] if config else []
    arguments += ["--split"] if split else []
    arguments += ["--tls"] if tls else []
    arguments += [f"--workers={workers}"] if workers else []
    background.detached(plan, arguments)


@app.command()
def down(state: State = running.STATE) -> None:
    """Stops the mesh; calls under way are answered first."""
    from services.mesh.commands import background

    background.down(state.absolute())


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="The question.")],
    model: Annotated[str, typer.Option(help="A model's name; `auto` lets the router choose.")] = "auto",
    system: Annotated[str, typer.Option(help="A system prompt.")] = "",
    web: Annotated[bool, typer.Option(help="Let the model's provider search the web; pages are listed below.")] = False,
    tools: Annotated[
        list[str] | None, typer.Option(help="An MCP server whose tools the model may call; repeatable.")
    ] = None,
    trace: Annotated[bool, typer.Option(help="Draw the request's way through the services.")] = False,
    url: Url = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Asks a question and shows the answer as it is written."""
    from services.mesh.commands import ask as asking

    url, key = url or _url(state), key_of(state, key)
    trace_id = asking.ask(url, key, model, text, system, web=web, servers=tools or (), traced=trace)
    if trace:
        from services.mesh.commands import trace as tracing

        tracing.trace(url, running.admin_key(state), trace_id)


@app.command("trace")
def show_trace(trace_id: str, state: State = running.STATE) -> None:
    """Draws a request's way through the services, from the `x-tollway-trace` of its answer."""
    from services.mesh.commands import trace as tracing

    tracing.trace(_url(state), running.admin_key(state), trace_id)


@app.command()
def doctor(port: Port = 8080, grpc_port: GrpcPort = 50051, state: State = running.STATE) -> None:
    """Checks what a mesh needs, and says how to mend what is missing."""
    from services.mesh.commands import doctor as examining

    if not examining.doctor(state, port, grpc_port):
        raise typer.Exit(1)


def _url(state: Path) -> str:
    try:
        return running.running(state).url
    except running.NotUp as error:
        fail(str(error))
