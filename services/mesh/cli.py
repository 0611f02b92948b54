"""The `tollway` command: what it can be asked. What each command does is in `commands/`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from services.mesh import running, upstreams
from services.mesh.commands import accounts, background, certs, secrets
from services.mesh.commands import alerts as alerting
from services.mesh.commands import ask as asking
from services.mesh.commands import audit as auditing
from services.mesh.commands import cache as caching
from services.mesh.commands import console as looking
from services.mesh.commands import doctor as examining
from services.mesh.commands import erase as erasing
from services.mesh.commands import evaluate as evaluating
from services.mesh.commands import health as probing
from services.mesh.commands import jobs as working
from services.mesh.commands import models as catalogue
from services.mesh.commands import policy as policing
from services.mesh.commands import probes as watching
from services.mesh.commands import registry as registering
from services.mesh.commands import restart as restarting
from services.mesh.commands import retrieval as finding
from services.mesh.commands import reviews as reviewing
from services.mesh.commands import roles as binding
from services.mesh.commands import route as routing
from services.mesh.commands import shadow as shadowing
from services.mesh.commands import top as vital
from services.mesh.commands import trace as tracing
from services.mesh.commands import usage as using
from services.mesh.commands.calling import Key, State, key_of
from services.mesh.plan import Plan
from services.mesh.screen import fail

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_show_locals=False, help="Runs and administers a Tollway mesh."
)
app.add_typer(accounts.keys, name="keys")
app.add_typer(accounts.accounts, name="accounts")
app.add_typer(binding.roles, name="roles")
app.add_typer(alerting.safeguards, name="safeguards")
app.add_typer(alerting.alerts, name="alerts")
app.add_typer(accounts.budgets, name="budgets")
app.add_typer(routing.route, name="route")
app.add_typer(caching.cache, name="cache")
app.add_typer(finding.retrieval, name="retrieval")
app.add_typer(policing.policy, name="policy")
app.add_typer(working.jobs, name="jobs")
app.add_typer(registering.registry, name="registry")
app.add_typer(shadowing.shadow, name="shadow")
app.add_typer(evaluating.evaluate, name="eval")
app.add_typer(reviewing.reviews, name="reviews")
app.add_typer(watching.probes, name="probes")
app.add_typer(auditing.audit, name="audit")
app.add_typer(erasing.erase, name="erase")
app.add_typer(using.usage, name="usage")
app.command("console")(looking.console)
app.command("top")(vital.top)
app.command("health")(probing.health)
app.command("models")(catalogue.models)
app.command("secrets")(secrets.make)
app.command("certs")(certs.certs)
app.command("restart")(restarting.restart)

Url = Annotated[str, typer.Option(help="The edge; of the mesh on --state without one.", envvar="TOLLWAY_URL")]
Port = Annotated[int, typer.Option(help="Of the HTTP edge; 0 takes a free one.")]
GrpcPort = Annotated[int, typer.Option(help="First of ten gRPC ports; 0 serves on unix sockets.")]


@app.command()
def up(
    port: Port = 8080,
    grpc_port: GrpcPort = 50051,
    model: Annotated[
        list[str] | None, typer.Option(help="An upstream, NAME=PROVIDER:MODEL@BASE_URL; repeatable.")
    ] = None,
    config: Annotated[str, typer.Option(help="Settings file, a section a service.", envvar="TOLLWAY_CONFIG")] = "",
    split: Annotated[bool, typer.Option(help="One process a service, over unix sockets.")] = False,
    tls: Annotated[bool, typer.Option(help="With --split: over TCP and mutual TLS.")] = False,
    detach: Annotated[bool, typer.Option(help="Run in the background; return when all is healthy.")] = False,
    quiet: Annotated[bool, typer.Option(help="Do not print the request to paste.")] = False,
    state: State = running.STATE,
) -> None:
    """Starts every service, and prints a request to paste."""
    try:
        named = {**upstreams.found(os.environ), **upstreams.spoken(model or ())}
    except upstreams.BadModel as fault:
        fail(str(fault))
    if config and not Path(config).is_file():
        fail(f"--config {config}: there is no such file")
    if tls and not (split and grpc_port):
        fail("--tls needs --split and a row of ports: within one process and over unix sockets nobody listens in")
    plan = Plan(state.absolute(), port, grpc_port, split, tls, named, config)
    if not detach:
        from services.mesh.commands import up as foreground  # brings in every service: the others start faster without

        foreground.run(plan, quiet)
        return
    arguments = [f"--port={port}", f"--grpc-port={grpc_port}", f"--state={state.absolute()}"]
    arguments += [f"--model={one}" for one in model or ()]
    arguments += [f"--config={Path(config).absolute()}"] if config else []
    arguments += ["--split"] if split else []
    arguments += ["--tls"] if tls else []
    background.detached(plan, arguments)


@app.command()
def down(state: State = running.STATE) -> None:
    """Stops the mesh; calls under way are answered first."""
    background.down(state.absolute())


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="The question.")],
    model: Annotated[str, typer.Option(help="A model's name; `auto` lets the router choose.")] = "auto",
    system: Annotated[str, typer.Option(help="A system prompt.")] = "",
    trace: Annotated[bool, typer.Option(help="Draw the request's way through the services.")] = False,
    url: Url = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Asks a question and shows the answer as it is written."""
    url, key = url or _url(state), key_of(state, key)
    trace_id = asking.ask(url, key, model, text, system, traced=trace)
    if trace:
        tracing.trace(url, running.admin_key(state), trace_id)


@app.command("trace")
def show_trace(trace_id: str, state: State = running.STATE) -> None:
    """Draws a request's way through the services, from the `x-tollway-trace` of its answer."""
    tracing.trace(_url(state), running.admin_key(state), trace_id)


@app.command()
def doctor(port: Port = 8080, grpc_port: GrpcPort = 50051, state: State = running.STATE) -> None:
    """Checks what a mesh needs, and says how to mend what is missing."""
    if not examining.doctor(state, port, grpc_port):
        raise typer.Exit(1)


def _url(state: Path) -> str:
    try:
        return running.running(state).url
    except running.NotUp as error:
        fail(str(error))
