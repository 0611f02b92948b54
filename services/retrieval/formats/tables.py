"""CSV and JSON: rows and leaves with their names, so that a passage tells what its values are."""

import csv as rows
import io
import json as tree
from collections.abc import Iterator
from typing import Any

from services.retrieval.chunks import Shape
from services.retrieval.formats import Text, Unreadable, decoded

SAMPLE = 8192
DEEPEST = 64


def csv(content: bytes) -> Text:
    """Each row is a paragraph of `name: value`, the names from the first row.

    Raises:
        Unreadable
    """
    text = decoded(content)
    try:
        dialect: Any = rows.Sniffer().sniff(text[:SAMPLE], ",;\t|")
    except rows.Error:
        dialect = rows.excel
    try:
        found = list(rows.reader(io.StringIO(text, newline=""), dialect))
    except rows.Error as error:
        raise Unreadable(f"it is no CSV: {error}") from None
    if len(found) < 2:
        return Text(text)
    names = [name.strip() or f"column {n + 1}" for n, name in enumerate(found[0])]
    told = (
        "\n".join(f"{names[n] if n < len(names) else f'column {n + 1}'}: {value.strip()}" for n, value in enumerate(row) if value.strip())
        for row in found[1:]
    )  # fmt: skip
    return Text("\n\n".join(filter(None, told)))


def json(content: bytes) -> Text:
    """Each object is a paragraph of `path: value`; those of the outermost level are headings.

    Raises:
        Unreadable
    """
    try:
        whole = tree.loads(decoded(content))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {type(error).__name__}") from None
    if not isinstance(whole, dict) or not any(isinstance(one, dict | list) for one in whole.values()):
        return Text("\n\n".join(filter(None, _paragraphs(whole, ""))))
    parts = (f"# {name}\n\n" + "\n\n".join(filter(None, _paragraphs(value, name))) for name, value in whole.items())
    return Text("\n\n".join(parts), Shape.MARKDOWN)


def _paragraphs(value: Any, path: str, depth: int = 0) -> Iterator[str]:
    if depth > DEEPEST:
        raise Unreadable(f"it is more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        plain = {name: one for name, one in value.items() if not isinstance(one, dict | list)}
        yield "\n".join(f"{_under(path, name)}: {_said(one)}" for name, one in plain.items())
        for name, one in value.items():
            if name not in plain:
                yield from _paragraphs(one, _under(path, name), depth + 1)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for one in value:
            yield from _paragraphs(one, path, depth + 1)
    elif isinstance(value, list):
        yield f"{path}: {', '.join(map(_said, value))}" if path else "\n".join(map(_said, value))
    else:
        yield f"{path}: {_said(value)}" if path else _said(value)


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _said(value: Any) -> str:
    return value if isinstance(value, str) else tree.dumps(value)
