"""How well attacks are told from harmless prompts: `python -m benchmarks.injection_quality FILE.jsonl`.

Rows have text and label (1 = attack). Accuracy is at one half; the share that the default policy blocks is told beside
it, and what changes when MiniLM is asked only where that policy's limit is within its reach, as requests are judged. Rows that the shipped classifier was fitted on are counted and left out.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import report, rows
from benchmarks.local_encoder import LocalEncoder
from services.guard.injection import Injection
from services.guard.opinion import MiniLM, Opinion
from services.guard.policies import Policies

FITTED = Path("services/guard/artefacts/injection.fitted")


def auc(scores: Any, labels: Any) -> float:
    """Mann and Whitney's: the chance that an attack scores above a harmless prompt, ties counted half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    good, bad = int((labels == 1).sum()), int((labels == 0).sum())
    return float((ranks[labels == 1].sum() - good * (good + 1) / 2) / (good * bad))


async def judged(
    found: list[dict[str, Any]], encoder: LocalEncoder, opinion: Opinion, limit: float = 0.0
) -> tuple[list[float], list[float]]:
    """Probabilities, and seconds for each."""
    scores, times = [], []
    for row in report.progress(found, "prompts"):
        vector = encoder.static.encode(row["text"])
        began = time.perf_counter()
        scores.append(await opinion.probability(row["text"], vector, limit))
        times.append(time.perf_counter() - began)
    return scores, times


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", type=Path)
    args = asked.parse_args()
    found, left_out = rows.unseen(rows.jsonl(args.file), rows.fitted(FITTED), "text")
    encoder = LocalEncoder()
    opinion = Opinion(Injection(), MiniLM(encoder))  # type: ignore[arg-type]
    scores, times = uvloop.run(judged(found, encoder, opinion))
    chances, labels = np.array(scores), np.array([int(row["label"]) for row in found])
    limit, proved = Policies().of("*").user_injection, encoder.proved
    reached, _ = uvloop.run(judged(found, encoder, opinion, limit))
    p50, p99 = report.percentiles(times)
    made: dict[str, Any] = {
        "rows": len(found),
        "left_out_as_fitted": left_out,
        "accuracy": float(((chances >= 0.5) == labels).mean()),
        "blocked_by_default_policy": {
            name: float((chances[labels == label] >= limit).mean())
            for name, label in (("attacks", 1), ("harmless", 0))
            if (labels == label).any()
        },
        "met_minilm": proved / len(found),
        "by_the_limit": {
            "met_minilm": (encoder.proved - proved) / len(found),
            "decisions_changed": int(((np.array(reached) >= limit) != (chances >= limit)).sum()),
        },
        "p50_us": p50 * 1e6,
        "p99_us": p99 * 1e6,
    }
    if 0 < labels.sum() < len(labels):
        bound = float(np.quantile(chances[labels == 0], 0.99))
        made |= {"auc": auc(chances, labels), "recall_at_1pct_fpr": float((chances[labels == 1] > bound).mean())}
    report.table(
        args.file.name, ("measure", "value"), [(name, str(report.rounded(value))) for name, value in made.items()]
    )
    report.finish(made)


if __name__ == "__main__":
    main()
