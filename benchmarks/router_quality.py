"""How well the router tells who needs the strong model: `python -m benchmarks.router_quality FILE.csv`.

Rows have prompt, weak_correct and strong_correct. Prompts are ordered by predicted need and the share sent to the
strong model is swept from 0 to 1; APGR, CPT and the shares are as RouteLLM defines them, intervals by bootstrap. Rows
that the shipped model was fitted on are counted and left out. Baselines in the same run: random, prompt length, TF-IDF
with logistic regression fitted across the same rows in five folds (where scikit-learn is installed), and the oracle.
"""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import report, rows
from services.encoder.app import tokenizer
from services.encoder.static import StaticEncoder
from services.router.predictor import Predictor
from services.router.quality import Curve, ece

FITTED = Path("services/router/artefacts/router.fitted")
BOOTSTRAPS = 300
Array = npt.NDArray[np.float64]


def measures(curve: Curve) -> dict[str, float]:
    return {
        "apgr": curve.apgr,
        "cpt50": curve.cpt(0.5),
        "cpt80": curve.cpt(0.8),
        "strong_share_at_95": curve.share_at(0.95),
        "strong_share_at_99": curve.share_at(0.99),
    }


def intervals(weak: Array, strong: Array, need: Array) -> dict[str, list[float]]:
    """95 % of bootstrap samples."""
    chance, seen = np.random.default_rng(1), []
    for _ in report.progress(range(BOOTSTRAPS), "bootstrap"):
        pick = chance.integers(0, len(weak), len(weak))
        if strong[pick].mean() > weak[pick].mean():
            seen.append(measures(Curve(weak[pick], strong[pick], need[pick])))
    return {name: np.quantile([one[name] for one in seen], [0.025, 0.975]).tolist() for name in seen[0]}


def tfidf(prompts: list[str], weak: Array, strong: Array) -> Array | None:
    """Out-of-fold chance that the strong model is needed."""
    if importlib.util.find_spec("sklearn") is None:
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    x = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(prompts)
    need = np.zeros(len(prompts))
    wanted = (strong > weak).astype(int)
    for fit, rest in KFold(5, shuffle=True, random_state=1).split(prompts):
        if 0 < wanted[fit].sum() < len(fit):
            need[rest] = LogisticRegression(max_iter=500).fit(x[fit], wanted[fit]).predict_proba(x[rest])[:, 1]
    return need


def plotted(curves: dict[str, Curve], file: Path) -> None:
    """Quality against the share of strong calls, as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4.2))
    for name, curve in curves.items():
        axis.plot(curve.shares, curve.accuracy, lw=2.2 if name == "router" else 1.2, label=f"{name}, {curve.apgr:.2f}")
    axis.axhline(0.95 * curves["router"].strong, color="#888888", lw=0.8, ls="--")
    axis.set_xlabel("share of calls sent to the strong model (cost)")
    axis.set_ylabel("share of right answers (quality)")
    axis.legend(title="APGR", fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("file", type=Path)
    asked.add_argument("--plot", type=Path, help="write the curves as SVG")
    args = asked.parse_args()
    found, left_out = rows.unseen(rows.table(args.file), rows.fitted(FITTED), "prompt")
    if not found:
        asked.error(f"the router was fitted on all {left_out} rows of the file; its card tells what rows left out gave")
    encoder, predictor = StaticEncoder(tokenizer()), Predictor()
    made = [
        predictor.predict(row["prompt"], encoder.encode(row["prompt"])) for row in report.progress(found, "prompts")
    ]
    weak, strong = (np.array([float(row[name]) for row in found]) for name in ("weak_correct", "strong_correct"))
    prompts = [row["prompt"] for row in found]
    needs: dict[str, Array | None] = {
        "router": np.array([one.strong - one.weak for one in made]),
        "random": np.random.default_rng(1).random(len(found)),
        "length": np.array([float(len(prompt)) for prompt in prompts]),
        "tfidf": tfidf(prompts, weak, strong),
        "oracle": strong - weak,
    }
    curves = {name: Curve(weak, strong, need) for name, need in needs.items() if need is not None}
    facts: dict[str, Any] = {
        "rows": len(found),
        "left_out_as_fitted": left_out,
        **measures(curves["router"]),
        "ece": (ece(np.array([one.weak for one in made]), weak) + ece(np.array([one.strong for one in made]), strong))
        / 2,
        "intervals": intervals(weak, strong, needs["router"]),  # type: ignore[arg-type]
        "baselines": {name: measures(curve) for name, curve in curves.items() if name != "router"},
    }
    heads = ("", "APGR", "CPT(50)", "CPT(80)", "strong at 95 %", "strong at 99 %")
    report.table(
        f"{args.file.name}: {len(found)} rows",
        heads,
        [(name, *measures(curve).values()) for name, curve in curves.items()],
    )
    if args.plot:
        plotted(curves, args.plot)
    report.finish(facts)


if __name__ == "__main__":
    main()
