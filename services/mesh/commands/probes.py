"""`tollway probes`: models that are asked the same on a schedule, and whether they have begun to answer otherwise."""

from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from tollway.registry.v1 import registry_pb2 as pb

from services.mesh import running
from services.mesh.commands.calling import Key, State
from services.mesh.commands.registry import called
from services.mesh.screen import err, table

Name = Annotated[str, typer.Argument(help="The probe's name.")]

probes = typer.Typer(no_args_is_help=True, help="Golden probes: set, list, renew, remove.")


@probes.command("set")
def set_probe(
    name: Name,
    dataset: Annotated[str, typer.Argument(help="NAME@NUMBER: what is asked must not move.")],
    model: Annotated[list[str], typer.Option(help="Who is asked; repeatable.")],
    every_s: Annotated[float, typer.Option(help="How often.")] = 3600.0,
    false_alarm_every: Annotated[int, typer.Option(help="One false alarm in so many answers at most.")] = 100_000,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Begins a probe, or changes one: what it saw before is forgotten. It pays from the key's own budget."""
    every = Duration()
    every.FromMilliseconds(round(every_s * 1000))
    made = pb.Probe(name=name, dataset=dataset, models=model, every=every, false_alarm_every=false_alarm_every)
    kept: pb.Probe = called(state, key, lambda stub: stub.SetProbe(pb.SetProbeRequest(probe=made))).probe
    err.print(f"[green]✓[/green] {kept.name} asks as {kept.key_id}")


@probes.command("list")
def list_probes(key: Key = "", state: State = running.STATE) -> None:
    """Lists probes, and what they see."""
    found = called(state, key, lambda stub: stub.ListProbes(pb.ListProbesRequest())).probes
    rows = [
        (one.probe.name, model.model, str(model.rounds), signal.name, f"{signal.usual:.3g}", f"{signal.last:.3g}",
         f"{signal.evidence:.3g} of {one.probe.false_alarm_every or 100_000}")
        for one in found
        for model in one.models
        for signal in model.signals or (pb.Signal(name="-"),)
    ]  # fmt: skip
    table(("probe", "model", "rounds", "watched", "usual", "last", "evidence of a change"), rows)
    for one in found:
        for model in one.models:
            if model.HasField("alarmed"):
                at = f"{model.alarmed.ToDatetime():%Y-%m-%d %H:%M}"
                err.print(f"[red]![/red] {one.probe.name}, {model.model}, {at} UTC: {model.alarm}", soft_wrap=True)


@probes.command("renew")
def renew(
    name: Name,
    model: Annotated[str, typer.Option(help="Only this one.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Takes what models answer from now on as usual."""
    called(state, key, lambda stub: stub.RenewProbe(pb.RenewProbeRequest(name=name, model=model)))
    err.print(f"[green]✓[/green] {name} begins anew")


@probes.command("remove")
def remove(name: Name, key: Key = "", state: State = running.STATE) -> None:
    """Ends a probe, and forgets what it saw."""
    called(state, key, lambda stub: stub.DeleteProbe(pb.DeleteProbeRequest(name=name)))
    err.print(f"[green]✓[/green] {name} is gone")
