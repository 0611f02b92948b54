"""`tollway shadow`: candidates that are asked what others answer, and how they compare."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from tollway.registry.v1 import registry_pb2 as pb

from services.mesh import running
from services.mesh.commands.calling import Key, State
from services.mesh.commands.measures import HELP, number, spoken
from services.mesh.commands.registry import called
from services.mesh.screen import err, fail, say, table
from services.registry import documents
from services.runtime.errors import Failure

NANO = 1_000_000_000
Name = Annotated[str, typer.Argument(help="The shadow's name.")]

shadow = typer.Typer(no_args_is_help=True, help="Shadows: ask a candidate what others answer, and compare.")


@shadow.command("set")
def set_shadow(
    name: Name,
    template: Annotated[str, typer.Option(help="Mirror requests of this template.")] = "",
    model: Annotated[str, typer.Option(help="Mirror requests of this model, or of `auto`.")] = "",
    everything: Annotated[bool, typer.Option(help="Mirror all requests of the tenant.")] = False,
    legacy: Annotated[bool, typer.Option(help="Another system hands its answers in.")] = False,
    share: Annotated[float, typer.Option(help="Which share of them: 0.2 is one in five.")] = 1.0,
    candidate_model: Annotated[str, typer.Option(help="The model to ask instead.")] = "",
    candidate_prompt: Annotated[str, typer.Option(help="The template to ask with, NAME@NUMBER.")] = "",
    measure: Annotated[
        list[str] | None,
        typer.Option(help=f"{HELP} KIND:TARGET says which agreement is good enough."),
    ] = None,
    promote: Annotated[
        str, typer.Option(help="LABEL:SHARE: where the candidate begins to answer once it is better.")
    ] = "",
    file: Annotated[Path | None, typer.Option(help="All of it as YAML, as the contract says it.", exists=True)] = None,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Begins a shadow, or changes it: what it found before counts no more. It pays from the key's own budget."""
    made = _read(file, name) if file is not None else pb.Shadow(name=name, share=share)
    if file is None:
        sources: dict[str, Any] = {"template": template, "model": model, "everything": everything, "legacy": legacy}
        given = {one: value for one, value in sources.items() if value}
        if len(given) != 1:
            fail("say one of --template, --model, --everything and --legacy")
        for one, value in given.items():
            setattr(made, one, value)
        made.candidate.model, made.candidate.prompt = candidate_model, candidate_prompt
        made.measures.extend(map(_measure, measure or ("similarity",)))
        if promote:
            label, _, part = promote.partition(":")
            made.promotion.label, made.promotion.share = label, number(promote, part)
    request = pb.SetShadowRequest(shadow=made)
    kept: pb.Shadow = called(state, key, lambda stub: stub.SetShadow(request)).shadow
    err.print(f"[green]✓[/green] {kept.name}, revision {kept.revision}: it asks as {kept.key_id}")


@shadow.command("list")
def list_shadows(key: Key = "", state: State = running.STATE) -> None:
    """Lists the tenant's shadows."""
    found = called(state, key, lambda stub: stub.ListShadows(pb.ListShadowsRequest())).shadows
    rows = [
        (one.name, _source(one), f"{one.share:.0%}", one.candidate.prompt or one.candidate.model,
         ", ".join(each.measure.name for each in one.measures))
        for one in found
    ]  # fmt: skip
    table(("shadow", "of", "share", "candidate", "measures"), rows)


@shadow.command("report")
def report(name: Name, key: Key = "", state: State = running.STATE) -> None:
    """Says whether the candidate is better, worse or undecided, and how much more it takes to know."""
    request = pb.GetShadowReportRequest(name=name)
    found: pb.GetShadowReportResponse = called(state, key, lambda stub: stub.GetShadowReport(request))
    say(_word(found.verdict))
    rows = [
        (one.name, _word(one.verdict), str(one.pairs), f"{one.live:.3f}", f"{one.candidate:.3f}", f"{one.better:.3g}",
         f"{one.worse:.3g}", "?" if one.more < 0 else str(one.more))
        for one in found.measures
    ]  # fmt: skip
    table(("measure", "verdict", "pairs", "live", "candidate", "for better", "for worse", "more pairs"), rows)
    sides = [
        (side, f"${one.cost_nano_usd / NANO:.6f}", f"{one.took.ToTimedelta().total_seconds():.2f} s")
        for side, one in (("live", found.live), ("candidate", found.candidate))
    ]
    table(("side", "mean cost", "mean time"), sides)
    err.print(f"{found.waiting} under way, {found.failed} without an answer, {found.skipped} left out")
    if found.HasField("promoted"):
        err.print(f"its candidate began to answer at {found.promoted.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")


@shadow.command("comparisons")
def comparisons(name: Name, key: Key = "", state: State = running.STATE) -> None:
    """Lists what was compared, the newest first. `tollway jobs show` tells what a job's answers say."""
    request = pb.ListComparisonsRequest(name=name)
    found = called(state, key, lambda stub: stub.ListComparisons(request)).comparisons
    rows = [
        (f"{one.at.ToDatetime():%Y-%m-%d %H:%M:%S}", one.state, _scores(one.live), _scores(one.candidate), one.job_id)
        for one in found
    ]
    table(("at (UTC)", "state", "live", "candidate", "job"), rows)


@shadow.command("remove")
def remove(name: Name, key: Key = "", state: State = running.STATE) -> None:
    """Ends a shadow, and forgets what it found."""
    request = pb.DeleteShadowRequest(name=name)
    called(state, key, lambda stub: stub.DeleteShadow(request))
    err.print(f"[green]✓[/green] {name} is gone")


def _read(file: Path, name: str) -> pb.Shadow:
    made = pb.Shadow()
    try:
        documents.read(yaml.safe_load(file.read_text()) or {}, made)
    except (OSError, yaml.YAMLError, Failure) as error:
        fail(f"{file}: {error}")
    made.name = name
    return made


def _measure(said: str) -> pb.Compared:
    measure, target = spoken(said)
    return pb.Compared(measure=measure, target=number(said, target) if target else 0.0)


def _source(one: pb.Shadow) -> str:
    kind = one.WhichOneof("source") or ""
    return f"{kind} {getattr(one, kind)}" if kind in ("template", "model") else kind


def _scores(scores: Any) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in sorted(scores.items()))


def _word(verdict: "pb.Verdict.ValueType") -> str:
    return pb.Verdict.Name(verdict).removeprefix("VERDICT_").lower()
