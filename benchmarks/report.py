"""How benchmarks speak: progress on stderr, a table, and one JSON object as the last line of stdout."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

T = TypeVar("T")
err = Console(stderr=True, highlight=False)


def progress(items: Sequence[T], words: str) -> Iterable[T]:
    """`items`, with a bar on stderr."""
    return track(items, words, console=err, transient=True)


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    made = Table(*heads, title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        made.add_row(*(shown(cell) for cell in row))
    Console(highlight=False, width=160).print(made)


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def finish(facts: dict[str, Any]) -> None:
    """The last line: one JSON object."""
    sys.stdout.write(json.dumps(rounded(facts)) + "\n")


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.6g}")
    return int(value) if isinstance(value, np.integer) else value


def percentiles(samples: Sequence[float] | npt.NDArray[Any]) -> tuple[float, float]:
    """The 50th and 99th."""
    p50, p99 = np.percentile(np.asarray(samples, float), [50, 99])
    return float(p50), float(p99)
