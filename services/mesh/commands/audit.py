"""`tollway audit`: who changed what, and whether the log is as it was written."""

import json
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from tollway.registry.v1 import registry_pb2 as pb

from services.mesh import running
from services.mesh.commands.calling import Key, State, pages
from services.mesh.commands.registry import Called, called
from services.mesh.screen import err, fail, say, table
from services.registry.audit import Broken, Entry, verified

audit = typer.Typer(no_args_is_help=True, help="The audit log: list, export, verify.")
STDIN = "-"


@audit.command("list")
def list_entries(
    last: Annotated[int, typer.Option(help="How many, the newest at the end.")] = 20,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists the newest entries."""
    rows = []
    for one in called(state, key, _all)[-last:]:
        said = json.loads(one.json)
        after = ", ".join(f"{name} {value}" for name, value in (said["after"] or {}).items() if value not in ("", 0))
        rows.append((str(one.sequence), said["at"][:19], said["actor"], said["action"], said["target"], after))
    table(("entry", "at (UTC)", "who", "did", "to", "now"), rows)


@audit.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to; standard output without one.")] = None,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Writes the whole log, an entry a line, as `verify` reads it."""
    found = called(state, key, _all)
    text = "".join(json.dumps({"sequence": one.sequence, "json": one.json, "hash": one.hash}) + "\n" for one in found)
    if file is None:
        sys.stdout.write(text)
        return
    file.write_text(text)
    err.print(f"[green]✓[/green] {len(found)} entries, the last {found[-1].hash if found else 'none'}")


@audit.command("verify")
def verify(
    file: Annotated[str, typer.Argument(help="An export; - for standard input; the mesh's own log without one.")] = "",
    head: Annotated[str, typer.Option(help="The hash that the last entry must have, as you kept it elsewhere.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Checks that no entry was altered, taken out or put in. A file is checked without any mesh."""
    entries = list(_read(file)) if file else called(state, key, _all)
    try:
        last = verified(entries)
    except Broken as fault:
        fail(str(fault))
    if head and (last is None or last.hash != head):
        fail(f"the log does not end with {head}: entries are missing at its end, or others were written")
    err.print(f"[green]✓[/green] {len(entries)} entries are as they were written")
    if last is not None:
        say(last.hash)


async def _all(stub: Called) -> list[Entry]:
    def ask(token: str) -> Awaitable[pb.ListAuditResponse]:
        return stub.ListAudit(pb.ListAuditRequest(page_size=1000, page_token=token))

    return [Entry(one.sequence, one.json, one.hash) async for page in pages(ask) for one in page.entries]


def _read(file: str) -> Iterator[Entry]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")
    for n, line in enumerate(text.splitlines(), 1):
        try:
            said = json.loads(line)
            yield Entry(said["sequence"], said["json"], said["hash"])
        except (ValueError, TypeError, KeyError):
            fail(f"{file}: line {n} is no entry of an export")
