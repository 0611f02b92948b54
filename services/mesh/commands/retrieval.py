"""`tollway retrieval`: documents in and out, how fresh sources are, what is parked, and how well things are found."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from rich.progress import Progress
from tollway.retrieval.v1 import retrieval_pb2 as pb
from tollway.retrieval.v1 import retrieval_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, pages, ran
from services.mesh.commands.facts import facts, required
from services.mesh.screen import err, fail, progress, say, table
from services.retrieval.formats import ENDINGS

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]
SHOWN, PAGE = 160, 1000
COUNTED = (pb.MIGRATION_STATE_COPYING, pb.MIGRATION_STATE_SWITCHED)

retrieval = typer.Typer(
    no_args_is_help=True, help="Documents that answers rest on: what is there, how fresh, how well found."
)
Collection = Annotated[str, typer.Option(help="The collection; all without it.")]


def called(
    state: Path, key: str, work: Callable[[retrieval_pb2_grpc.RetrievalServiceStub, Metadata], Awaitable[T]]
) -> T:
    async def run() -> T:
        async with running.running(state).channel("retrieval") as channel:
            return await work(retrieval_pb2_grpc.RetrievalServiceStub(channel), running.bearing(key_of(state, key)))

    return ran(run())


@retrieval.command("add")
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of them.", exists=True)],
    collection: Collection = "",
    readers: Annotated[
        str, typer.Option(help="Groups that may read them, with commas between; everybody without it.")
    ] = "",
    fact: Annotated[
        list[str] | None, typer.Option(help="A fact of theirs, as lang=en; several times for several.")
    ] = None,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Makes files searchable; one that cannot be read is told with its reason."""
    files = [(name, file) for path in paths for name, file in _files(path)]
    attributes = facts(fact or ())

    async def work(
        stub: retrieval_pb2_grpc.RetrievalServiceStub, metadata: Metadata
    ) -> list[pb.UpsertDocumentsResponse]:
        async def documents() -> AsyncIterator[pb.UpsertDocumentsRequest]:
            for name, file in files:
                yield pb.UpsertDocumentsRequest(
                    document=pb.Document(
                        document_id=name, collection=collection, title=file.stem, content=file.read_bytes(),
                        media_type=ENDINGS.get(file.suffix.lower(), ""), readers=[one for one in readers.split(",") if one],
                        attributes=attributes,
                    )
                )  # fmt: skip

        made: list[pb.UpsertDocumentsResponse] = []
        with progress("documents", len(files)) as step:
            async for one in stub.UpsertDocuments(documents(), metadata=metadata):
                made.append(one)
                step()
        return made

    made = called(state, key, work)
    bad = [one for one in made if one.fault]
    say(f"{len(made) - len(bad):,} documents are searchable, {sum(one.embedded for one in made):,} passages were new")
    for one in bad:
        say(f"parked: {one.document_id}: {one.fault}")
    if bad:
        raise typer.Exit(1)


@retrieval.command("search")
def search(
    query: Annotated[str, typer.Argument(help="The question.")],
    collection: Collection = "",
    limit: Annotated[int, typer.Option(help="How many passages.")] = 5,
    groups: Annotated[str, typer.Option(help="Groups that the asker is in, with commas between.")] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="What a document's facts must be: lang=en, lang=en|de, lang!=en, year>=2020; several times for all of it."
        ),
    ] = None,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Finds passages, each with what every way of searching gave."""
    request = pb.SearchRequest(
        query=query,
        collection=collection,
        limit=limit,
        groups=[one for one in groups.split(",") if one],
        where=required(where or ()),
    )
    found = called(state, key, lambda stub, metadata: stub.Search(request, metadata=metadata, timeout=30))
    if not found.passages:
        fail("nothing was found")
    table(
        ("score", "document", "version", "parts", "passage"),
        [
            (f"{one.score:.3f}", one.document_id, one.version[:8],
             " ".join(f"{name} {value:.2f}" for name, value in sorted(one.parts.items())),
             " ".join(one.text.split())[:SHOWN])
            for one in found.passages
        ],
    )  # fmt: skip


@retrieval.command("list")
def listed(
    collection: Collection = "",
    source: Annotated[str, typer.Option(help="What this source brought.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists documents that are searchable."""

    async def work(stub: retrieval_pb2_grpc.RetrievalServiceStub, metadata: Metadata) -> list[pb.DocumentInfo]:
        def ask(token: str) -> Awaitable[pb.ListDocumentsResponse]:
            request = pb.ListDocumentsRequest(collection=collection, source=source, page_size=PAGE, page_token=token)
            return stub.ListDocuments(request, metadata=metadata, timeout=30)

        return [one async for page in pages(ask) for one in page.documents]

    table(
        ("collection", "document", "version", "passages", "source", "searchable since"),
        [
            (one.collection, one.document_id, one.version[:8], str(one.chunks), one.source,
             one.indexed.ToDatetime().isoformat(" ", "seconds"))
            for one in called(state, key, work)
        ],
    )  # fmt: skip


@retrieval.command("remove")
def remove(
    ids: Annotated[list[str], typer.Argument(help="Documents.")],
    collection: Collection = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Takes documents away; no search finds them any more."""
    request = pb.DeleteDocumentsRequest(collection=collection, document_ids=ids)
    gone = called(state, key, lambda stub, metadata: stub.DeleteDocuments(request, metadata=metadata, timeout=60))
    say(f"{gone.deleted:,} documents removed")


@retrieval.command("collections")
def collections(
    drop: Annotated[str, typer.Option(help="Take this one away, with all its documents.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists collections, and how many documents each has."""
    if drop:
        request = pb.DeleteCollectionRequest(name=drop)
        gone = called(state, key, lambda stub, metadata: stub.DeleteCollection(request, metadata=metadata, timeout=600))
        if not gone.deleted:
            fail(f"there is no collection {drop}")
        say(f"{drop} is gone, with {gone.documents:,} documents")
        return

    async def work(stub: retrieval_pb2_grpc.RetrievalServiceStub, metadata: Metadata) -> list[pb.Collection]:
        def ask(token: str) -> Awaitable[pb.ListCollectionsResponse]:
            request = pb.ListCollectionsRequest(page_size=PAGE, page_token=token)
            return stub.ListCollections(request, metadata=metadata, timeout=30)

        return [one async for page in pages(ask) for one in page.collections]

    table(
        ("collection", "title", "documents", "parked", "unused, it goes at"),
        [
            (one.name, one.title, f"{one.documents:,}", f"{one.parked:,}", _goes(one))
            for one in called(state, key, work)
        ],
    )


@retrieval.command("sources")
def sources(key: Key = "", state: State = running.STATE) -> None:
    """How sources fare: documents, and how long a change took to be searchable."""
    found = called(
        state, key, lambda stub, metadata: stub.ListSources(pb.ListSourcesRequest(), metadata=metadata, timeout=30)
    )
    if not found.sources:
        fail("no source is set: docs/documents.md tells how")
    rows = [
        (one.name, one.kind, one.collection, "yes" if one.running else one.fault or "elsewhere", f"{one.documents:,}",
         f"{one.parked:,}", f"{one.changes:,}", f"{one.in_time / one.changes:.1%}" if one.changes else "-",
         _seconds(one.lag_p50), _seconds(one.lag_p99), _seconds(one.promised))
        for one in found.sources
    ]  # fmt: skip
    table(("source", "kind", "collection", "running", "documents", "parked", "changes", "in time", "p50", "p99", "promised"), rows)  # fmt: skip


@retrieval.command("resync")
def resync(
    name: Annotated[str, typer.Argument(help="The source.")], key: Key = "", state: State = running.STATE
) -> None:
    """Reads a source from its beginning; what has not changed is not encoded again."""
    request = pb.ResyncSourceRequest(name=name)
    called(state, key, lambda stub, metadata: stub.ResyncSource(request, metadata=metadata, timeout=30))
    say(f"{name} is read again")


@retrieval.command("parked")
def parked(
    collection: Collection = "",
    retry: Annotated[bool, typer.Option(help="Try those of the collection again.")] = False,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Documents that could not be made searchable, each with its reason."""
    if retry:
        again = pb.RetryParkedRequest(collection=collection)
        made = called(state, key, lambda stub, metadata: stub.RetryParked(again, metadata=metadata, timeout=600))
        say(f"{sum(not one.fault for one in made.results):,} of {len(made.results):,} are searchable now")
    request = pb.ListParkedRequest(collection=collection, page_size=PAGE)
    found = called(state, key, lambda stub, metadata: stub.ListParked(request, metadata=metadata, timeout=30))
    rows = [(one.collection, one.document_id, one.source, str(one.tries), one.reason) for one in found.parked]
    table(("collection", "document", "source", "tries", "reason"), rows)


@retrieval.command("eval")
def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            help="A line of JSON for each question: query, relevant (ids, or id: gain), answer.", exists=True
        ),
    ],
    name: Annotated[
        str, typer.Option(help="Name of the set; runs of one name are compared. The file's own without it.")
    ] = "",
    collection: Collection = "",
    most_drift: Annotated[float, typer.Option(help="Fail when nDCG fell by more than this since the last run.")] = 1.0,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Asks questions whose answers are known: recall, nDCG, how many answers the context holds, and drift since the last run."""
    request = pb.EvaluateRequest(name=name or file.stem, collection=collection, cases=list(_cases(file)))
    made = called(state, key, lambda stub, metadata: stub.Evaluate(request, metadata=metadata, timeout=3600))
    measured = [("recall@100", made.recall_100), ("nDCG@10", made.ndcg_10)]
    measured += [("coverage", made.coverage)] if made.HasField("coverage") else []
    measured += [("drift of nDCG", made.drift)] if made.HasField("drift") else []
    table(
        ("", "mean", "95 %"),
        [(one, f"{value.mean:.4f}", f"{value.low:.4f} to {value.high:.4f}") for one, value in measured],
    )
    if made.moved:
        table(
            ("moved", "before", "now"),
            [(one.query[:SHOWN], f"{one.before:.3f}", f"{one.now:.3f}") for one in made.moved],
        )
    if made.drift.mean < -most_drift:
        raise typer.Exit(1)


@retrieval.command("migrate")
def migrate(
    to: Annotated[str, typer.Argument(help="The generation to move to, by its name in the settings.")] = "",
    tolerance: Annotated[float, typer.Option(help="How much less it may find of sampled passages.")] = 0.05,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Give up the move that is under way, or that failed.")
    ] = False,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Moves everything to another store or embedding model while searches go on. Without a name: watches the move that there is."""

    async def work(stub: retrieval_pb2_grpc.RetrievalServiceStub, metadata: Metadata) -> pb.WatchMigrationResponse:
        if cancel:
            await stub.CancelMigration(pb.CancelMigrationRequest(), metadata=metadata, timeout=30)
        elif to:
            request = pb.StartMigrationRequest(to=to, tolerance=tolerance)
            await stub.StartMigration(request, metadata=metadata, timeout=30)
        last = pb.WatchMigrationResponse()
        with Progress(*Progress.get_default_columns(), console=err, transient=True) as bars:
            task = bars.add_task("", total=None)
            async for last in stub.WatchMigration(pb.WatchMigrationRequest(), metadata=metadata):
                total = last.documents if last.state in COUNTED else None
                words = f"{_word(last)}: {last.fault}" if last.fault else _word(last)
                bars.update(task, description=words, completed=last.looked_at, total=total)
        return last

    last = called(state, key, work)
    if last.state == pb.MIGRATION_STATE_UNSPECIFIED:
        fail("there was no move: name the generation to move to")
    say(f"{last.to}: {_word(last)}, {last.copied:,} documents copied")
    if last.recall_before or last.recall_now:
        say(f"recall of sampled passages {last.recall_now:.3f}, before {last.recall_before:.3f}")
    if last.fault:
        fail(last.fault)


def _word(move: pb.WatchMigrationResponse) -> str:
    return pb.MigrationState.Name(move.state).removeprefix("MIGRATION_STATE_").lower()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield str(file.relative_to(path)), file


def _cases(file: Path) -> Iterator[pb.Case]:
    for n, line in enumerate(file.read_text().splitlines(), 1):
        try:
            said = json.loads(line)
            relevant = said["relevant"]
            gains = relevant if isinstance(relevant, dict) else dict.fromkeys(relevant, 1.0)
            yield pb.Case(query=said["query"], relevant=gains, answer=said.get("answer", ""))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fail(f"{file}, line {n}: {type(error).__name__}: a line has query, relevant and perhaps answer")


def _goes(one: pb.Collection) -> str:
    """When it goes, where nobody uses it until then."""
    if not one.HasField("idle_for"):
        return ""
    return (one.used.ToDatetime() + one.idle_for.ToTimedelta()).isoformat(" ", "minutes")


def _seconds(span: Duration) -> str:
    seconds = span.ToTimedelta().total_seconds()
    return f"{seconds:.2f} s" if seconds else "-"
