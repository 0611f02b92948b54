"""Inputs of quality benchmarks: their rows, and which of them a shipped artefact was fitted on."""

import csv
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

DIGEST = 6


def jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def fitted(artefact: Path) -> frozenset[bytes]:
    """Digests of the texts that an artefact was fitted on, from beside its card."""
    raw = artefact.read_bytes() if artefact.exists() else b""
    return frozenset(raw[n : n + DIGEST] for n in range(0, len(raw), DIGEST))


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()[:DIGEST]


def unseen(rows: list[Any], known: frozenset[bytes], *fields: str) -> tuple[list[Any], int]:
    """Rows of which no field was fitted, and how many were left out."""
    kept = [row for row in rows if not any(digest(row[name]) in known for name in fields)]
    return kept, len(rows) - len(kept)
