"""Trains the verifier: `python -m services.cache.training.verifier DATA_DIR [--texts FILE ...]`.

What it is fitted on is told in `cases.py`. Each question is asked of a store that holds the others, so that the verifier
learns what a rival's nearness means, with and without its own answer there. Boosted trees are fitted (Ke et al. 2017, as in
scikit-learn); Platt's method calibrates them on stored texts that were held out.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from services.cache.likeness import NAMES
from services.cache.training.cases import Likeness, gathered
from services.cache.verifier import ARTEFACTS

FORESTS = 5
WEIGHTS = {"gptcache": 8.0, "gptcache-absent": 8.0, "banking77": 4.0, "banking77-absent": 4.0}
"""What people wrote counts for more than what rules made of it, of which there is more."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("--texts", type=Path, nargs="*", default=[])
    args = asked.parse_args()
    found = gathered(args.data, args.texts, Likeness())
    cases, x, y, held = found.cases, found.facts, found.labels, found.held
    weights = np.array([float(WEIGHTS.get(kind, 1.0)) for *_, kind in cases])
    grown = [
        HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.06,
            max_leaf_nodes=15,
            l2_regularization=1.0,
            max_features=0.4,
            random_state=seed,
        ).fit(x[~held], y[~held], weights[~held])
        for seed in range(FORESTS)
    ]
    raw = np.mean([one.decision_function(x) for one in grown], axis=0)
    platt = LogisticRegression(C=1e3).fit(raw[held, None], y[held])
    p = platt.predict_proba(raw[:, None])[:, 1]
    auc = float(roc_auc_score(y[held], p[held]))
    bins = np.clip((p[held] * 10).astype(int), 0, 9)
    ece = sum(
        abs(p[held][bins == n].mean() - y[held][bins == n].mean()) * (bins == n).mean()
        for n in range(10)
        if (bins == n).any()
    )
    print(f"{len(cases)} pairs, held-out AUC {auc:.4f}, calibration error {ece:.4f}")
    for kind in sorted({(kind, label) for *_, label, kind in cases}):
        here = held & np.array([(one, label) == kind for *_, label, one in cases])
        print(f"  {kind!s:30} {here.sum():5}  served at 0.9: {(p[here] >= 0.9).mean():.3f}")
    made = _exported(grown, platt)
    told = np.asarray(onnxruntime.InferenceSession(made).run(None, {"facts": x})[0]).ravel()
    assert np.abs(told - p).max() < 1e-3, "what is exported says something else"
    (ARTEFACTS / "verifier.onnx").write_bytes(made)
    card = {
        "model": "verifier-2",
        "facts": list(NAMES),
        "data": "half of Banking77 (CC BY) and of GPTCache's pairs (MIT), own changes of these, of own sentences, of exam"
        " questions (RouteLLM, Apache-2.0) and of the injection set's harmless prompts (MIT, Apache-2.0)",
        "train": "python -m services.cache.training.verifier DATA_DIR --texts FILE ...",
        "figures_on_held_out_pairs": {"auc": round(auc, 4), "ece": round(float(ece), 4), "pairs": int(held.sum())},
    }
    (ARTEFACTS / "verifier.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(text.encode()).digest()[:6] for text in found.texts})
    (ARTEFACTS / "verifier.fitted").write_bytes(b"".join(digests))


def _exported(forests: list[Any], platt: Any) -> bytes:
    """Input facts (n, len(NAMES)), output probability (n, 1)."""
    by: dict[str, list[Any]] = {
        name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    trees = [one for forest in forests for (one,) in forest._predictors]
    for tree, one in enumerate(trees):
        for number, node in enumerate(one.nodes):
            leaf = bool(node["is_leaf"])
            told = (tree, number, 0 if leaf else int(node["feature_idx"]), 0.0 if leaf else float(node["num_threshold"]),
                    "LEAF" if leaf else "BRANCH_LEQ", 0 if leaf else int(node["left"]), 0 if leaf else int(node["right"]))  # fmt: skip
            for name, value in zip(by, told, strict=True):
                by[name].append(value)
            if leaf:
                for name, value in zip(leaves, (tree, number, 0, float(node["value"]) / len(forests)), strict=True):
                    leaves[name].append(value)
    slope, offset = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    offset += slope * float(np.mean([np.ravel(one._baseline_prediction)[0] for one in forests]))
    attributes: dict[str, Any] = {f"nodes_{name}": values for name, values in by.items()}
    attributes |= {f"target_{name}": values for name, values in leaves.items()}
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["facts"], ["raw"], domain="ai.onnx.ml", n_targets=1, aggregate_function="SUM",
            **attributes,
        ),
        helper.make_node("Mul", ["raw", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "verifier",
        [helper.make_tensor_value_info("facts", TensorProto.FLOAT, ["n", len(NAMES)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array([slope], np.float32), "slope"),
         numpy_helper.from_array(np.array([offset], np.float32), "offset")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
