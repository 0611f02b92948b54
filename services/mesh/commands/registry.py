"""`tollway registry`: templates and configurations, from files or one by one."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1 import registry_pb2_grpc

from services.mesh import running
from services.mesh.commands import artifacts
from services.mesh.commands.artifacts import Artifact, BadFile
from services.mesh.commands.calling import Key, State, key_of, pages, ran
from services.mesh.screen import err, fail, say, table
from services.registry import diffing, documents

T = TypeVar("T")
WITHIN_S = 10.0
Reference = Annotated[str, typer.Argument(help="NAME, NAME@LABEL or NAME@NUMBER.")]
Why = Annotated[str, typer.Option(help="Kept with the change, and in the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]

registry = typer.Typer(no_args_is_help=True, help="Prompt templates and model configurations: apply, label, roll out.")


class Called:
    """The registry's stub under one key."""

    def __init__(self, stub: registry_pb2_grpc.RegistryServiceStub, key: str) -> None:
        self._stub, self._metadata = stub, running.bearing(key)

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        call = getattr(self._stub, name)
        return lambda request: call(request, metadata=self._metadata, timeout=WITHIN_S)


def called(state: Path, key: str, work: Callable[[Called], Awaitable[T]]) -> T:
    """Does `work` with the registry of the mesh on `state`; a refusal ends the command with its words."""
    key = key_of(state, key)

    async def run() -> T:
        async with running.running(state).channel("registry") as channel:
            return await work(Called(registry_pb2_grpc.RegistryServiceStub(channel), key))

    return ran(run())


@registry.command("apply")
def apply(
    folder: Annotated[Path, typer.Argument(help="Files, one an artifact.", exists=True, file_okay=False)],
    why: Why = "",
    dry_run: DryRun = False,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Keeps what has changed in a folder as new versions, and points labels at them, as the files say."""
    try:
        found = artifacts.read(folder)
    except BadFile as fault:
        fail(str(fault))
    changed = called(state, key, lambda stub: _applied(stub, found, why, dry_run))
    word = "would change" if dry_run else "changed"
    err.print(f"[green]✓[/green] {changed} of {len(found)} {word}")


@registry.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Writes the newest version of every artifact into a folder, as `apply` reads it."""

    async def read(stub: Called) -> list[tuple[pb.Version, list[str]]]:
        made = []
        for one in await _all(stub):
            version = (await stub.GetVersion(pb.GetVersionRequest(reference=f"{one.name}@{one.newest}"))).version
            made.append((version, [label.label for label in one.labels if label.number == one.newest]))
        return made

    for version, labels in called(state, key, read):
        file = folder / f"{version.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(artifacts.written(version, labels))
        say(str(file))


@registry.command("list")
def list_artifacts(key: Key = "", state: State = running.STATE) -> None:
    """Lists the tenant's artifacts, and where their labels stand."""
    rows = [
        (one.name, pb.Kind.Name(one.kind).removeprefix("KIND_").lower(), str(one.newest),
         ", ".join(map(_standing, one.labels)))
        for one in called(state, key, _all)
    ]  # fmt: skip
    table(("artifact", "kind", "newest", "labels"), rows)


@registry.command("show")
def show(reference: Reference, key: Key = "", state: State = running.STATE) -> None:
    """Shows what a version says."""
    request = pb.GetVersionRequest(reference=reference)
    found: pb.Version = called(state, key, lambda stub: stub.GetVersion(request)).version
    err.print(
        f"{found.name}@{found.number} {found.digest} by {found.author} {found.created.ToDatetime():%Y-%m-%d %H:%M}"
    )
    for one in found.reviews:
        err.print(f"{'approved' if one.approved else 'rejected'} by {one.reviewer}: {one.note}")
    say(artifacts.written(found, []).rstrip())


@registry.command("diff")
def diff(before: Reference, after: Reference, key: Key = "", state: State = running.STATE) -> None:
    """Shows how two versions differ."""
    request = pb.DiffVersionsRequest(to=after, **{"from": before})
    say(called(state, key, lambda stub: stub.DiffVersions(request)).diff.rstrip())


@registry.command("render")
def render(
    reference: Reference,
    var: Annotated[list[str] | None, typer.Option(help="NAME=TEXT, or NAME:=JSON; repeatable.")] = None,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Shows the prompt that a template and its variables make."""
    values: dict[str, Any] = {}
    for one in var or ():
        name, equals, text = one.partition("=")
        if not equals:
            fail(f"--var {one}: say NAME=TEXT or NAME:=JSON")
        values[name.removesuffix(":")] = _json(one, text) if name.endswith(":") else text
    request = pb.ResolveRequest(reference=reference, variables_json=json.dumps(values))
    found = called(state, key, lambda stub: stub.Resolve(request))
    say(MessageToJson(found.resolution, preserving_proto_field_name=True))


@registry.command("review")
def review(
    reference: Annotated[str, typer.Argument(help="NAME@NUMBER.")],
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Yes or no.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Approves or rejects a version, as somebody else than who proposed it."""
    name, number = _numbered(reference)
    request = pb.ReviewVersionRequest(name=name, number=number, approve=approve, note=note)
    called(state, key, lambda stub: stub.ReviewVersion(request))
    err.print(f"[green]✓[/green] {reference} {'approved' if approve else 'rejected'}")


@registry.command("label")
def label(
    reference: Annotated[str, typer.Argument(help="NAME@NUMBER.")],
    name: Annotated[str, typer.Argument(help="Such as production.")],
    why: Why = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Points a label at a version. A rollout that it has ends."""
    artifact, number = _numbered(reference)
    moved = called(state, key, lambda stub: _moved(stub, artifact, name, number, why))
    err.print(f"[green]✓[/green] {artifact}@{name} is {moved.number}")


@registry.command("rollout")
def rollout(
    reference: Annotated[str, typer.Argument(help="The candidate: NAME@NUMBER.")],
    name: Annotated[str, typer.Argument(help="The label that it is to answer under.")] = "production",
    share: Annotated[float, typer.Option(help="Of requests, to begin with: 0.1 is one in ten.")] = 0.1,
    ramp: Annotated[str, typer.Option(help="Shares that follow: 0.25,0.5,1.")] = "",
    step_s: Annotated[float, typer.Option(help="How long each is kept at least.")] = 600.0,
    step_answers: Annotated[int, typer.Option(help="How many of the candidate's answers each needs.")] = 100,
    most_failures: Annotated[float, typer.Option(help="The share of its answers that may fail.")] = 0.02,
    slowest: Annotated[float, typer.Option(help="How many times slower it may be; 0 for no limit.")] = 0.0,
    promote: Annotated[bool, typer.Option(help="Move the label to it by itself at the end.")] = False,
    why: Why = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lets a candidate answer some of the requests. One that fails is taken back by itself."""
    artifact, number = _numbered(reference)
    step = Duration()
    step.FromMilliseconds(round(step_s * 1000))
    rules = pb.Rules(
        ramp=[float(_json(ramp, one)) for one in ramp.split(",") if one],
        step=step,
        step_answers=step_answers,
        most_failures=most_failures,
        slowest=slowest,
        promote=promote,
    )
    wanted = pb.Rollout(candidate=number, share=share, rules=rules)
    moved = called(state, key, lambda stub: _moved(stub, artifact, name, 0, why, wanted))
    err.print(f"[green]✓[/green] {_standing(moved)}")


@registry.command("status")
def status(
    artifact: Annotated[str, typer.Argument(help="Its name.")],
    name: Annotated[str, typer.Argument(help="The label.")] = "production",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Shows how a label's rollout goes."""
    request = pb.GetRolloutRequest(name=artifact, label=name)
    found: pb.GetRolloutResponse = called(state, key, lambda stub: stub.GetRollout(request))
    err.print(f"{_standing(found.label)}, moved by {found.label.moved_by} {found.label.why}".rstrip())
    arms = [("stable", found.stable), *([("candidate", found.candidate)] if found.HasField("candidate") else [])]
    rows = [
        (side, str(arm.number), str(arm.answers), str(arm.failed), f"{arm.mean.ToTimedelta().total_seconds():.3f} s")
        for side, arm in arms
    ]
    table(("", "version", "answers", "failed", "mean"), rows)
    if found.HasField("candidate"):
        err.print(f"evidence against the candidate: {found.evidence:.3g} of 100")


async def _applied(stub: Called, found: list[Artifact], why: str, dry_run: bool) -> int:
    changed = set[str]()
    for one in found:
        if dry_run and (waits := one.needs & changed):
            say(f"? {one.name}: not checked, since {', '.join(sorted(waits))} would change")
            changed.add(one.name)
            continue
        request = pb.ProposeVersionRequest(
            name=one.name, content=one.content, owner=one.owner, why=why, dry_run=dry_run
        )
        made = await stub.ProposeVersion(request)
        number = made.version.number
        if made.created:
            changed.add(one.name)
            say(f"+ {one.name}{f'@{number}' if number else ''}")
            if diff := await _changes(stub, made.version):
                say(diff.rstrip())
        for label in one.labels:
            standing = await _label(stub, one.name, label)
            if standing is None or standing.number != number:
                changed.add(one.name)
                was = standing.number if standing is not None else "new"
                say(f"  {one.name}@{label}: {was} > {number or 'the new version'}")
                if not dry_run:
                    await _moved(stub, one.name, label, number, why)
    return len(changed)


async def _changes(stub: Called, made: pb.Version) -> str:
    """How a new version, kept or not, differs from the one before; '' for the first."""
    if made.number == 1:
        return ""
    try:
        request = pb.ListVersionsRequest(name=made.name, page_size=1, page_token=str(made.number or ""))
        (before,) = (await stub.ListVersions(request)).versions
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return ""
        raise
    said = documents.document(before.content), documents.document(made.content)
    return diffing.unified(*said, f"{before.name}@{before.number}", f"{made.name}@{made.number or 'new'}")


async def _moved(
    stub: Called, artifact: str, name: str, number: int, why: str, rollout: pb.Rollout | None = None
) -> pb.Label:
    """Moves a label from where it stands; `number` 0 leaves its stable version."""
    standing = await _label(stub, artifact, name)
    request = pb.MoveLabelRequest(
        name=artifact,
        label=name,
        number=number or (standing.number if standing is not None else 0),
        revision=standing.revision if standing is not None else 0,
        rollout=rollout,
        why=why,
    )
    made: pb.Label = (await stub.MoveLabel(request)).label
    return made


async def _label(stub: Called, artifact: str, name: str) -> pb.Label | None:
    found = (await stub.ListLabels(pb.ListLabelsRequest(name=artifact))).labels
    return next((one for one in found if one.label == name), None)


async def _all(stub: Called) -> list[pb.Artifact]:
    def ask(token: str) -> Awaitable[pb.ListArtifactsResponse]:
        return stub.ListArtifacts(pb.ListArtifactsRequest(page_size=1000, page_token=token))

    return [one async for page in pages(ask) for one in page.artifacts]


def _standing(label: pb.Label) -> str:
    said = f"{label.label} {label.number}"
    return f"{said} + {label.rollout.candidate} at {label.rollout.share:.0%}" if label.HasField("rollout") else said


def _numbered(reference: str) -> tuple[str, int]:
    name, _, number = reference.partition("@")
    if not number.isdigit():
        fail(f"{reference}: say NAME@NUMBER; `tollway registry list` shows them")
    return name, int(number)


def _json(whole: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        fail(f"{whole}: {text} is not JSON")
