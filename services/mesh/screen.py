"""How the command speaks: facts that scripts read go to stdout, all else to stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

PIPED = 200
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One fact on stdout, unadorned."""
    sys.stdout.write(f"{text}\n")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    made = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        made.add_row(*row)
    # A pipe has no width: rows stay whole for those that read them line by line.
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED).print(made)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while the block lasts; what is yielded moves it by one."""
    with Progress(console=err, transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)


def fail(text: str) -> NoReturn:
    err.print(f"[red]✗[/red] {text}", soft_wrap=True)
    raise typer.Exit(1)
