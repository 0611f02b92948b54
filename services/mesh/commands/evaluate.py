"""`tollway eval`: candidates over datasets, for people and for a team's CI."""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tollway.jobs.v1 import jobs_pb2
from tollway.registry.v1 import registry_pb2 as pb

from services.mesh import running
from services.mesh.commands import jobs as jobs_commands
from services.mesh.commands.calling import Key, State, key_of
from services.mesh.commands.measures import HELP, number, spoken
from services.mesh.commands.registry import called
from services.mesh.screen import err, fail, say, table

NANO = 1_000_000_000
LOOKS_EVERY_S = 0.5
SHOWN = 10
Grader = Callable[[dict[str, Any], str], float]

evaluate = typer.Typer(no_args_is_help=True, help="Evaluations: run a candidate over a dataset, compare runs.")


@evaluate.command("run")
def run(
    dataset: Annotated[
        str, typer.Argument(help="NAME, NAME@LABEL or NAME@NUMBER; `tollway registry apply` makes them.")
    ],
    model: Annotated[str, typer.Option(help="The model that answers; without it the prompt's own, or `auto`.")] = "",
    prompt: Annotated[str, typer.Option(help="The template that it is asked with.")] = "",
    measure: Annotated[list[str] | None, typer.Option(help=HELP)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only cases with this tag; repeatable.")] = None,
    least: Annotated[
        list[str] | None, typer.Option("--min", help="MEASURE=MEAN that must be reached; repeatable.")
    ] = None,
    against: Annotated[str, typer.Option(help="A run: fail when this one is worse for sure, by any measure.")] = "",
    grader: Annotated[
        str, typer.Option(help="MODULE:FUNCTION of yours: (case, answer) -> 0 to 1, as measure `python`.")
    ] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Asks every case and judges the answers. Exits with 1 when a mean is not reached, or the run is worse than another."""
    floors = dict(_floor(one) for one in least or ())
    own = _loaded(grader) if grader else None
    request = pb.StartRunRequest(
        dataset=dataset,
        candidate=pb.Candidate(model=model, prompt=prompt),
        measures=[spoken(one)[0] for one in measure or ("similarity",)],
        tags=tag or (),
    )
    begun: pb.Run = called(state, key, lambda stub: stub.StartRun(request)).run
    made = _followed(state, key, begun)
    means = {one.name: one.mean for one in made.scores}
    if own is not None:
        means["python"] = _graded(state, key, made, own)
    _show(made, means)
    say(made.run_id)
    failed = [
        f"{name}: {means.get(name, 0.0):.3f} is under {floor:g}"
        for name, floor in floors.items()
        if means.get(name, 0.0) < floor
    ]
    if against:
        failed += _compared(state, key, against, made.run_id)
    if made.failed:
        err.print(f"{made.failed} of {made.cases} cases have no answer")
    for one in failed:
        err.print(f"[red]✗[/red] {one}", soft_wrap=True)
    if failed or made.state != pb.RUN_STATE_DONE or not made.judged:
        raise typer.Exit(1)
    err.print("[green]✓[/green] passed")


@evaluate.command("list")
def list_runs(
    dataset: Annotated[str, typer.Argument(help="Only of this one.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists runs, the newest first."""
    request = pb.ListRunsRequest(dataset=dataset)
    rows = [
        (one.run_id, f"{one.dataset}@{one.number}", one.candidate.prompt or one.candidate.model or "auto",
         pb.RunState.Name(one.state).removeprefix("RUN_STATE_").lower(), str(one.cases),
         f"{one.created.ToDatetime():%Y-%m-%d %H:%M}")
        for one in called(state, key, lambda stub: stub.ListRuns(request)).runs
    ]  # fmt: skip
    table(("run", "dataset", "candidate", "state", "cases", "begun (UTC)"), rows)


@evaluate.command("show")
def show(run_id: str, key: Key = "", state: State = running.STATE) -> None:
    """Shows what a run found."""
    found: pb.Run = called(state, key, lambda stub: stub.GetRun(pb.GetRunRequest(run_id=run_id))).run
    _show(found, {one.name: one.mean for one in found.scores})


@evaluate.command("compare")
def compare(before: str, after: str, key: Key = "", state: State = running.STATE) -> None:
    """Puts two runs side by side. Exits with 1 when the second is worse for sure, by any measure."""
    if _compared(state, key, before, after):
        raise typer.Exit(1)


def _followed(state: Path, key: str, run: pb.Run) -> pb.Run:
    """The run once it is over; its progress is shown meanwhile."""
    asked = pb.GetRunRequest(run_id=run.run_id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(f"{run.dataset}@{run.number}", total=run.cases)
        while run.state == pb.RUN_STATE_RUNNING:
            time.sleep(LOOKS_EVERY_S)
            run = called(state, key, lambda stub: stub.GetRun(asked)).run
            progress.update(task, completed=run.judged + run.failed)
    return run


def _show(made: pb.Run, means: dict[str, float]) -> None:
    spans = {one.name: f"{one.low:.3f} to {one.high:.3f}" for one in made.scores}
    table(("measure", "mean", "95 %"), [(name, f"{mean:.3f}", spans.get(name, "")) for name, mean in means.items()])
    took = made.took.ToTimedelta().total_seconds()
    err.print(f"{made.judged} of {made.cases} judged, ${made.cost_nano_usd / NANO:.6f}, {took:.2f} s an answer")


def _compared(state: Path, key: str, before: str, after: str) -> list[str]:
    """Shows how two runs differ; says by which measures the second is worse for sure."""
    request = pb.CompareRunsRequest(before=before, after=after)
    found: pb.CompareRunsResponse = called(state, key, lambda stub: stub.CompareRuns(request))
    rows = [
        (one.name, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.low:+.3f} to {one.high:+.3f}", str(one.improved),
         str(len(one.regressions)))
        for one in found.differences
    ]  # fmt: skip
    table(("measure", "before", "after", "difference, 95 %", "better", "worse"), rows)
    costs = found.cost_before_nano_usd / NANO, found.cost_after_nano_usd / NANO
    err.print(f"{found.cases} cases of both, ${costs[0]:.6f} before and ${costs[1]:.6f} after")
    for one in found.differences:
        for case in one.regressions[:SHOWN]:
            err.print(f"worse by {one.name}: {case}", soft_wrap=True)
    for case in found.failing[:SHOWN]:
        err.print(f"no answer any more: {case}", soft_wrap=True)
    return [f"{one.name} is worse than in {before}" for one in found.differences if one.high < 0]


def _graded(state: Path, key: str, made: pb.Run, grader: Grader) -> float:
    """The mean of the user's own function over the answers."""
    metadata, scores, token = running.bearing(key_of(state, key)), list[float](), ""
    cases = _cases(state, key, made)
    while True:
        request = jobs_pb2.ListResultsRequest(job_id=made.job_id, page_size=1000, page_token=token)
        page = jobs_commands.called(
            state,
            lambda stub, request=request: stub.ListResults(request, metadata=metadata, timeout=30.0),  # type: ignore[misc]
        )
        for line in page.results:
            if line.state == jobs_pb2.STATE_SUCCEEDED:
                parts = line.result.completion.completion.choices[0].message.parts
                scores.append(float(grader(cases[line.custom_id], "".join(part.text for part in parts))))
        if not (token := page.next_page_token):
            return sum(scores) / len(scores) if scores else 0.0


def _cases(state: Path, key: str, made: pb.Run) -> dict[str, dict[str, Any]]:
    request = pb.GetVersionRequest(reference=f"{made.dataset}@{made.number}")
    found: pb.Version = called(state, key, lambda stub: stub.GetVersion(request)).version
    return {one.case_id: MessageToDict(one, preserving_proto_field_name=True) for one in found.content.dataset.cases}


def _loaded(said: str) -> Grader:
    module, _, name = said.partition(":")
    sys.path.insert(0, "")  # a file of the folder that the command is called in
    try:
        made: Grader = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        fail(f"--grader {said}: {error}")
    return made


def _floor(said: str) -> tuple[str, float]:
    name, _, value = said.partition("=")
    return name, number(f"--min {said}", value)
