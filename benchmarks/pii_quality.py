"""How much private data the guard finds, and how much it invents: `python -m benchmarks.pii_quality FILE.jsonl`.

Rows have text and spans of start, end and type; `scored_types` limits what counts, otherwise the types that the file's
spans have. Overlap: a gold span is found when half of its characters are covered by predictions of its type, a
prediction is right when half of its characters lie in gold of that type. Exact: both ends agree. Rows that the shipped
tagger was fitted on are counted and left out; `--all` scores them, too. `--peer presidio` runs Microsoft Presidio in
the same run, where it is installed (`make bench-peers`).
"""

import argparse
import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, rows
from services.guard.app import detector

FITTED = Path("services/guard/artefacts/names.fitted")
PRESIDIO = Path(".tools/peers/presidio/bin/python")
SAME = {
    "US_DRIVER_LICENSE": "DRIVER_LICENSE", "US_PASSPORT": "PASSPORT", "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE",
    "GPE": "LOCATION", "STREET_ADDRESS": "ADDRESS", "IBAN_CODE": "IBAN", "DOMAIN_NAME": "URL", "ZIP_CODE": "ZIP",
    "ORG": "ORGANIZATION",
}  # fmt: skip
"""Names that other tools and sets have for our types."""
Span = tuple[int, int, str]


class Score:
    def __init__(self) -> None:
        self.found = self.gold = self.right = self.said = 0

    @property
    def facts(self) -> dict[str, float]:
        recall = self.found / self.gold if self.gold else 0.0
        precision = self.right / self.said if self.said else 0.0
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        f2 = 5 * precision * recall / (4 * precision + recall) if both else 0.0
        return {"precision": precision, "recall": recall, "f1": f1, "f2": f2, "gold": self.gold, "predicted": self.said}


def kind(name: str) -> str:
    return SAME.get(name, name)


def scored(gold: Sequence[Sequence[Span]], said: Sequence[Sequence[Span]], *, exact: bool) -> dict[str, Score]:
    """By type, and `*` for all."""
    scores: defaultdict[str, Score] = defaultdict(Score)
    for mine, theirs in zip(gold, said, strict=True):
        for span in mine:
            hit = span in theirs if exact else _covered(span, theirs)
            for name in (span[2], "*"):
                scores[name].gold += 1
                scores[name].found += hit
        for span in theirs:
            hit = span in mine if exact else _covered(span, mine)
            for name in (span[2], "*"):
                scores[name].said += 1
                scores[name].right += hit
    return scores


def _covered(span: Span, others: Sequence[Span]) -> bool:
    covered = sum(max(0, min(span[1], end) - max(span[0], start)) for start, end, name in others if name == span[2])
    return 2 * covered >= span[1] - span[0]


def measured(
    find: Callable[[str], list[Span]], found: list[dict[str, Any]], words: str
) -> tuple[list[list[Span]], list[float]]:
    said, times = [], []
    for row in report.progress(found, words):
        began = time.perf_counter()
        said.append(find(row["text"]))
        times.append(time.perf_counter() - began)
    return said, times


def ours() -> Callable[[str], list[Span]]:
    guard = detector()
    guard.find("Ada Lovelace, +44 20 7946 0958")
    return lambda text: [(one.start, one.end, kind(one.type)) for one in guard.find(text)]


def facts(gold: list[list[Span]], said: list[list[Span]], times: list[float], kept: list[set[str]]) -> dict[str, Any]:
    wanted = [[span for span in spans if span[2] in types] for spans, types in zip(said, kept, strict=True)]
    overlap, exact = scored(gold, wanted, exact=False), scored(gold, wanted, exact=True)
    p50, p99 = report.percentiles(times)
    empty = [bool(spans) for spans, truth in zip(wanted, gold, strict=True) if not truth]
    return {
        "overlap": overlap["*"].facts,
        "exact": exact["*"].facts,
        "by_type": {name: score.facts for name, score in sorted(overlap.items()) if name != "*"},
        "messages_per_second": len(times) / sum(times),
        "p50_ms": p50 * 1e3,
        "p99_ms": p99 * 1e3,
        "false_alarms_on_rows_without_any": sum(empty) / len(empty) if empty else 0.0,
    }


def presidio(found: list[dict[str, Any]]) -> tuple[list[list[Span]], list[float]]:
    """Presidio in its own environment: its dependencies are not ours."""
    program = [str(PRESIDIO), "benchmarks/presidio_peer.py"]
    asked = "\n".join(json.dumps(row["text"]) for row in found)
    out = subprocess.run(program, input=asked, stdout=subprocess.PIPE, text=True, check=True).stdout
    answers = [json.loads(line) for line in out.splitlines()]
    said = [[(start, end, kind(name)) for start, end, name in answer["spans"]] for answer in answers]
    return said, [answer["seconds"] for answer in answers]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", type=Path)
    asked.add_argument("--peer", choices=["presidio"])
    asked.add_argument("--all", action="store_true", help="score rows that the tagger was fitted on, too")
    args = asked.parse_args()
    every = rows.jsonl(args.file)
    found, left_out = (every, 0) if args.all else rows.unseen(every, rows.fitted(FITTED), "text")
    if not found:
        asked.error(f"the tagger was fitted on all {left_out} rows of the file: --all scores them nonetheless")
    gold = [[(one["start"], one["end"], kind(one["type"])) for one in row["spans"]] for row in found]
    usual = {span[2] for spans in gold for span in spans}
    kept = [set(map(kind, row.get("scored_types") or usual)) for row in found]
    gold = [[span for span in spans if span[2] in types] for spans, types in zip(gold, kept, strict=True)]
    said, times = measured(ours(), found, "guard")
    made = {"rows": len(found), "left_out_as_fitted": left_out, **facts(gold, said, times, kept)}
    lines = [("guard", *_row(made))]
    if args.peer:
        if not PRESIDIO.exists():
            asked.error("Presidio is not installed: make bench-peers")
        peer_said, peer_times = presidio(found)
        made["peer"] = facts(gold, peer_said, peer_times, kept)
        made["speedup_vs_peer"] = made["messages_per_second"] / made["peer"]["messages_per_second"]
        lines.append(("presidio", *_row(made["peer"])))
    heads = ("", "precision", "recall", "F1", "F2", "exact F1", "messages/s", "p50 ms", "p99 ms")
    report.table(f"{args.file.name}: {len(found)} rows, {left_out} fitted left out", heads, lines)
    by_type = [
        (name, *(score[key] for key in ("precision", "recall", "f1", "gold")))
        for name, score in made["by_type"].items()
    ]
    report.table("by type, overlap", ("type", "precision", "recall", "F1", "gold"), by_type)
    report.finish(made)


def _row(made: dict[str, Any]) -> tuple[float, ...]:
    overlap = made["overlap"]
    return (overlap["precision"], overlap["recall"], overlap["f1"], overlap["f2"], made["exact"]["f1"],
            made["messages_per_second"], made["p50_ms"], made["p99_ms"])  # fmt: skip


if __name__ == "__main__":
    main()
