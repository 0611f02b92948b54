"""Trains the verifier: `python -m services.cache.training.verifier DATA_DIR`.

DATA_DIR holds `banking77_stream.jsonl` (CC BY) and `gptcache_stream.jsonl` (MIT); half of their answers are
fitted, the other half is for the thresholds. Their texts also serve our own changes (see `pairs.py`). No question
pair of Quora's is fitted. The network is 22-32-1; Platt's method calibrates it on pairs it has not seen.
"""

import argparse
import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from services.cache.likeness import NAMES, facts
from services.cache.training.pairs import made
from services.cache.verifier import ARTEFACTS
from services.guard.training.benign import sentences

NEIGHBOURS = 4


class Likeness:
    """Facts about pairs, with the mesh's own encoders."""

    def __init__(self) -> None:
        from services.encoder.app import tokenizer
        from services.encoder.minilm import MiniLM
        from services.encoder.static import StaticEncoder

        pieces = tokenizer()
        self._static, self._minilm = StaticEncoder(pieces), MiniLM(pieces, 2)
        self._words: dict[str, Any] = {}
        self._vectors: dict[str, tuple[Any, Any]] = {}

    def learn(self, texts: list[str], what: str) -> None:
        fresh = sorted(set(texts) - self._vectors.keys(), key=len)
        for start in track(range(0, len(fresh), 64), what):
            part = fresh[start : start + 64]
            for text, vector in zip(part, self._minilm.run(part), strict=True):
                self._vectors[text] = (vector, self._static.encode(text))

    def vectors(self, text: str) -> tuple[Any, Any]:
        return self._vectors[text]

    def facts(self, a: str, b: str) -> Any:
        (am, as_), (bm, bs) = self._vectors[a], self._vectors[b]
        return facts(a, b, float(am @ bm), float(as_ @ bs), self._similar)

    def _similar(self, a: list[str], b: list[str]) -> Any:
        left, right = np.stack([self._word(w) for w in a]), np.stack([self._word(w) for w in b])
        return (left @ right.T).max(axis=1)

    def _word(self, word: str) -> Any:
        if word not in self._words:
            self._words[word] = self._static.encode(word)
        return self._words[word]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    args = asked.parse_args()
    chance, like = random.Random(3), Likeness()
    fit_rows = fitted_rows(args.data)
    texts = [row["text"] for rows in fit_rows.values() for row in rows] + sentences(600, 21)
    pairs = made(texts, chance, 6)
    like.learn([text for rows in fit_rows.values() for row in rows for text in [row["text"]]], "stream texts")
    pairs += [pair for rows in fit_rows.values() for pair in neighbours(rows, like)]
    chance.shuffle(pairs)
    like.learn([text for a, b, *_ in pairs for text in (a, b)], "pairs")
    x = np.stack([like.facts(a, b) for a, b, *_ in track(pairs, "facts")])
    y = np.array([label for _, _, label, _ in pairs])
    held = np.array([sha256(a.encode()).digest()[0] < 50 for a, *_ in pairs])
    mean, scale = x[~held].mean(axis=0), x[~held].std(axis=0) + 1e-6
    nets = [
        MLPClassifier((32,), alpha=1e-3, max_iter=60, early_stopping=True, random_state=seed).fit(
            (x[~held] - mean) / scale, y[~held]
        )
        for seed in (1, 2, 3)
    ]
    raw = np.mean([_logit(net, (x - mean) / scale) for net in nets], axis=0)
    platt = LogisticRegression(C=1e3).fit(raw[held, None], y[held])
    p = platt.predict_proba(raw[:, None])[:, 1]
    auc = float(roc_auc_score(y[held], p[held]))
    bins = np.clip((p[held] * 10).astype(int), 0, 9)
    ece = sum(
        abs(p[held][bins == n].mean() - y[held][bins == n].mean()) * (bins == n).mean()
        for n in range(10)
        if (bins == n).any()
    )
    print(f"{len(pairs)} pairs, held-out AUC {auc:.4f}, calibration error {ece:.4f}")
    for kind in sorted({kind for *_, kind in pairs}):
        here = held & np.array([one == kind for *_, one in pairs])
        print(f"  {kind:12} {here.sum():5}  served at 0.9: {(p[here] >= 0.9).mean():.3f}")
    (ARTEFACTS / "verifier.onnx").write_bytes(_exported(nets, mean, scale, platt))
    card = {
        "model": "verifier-1",
        "facts": list(NAMES),
        "data": "half of Banking77 (CC BY) and of GPTCache's pairs (MIT), own changes of these and of own sentences",
        "train": "python -m services.cache.training.verifier DATA_DIR",
        "figures_on_held_out_pairs": {"auc": round(auc, 4), "ece": round(float(ece), 4), "pairs": int(held.sum())},
    }
    (ARTEFACTS / "verifier.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(row["text"].encode()).digest()[:6] for rows in fit_rows.values() for row in rows})
    (ARTEFACTS / "verifier.fitted").write_bytes(b"".join(digests))


def fitted_rows(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each stream the rows whose answers are fitted."""
    streams = {
        name: [json.loads(line) for line in (data / f"{name}_stream.jsonl").read_text().splitlines()]
        for name in ("banking77", "gptcache")
    }
    return {name: [row for row in rows if _fitted(name, row["answer"])] for name, rows in streams.items()}


def _fitted(name: str, answer: str) -> bool:
    return sha256(f"{name}/{answer}".encode()).digest()[0] % 2 == 0


def neighbours(rows: list[dict[str, Any]], like: Likeness) -> list[tuple[str, str, int, str]]:
    """Each text with its nearest others, right or wrong: what a cache really has to tell apart."""
    table = np.stack([like.vectors(row["text"])[0] for row in rows])
    pairs = []
    for n, row in enumerate(rows):
        likeness = table @ table[n]
        likeness[n] = -1
        for other in np.argsort(-likeness)[:NEIGHBOURS]:
            right = int(rows[other]["answer"] == row["answer"])
            pairs.append((row["text"], rows[other]["text"], right, "stream-same" if right else "stream-other"))
        same = [m for m, one in enumerate(rows) if one["answer"] == row["answer"] and m != n]
        if same:
            pairs.append((row["text"], rows[random.Random(n).choice(same)]["text"], 1, "stream-same"))
    return pairs


def _logit(net: Any, x: Any) -> Any:
    hidden = np.maximum(x @ net.coefs_[0] + net.intercepts_[0], 0)
    return (hidden @ net.coefs_[1] + net.intercepts_[1])[:, 0]


def _exported(nets: list[Any], mean: Any, scale: Any, platt: Any) -> bytes:
    """Input facts (n, 22), output probability (n, 1)."""
    node, weights, nodes, logits = helper.make_node, {}, [], []
    weights["mean"], weights["scale"] = mean, scale
    nodes += [node("Sub", ["facts", "mean"], ["centred"]), node("Div", ["centred", "scale"], ["x"])]
    for n, net in enumerate(nets):
        weights |= {
            f"w{n}": net.coefs_[0],
            f"b{n}": net.intercepts_[0],
            f"v{n}": net.coefs_[1],
            f"c{n}": net.intercepts_[1],
        }
        nodes += [
            node("MatMul", ["x", f"w{n}"], [f"h{n}"]), node("Add", [f"h{n}", f"b{n}"], [f"i{n}"]), node("Relu", [f"i{n}"], [f"r{n}"]),
            node("MatMul", [f"r{n}", f"v{n}"], [f"o{n}"]), node("Add", [f"o{n}", f"c{n}"], [f"l{n}"]),
        ]  # fmt: skip
        logits.append(f"l{n}")
    weights["slope"], weights["offset"] = platt.coef_[0], platt.intercept_
    nodes += [node("Mean", logits, ["logit"]), node("Mul", ["logit", "slope"], ["s"]), node("Add", ["s", "offset"], ["t"]),
              node("Sigmoid", ["t"], ["probability"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "verifier",
        [helper.make_tensor_value_info("facts", TensorProto.FLOAT, ["n", len(NAMES)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
