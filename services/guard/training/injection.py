"""Trains the injection classifier: `python -m services.guard.training.injection FILE.jsonl`.

FILE has the columns text, label (1 = attack), split and group. Two logistic regressions, one over hashed
n-grams and one over the static vector, are weighed by a third that sees their out-of-fold scores together with
harmless prompts full of trigger words. The vector alone knows attacks but over-defends; the weighing is what
keeps it in its place. The result is one ONNX file.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scipy.sparse as sp
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from services.guard.injection import ARTEFACTS, BUCKETS, grams
from services.guard.training.benign import TEMPLATES, sentences
from services.guard.training.everyday import GREETINGS, everyday
from services.guard.training.everyday import TEMPLATES as EVERYDAY

BENIGN, PLAIN = 2500, 5000


def main() -> None:
    from services.encoder.app import tokenizer
    from services.encoder.static import StaticEncoder

    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    args = asked.parse_args()
    rows = [json.loads(line) for line in args.data.read_text().splitlines()]
    train = [row for row in rows if row["split"] == "train"]
    dev = [row for row in rows if row["split"] == "dev"]
    seen, unseen = TEMPLATES[::2] + TEMPLATES[1::4], TEMPLATES[3::4]
    plain_seen, plain_unseen = EVERYDAY[::2] + EVERYDAY[1::4], EVERYDAY[3::4]
    own = sentences(BENIGN, 5, seen) + everyday(PLAIN, 5, plain_seen)
    texts = [row["text"] for row in train] + own
    labels = np.array([row["label"] for row in train] + [0] * len(own))
    groups = np.array([row["group"] for row in train] + ["own"] * len(own))
    weights = np.ones(len(texts))
    encoder = StaticEncoder(tokenizer())
    x, v = hashed(texts), np.stack([encoder.encode(text) for text in texts])

    scores = np.zeros((len(texts), 2))
    for fit, rest in GroupKFold(5).split(x, labels, np.arange(len(texts)) % 50):
        scores[rest] = _scored(_fitted(x[fit], v[fit], labels[fit], weights[fit]), x[rest], v[rest])
    blend = LogisticRegression(C=10).fit(scores, labels)
    alone = LogisticRegression(C=10).fit(scores[:, :1], labels)
    models = _fitted(x, v, labels, weights)

    held = sentences(600, 9, unseen) + everyday(600, 9, plain_unseen)[len(GREETINGS) :]
    dev_texts, dev_labels = (
        [row["text"] for row in dev] + held,
        np.array([row["label"] for row in dev] + [0] * len(held)),
    )
    dv = np.stack([encoder.encode(text) for text in dev_texts])
    raw = _scored(models, hashed(dev_texts), dv)
    final = blend.predict_proba(raw)[:, 1]
    n = len(dev)
    facts = {
        "auc": round(float(roc_auc_score(dev_labels[:n], final[:n])), 4),
        "recall_at_1pct_fpr": round(
            float((final[:n][dev_labels[:n] == 1] > np.quantile(final[:n][dev_labels[:n] == 0], 0.99)).mean()), 4
        ),
        "own_benign_of_unseen_templates_below_half": round(float((final[n:] < 0.5).mean()), 4),
        "auc_on_a_source_left_out": {
            group: _left_out(group, x, v, labels, weights, groups) for group in ("neuralchemy-train", "s-labs-train")
        },
    }
    print(json.dumps(facts, indent=2), "\nweights of the two:", blend.coef_, blend.intercept_)
    (ARTEFACTS / "injection.onnx").write_bytes(_exported(models, blend, alone))
    card = {
        "model": "injection-1",
        "data": [
            *sorted({row["source"] for row in train}),
            "own harmless prompts: with trigger words, and everyday ones",
        ],
        "train": "python -m services.guard.training.injection FILE.jsonl",
        "figures_on_dev": facts,
    }
    (ARTEFACTS / "injection.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(text.encode()).digest()[:6] for text in texts})
    (ARTEFACTS / "injection.fitted").write_bytes(b"".join(digests))


def hashed(texts: list[str]) -> Any:
    """(n, BUCKETS), each row of length one."""
    found = [grams(text) for text in texts]
    at = np.cumsum([0] + [len(one) for one in found])
    values = np.concatenate([np.full(len(one), 1 / np.sqrt(len(one))) for one in found])
    return sp.csr_matrix((values, np.concatenate(found), at), shape=(len(texts), BUCKETS))


def _fitted(x: Any, v: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    by_grams = LogisticRegression(C=30, max_iter=300).fit(x, labels, weights)
    by_vector = LogisticRegression(C=30, max_iter=500).fit(v, labels, weights)
    return by_grams, by_vector


def _scored(models: tuple[Any, Any], x: Any, v: Any) -> Any:
    return np.stack([models[0].decision_function(x), models[1].decision_function(v)], axis=1)


def _left_out(group: str, x: Any, v: Any, labels: Any, weights: Any, groups: Any) -> float:
    fit, rest = groups != group, groups == group
    models = _fitted(x[fit], v[fit], labels[fit], weights[fit])
    raw = _scored(models, x[rest], v[rest])
    return round(float(roc_auc_score(labels[rest], raw[:, 0] + 0.3 * raw[:, 1])), 4)


def _exported(models: tuple[Any, Any], blend: Any, alone: Any) -> bytes:
    """Inputs grams (n), vector (1, 256), known (1, 1); output probability (1, 1)."""
    by_grams, by_vector = models
    weights = {
        "table": by_grams.coef_[0].astype(np.float32),
        "table_bias": by_grams.intercept_.astype(np.float32),
        "v": by_vector.coef_.T.astype(np.float32),
        "v_bias": by_vector.intercept_.astype(np.float32),
        "both": np.array([blend.coef_[0, 0], blend.coef_[0, 1], blend.intercept_[0]], np.float32),
        "one": np.float32(1.0),
        "shape": np.array([1, 1], np.int64),
        "b_g": np.float32(blend.coef_[0, 0]), "b_v": np.float32(blend.coef_[0, 1]), "b_0": np.float32(blend.intercept_[0]),
        "a_g": np.float32(alone.coef_[0, 0]), "a_0": np.float32(alone.intercept_[0]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "grams"], ["hit"]),
        node("ReduceSum", ["hit"], ["sum"], keepdims=0),
        node("Shape", ["grams"], ["size"]),
        node("Cast", ["size"], ["count"], to=TensorProto.FLOAT),
        node("Sqrt", ["count"], ["length"]),
        node("Div", ["sum", "length"], ["mean"]),
        node("Add", ["mean", "table_bias"], ["g_flat"]),
        node("Reshape", ["g_flat", "shape"], ["g"]),
        node("MatMul", ["vector", "v"], ["v_raw"]),
        node("Add", ["v_raw", "v_bias"], ["vs"]),
        node("Mul", ["g", "b_g"], ["g1"]),
        node("Mul", ["vs", "b_v"], ["v1"]),
        node("Add", ["g1", "v1"], ["gv"]),
        node("Add", ["gv", "b_0"], ["with"]),
        node("Mul", ["g", "a_g"], ["g2"]),
        node("Add", ["g2", "a_0"], ["without"]),
        node("Mul", ["with", "known"], ["w1"]),
        node("Sub", ["one", "known"], ["unknown"]),
        node("Mul", ["without", "unknown"], ["w2"]),
        node("Add", ["w1", "w2"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
    ]
    weights.pop("both")
    graph = helper.make_graph(
        nodes,
        "injection",
        [
            helper.make_tensor_value_info("grams", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("known", TensorProto.FLOAT, [1, 1]),
        ],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
