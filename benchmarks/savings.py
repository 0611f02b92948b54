"""Money saved at equal quality: `python -m benchmarks.savings FILE.csv`.

Replays prompts whose answers by a weak and a strong model are graded, at the real prices of `genai-prices` for the two
models named, against sending everything to the strong one. The share sent to the strong model is the smallest that keeps
95 % of its quality, chosen on one half of the rows and measured on the other, and the other way round.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report, rows
from services.encoder.app import tokenizer
from services.encoder.static import StaticEncoder
from services.ledger.prices import PriceBook, Tokens
from services.router.predictor import Predictor
from services.router.quality import Curve

FITTED = Path("services/router/artefacts/router.fitted")
KEPT = 0.95
ANSWER_TOKENS = 300


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", type=Path)
    asked.add_argument("--weak", default="mistral:open-mixtral-8x7b", help="provider:model")
    asked.add_argument("--strong", default="openai:gpt-4-turbo", help="provider:model")
    asked.add_argument("--all", action="store_true", help="replay rows that the router was fitted on, too")
    args = asked.parse_args()
    every = rows.table(args.file)
    found, left_out = (every, 0) if args.all else rows.unseen(every, rows.fitted(FITTED), "prompt")
    if not found:
        asked.error(f"the router was fitted on all {left_out} rows of the file: --all replays them nonetheless")
    encoder, predictor = StaticEncoder(tokenizer()), Predictor()
    made = [
        predictor.predict(row["prompt"], encoder.encode(row["prompt"])) for row in report.progress(found, "prompts")
    ]
    need = np.array([one.strong - one.weak for one in made])
    weak, strong = (np.array([float(row[name]) for row in found]) for name in ("weak_correct", "strong_correct"))
    prices = {name: _prices(getattr(args, name), found) for name in ("weak", "strong")}
    spent = whole = quality = best = 0.0
    halves = np.random.default_rng(1).random(len(found)) < 0.5
    for tuned in (halves, ~halves):
        share = Curve(weak[tuned], strong[tuned], need[tuned]).share_at(KEPT)
        bound, rest = np.quantile(need[tuned], 1 - share), ~tuned
        chosen = need >= bound
        spent += float(np.where(chosen, prices["strong"], prices["weak"])[rest].sum())
        whole += float(prices["strong"][rest].sum())
        quality += float(np.where(chosen, strong, weak)[rest].sum())
        best += float(strong[rest].sum())
    facts: dict[str, Any] = {
        "rows": len(found), "left_out_as_fitted": left_out, "saved": 1 - spent / whole, "quality_ratio": quality / best,
        "always_strong_usd": whole / 1e9, "routed_usd": spent / 1e9, "weak": args.weak, "strong": args.strong,
    }  # fmt: skip
    report.table("against always strong", ("measure", "value"), [(k, v) for k, v in facts.items()])
    report.finish(facts)


def _prices(name: str, found: list[dict[str, str]]) -> Any:
    """Nano-dollars for each row: a token for four bytes in, a usual answer out."""
    provider, _, model = name.partition(":")
    book, at = PriceBook({}), datetime.now(UTC)
    return np.array([
        book.cost(name, provider, model, Tokens(len(row["prompt"].encode()) // 4, ANSWER_TOKENS), at) for row in found
    ])  # fmt: skip


if __name__ == "__main__":
    main()
