"""Trains the injection classifier: `python -m services.guard.training.injection FILE.jsonl [--harmless FILE ...] [--files FOLDER ...]`.

FILE has the columns text, label (1 = attack), split and group; `--harmless` are JSON lines with a `text` or CSV files with a
`prompt`; `--files` are folders of packages, of which pieces are harmless, too, and hide attacks. Two logistic regressions, one over hashed n-grams and one over the static vector, are weighed by a third that
sees their out-of-fold scores together with harmless prompts full of trigger words. A vector alone knows attacks but
over-defends; the weighing is what keeps it in its place. The second opinion, for prompts of which the first is not sure,
weighs the n-grams against a small network over MiniLM's vector in the same way. The results are the first's weights and
the second as an ONNX file.
"""

import argparse
import csv
import json
import random
import sysconfig
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scipy.sparse as sp
from onnx import TensorProto, helper, numpy_helper
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier

from services.encoder.app import tokenizer
from services.encoder.static import StaticEncoder
from services.encoder.transformer import MINILM, Transformer
from services.guard.injection import ARTEFACTS, BUCKETS, UNSURE, grams
from services.guard.training.benign import TEMPLATES, sentences
from services.guard.training.everyday import GREETINGS, everyday
from services.guard.training.everyday import TEMPLATES as EVERYDAY
from services.guard.training.files import PRINTED, hidden, pieces, printed
from services.guard.training.hostile import TEMPLATES as HOSTILE
from services.guard.training.hostile import hostile
from services.guard.training.told import TEMPLATES as TOLD
from services.guard.training.told import told

BENIGN, PLAIN, TALES, FOES = 4000, 6000, 3000, 1000
PIECES, OUTPUTS, HIDING, LONGEST_HIDDEN = 7000, 2000, 3200, 300
MOST_HARMLESS, LONGEST_HARMLESS = 3000, 600
HIDDEN = 32


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("--harmless", type=Path, nargs="*", default=[])
    asked.add_argument("--files", type=Path, nargs="*", default=[Path(sysconfig.get_path("purelib"))])
    args = asked.parse_args()
    rows = [json.loads(line) for line in args.data.read_text().splitlines()]
    train = [row for row in rows if row["split"] == "train"]
    dev = [row for row in rows if row["split"] == "dev"]
    seen, unseen = TEMPLATES[::2] + TEMPLATES[1::4], TEMPLATES[3::4]
    plain_seen, plain_unseen = EVERYDAY[::2] + EVERYDAY[1::4], EVERYDAY[3::4]
    told_seen, told_unseen = TOLD[::2] + TOLD[1::4], TOLD[3::4]
    foes_seen, foes_unseen = HOSTILE[::2] + HOSTILE[1::4], HOSTILE[3::4]
    own = sentences(BENIGN, 5, seen) + everyday(PLAIN, 5, plain_seen) + told(TALES, 5, told_seen)
    foes = hostile(FOES, 5, foes_seen)
    others = harmless(args.harmless)
    printed_seen, printed_unseen = PRINTED[::2] + PRINTED[1::4], PRINTED[3::4]
    read = pieces(args.files, PIECES, 5) + printed(OUTPUTS, 5, printed_seen)
    short = [row["text"] for row in train if row["label"] and len(row["text"]) <= LONGEST_HIDDEN]
    hosts = pieces(args.files, HIDING // 2, 6) + printed(HIDING // 2, 6, printed_seen)
    lurking = hidden(hosts, hostile(HIDING, 6, foes_seen) + short, 6)
    texts = [row["text"] for row in train] + own + others + foes + read + lurking
    # Prompts; the rest is what agents read, where attacks have another share.
    said = len(texts) - len(read) - len(lurking)
    labels = np.array(
        [row["label"] for row in train]
        + [0] * len(own + others)
        + [1] * len(foes)
        + [0] * len(read)
        + [1] * len(lurking)
    )
    groups = np.array(
        [row["group"] for row in train] + ["own"] * len(own) + ["others"] * len(others) + ["foes"] * len(foes)
        + ["read"] * len(read + lurking)
    )  # fmt: skip
    words = tokenizer()
    encoder, transformer = StaticEncoder(words), Transformer(MINILM, words, 1)
    x, v = hashed(texts), np.stack([encoder.encode(text) for text in texts])
    m = _transformed(transformer, texts)

    scores = np.zeros((len(texts), 3))
    for fit, rest in GroupKFold(5).split(x, labels, np.arange(len(texts)) % 50):
        models = _fitted(x[fit], v[fit], m[fit], labels[fit])
        scores[rest] = _scored(models, x[rest], v[rest], m[rest])
    blend = LogisticRegression(C=10).fit(scores[:said, :2], labels[:said])
    alone = LogisticRegression(C=10).fit(scores[:, :1], labels)
    second = LogisticRegression(C=10).fit(scores[:said, [0, 2]], labels[:said])
    models = _fitted(x, v, m, labels)

    held = sentences(600, 9, unseen) + everyday(600, 9, plain_unseen)[len(GREETINGS) :]
    tales, enemies = told(600, 9, told_unseen), hostile(600, 9, foes_unseen)
    dev_texts = [row["text"] for row in dev] + held + tales + enemies
    dev_labels = np.array([row["label"] for row in dev] + [0] * len(held + tales) + [1] * len(enemies))
    dv = np.stack([encoder.encode(text) for text in dev_texts])
    raw = _scored(models, hashed(dev_texts), dv, _transformed(transformer, dev_texts))
    final, unsure = _judged(blend.predict_proba(raw[:, :2])[:, 1], raw, second)
    n = len(dev)
    facts = {
        "auc": round(float(roc_auc_score(dev_labels[:n], final[:n])), 4),
        "recall_at_1pct_fpr": round(
            float((final[:n][dev_labels[:n] == 1] > np.quantile(final[:n][dev_labels[:n] == 0], 0.99)).mean()), 4
        ),
        "own_benign_of_unseen_templates_below_half": round(float((final[n : n + len(held)] < 0.5).mean()), 4),
        "own_tales_of_unseen_templates_below_nine_tenths": round(
            float((final[n + len(held) : -len(enemies)] < 0.9).mean()), 4
        ),
        "own_attacks_of_unseen_templates_above_nine_tenths": round(float((final[-len(enemies) :] >= 0.9).mean()), 4),
        **_of_files(args.files, printed_unseen, transformer, models, alone, second),
        "auc_on_a_source_left_out": {
            group: _left_out(group, x, v, m, labels, groups) for group in ("neuralchemy-train", "s-labs-train")
        },
        "asked_twice": {
            name: round(float(unsure[some].mean()), 4)
            for name, some in (
                ("attacks", (dev_labels == 1) & (np.arange(len(final)) < n)),
                ("harmless", (dev_labels == 0) & (np.arange(len(final)) < n)),
            )
        },
    }
    print(json.dumps(facts, indent=2), "\nweights:", blend.coef_, second.coef_)
    np.savez_compressed(ARTEFACTS / "injection.npz", allow_pickle=False, **_packed(models, blend, alone))
    (ARTEFACTS / "second.onnx").write_bytes(_exported_second(models[2], second))
    card = {
        "model": "injection-4",
        "data": [
            *sorted({row["source"] for row in train}),
            "own harmless texts: prompts with trigger words, everyday ones, and what documents, tools and systems say",
            "own attacks, as they lie in documents, in files and in what tools say of themselves",
            "pieces of the open packages that the mesh and its tools install (MIT, BSD, Apache-2.0, PSF and the like), and own outputs of commands",
            "exam questions (RouteLLM, Apache-2.0) and Banking77 (CC BY), as harmless prompts",
        ],
        "train": "python -m services.guard.training.injection FILE.jsonl --harmless FILE ... --files .venv/lib/python3.*/site-packages .tools/node_modules",
        "figures_on_dev": facts,
    }
    (ARTEFACTS / "injection.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(text.encode()).digest()[:6] for text in texts})
    (ARTEFACTS / "injection.fitted").write_bytes(b"".join(digests))


def _of_files(
    folders: list[Path],
    outputs: list[str],
    transformer: Transformer,
    models: tuple[Any, Any, Any],
    alone: Any,
    second: Any,
) -> dict[str, float]:
    """What agents read, of packages and outputs that were left out, bare and with attacks of templates that were left out hidden in it."""
    read = pieces(folders, 1500, 9, held_out=True) + printed(500, 9, outputs)
    foes = hidden(read[::4], hostile(500, 9, HOSTILE[3::4]), 9)
    texts = read + foes
    raw = _scored(models, hashed(texts), np.zeros((len(texts), 256)), _transformed(transformer, texts))
    final, _ = _judged(alone.predict_proba(raw[:, :1])[:, 1], raw, second)
    return {
        "files_and_outputs_left_out_below_nine_tenths": round(float((final[: len(read)] < 0.9).mean()), 4),
        "attacks_hidden_in_them_above_nine_tenths": round(float((final[len(read) :] >= 0.9).mean()), 4),
    }


def _judged(first: Any, raw: Any, second: Any) -> tuple[Any, Any]:
    """Probabilities, the second opinion in place of what the first is not sure of; and of which it is not."""
    unsure = (first > UNSURE[0]) & (first < UNSURE[1])
    return np.where(unsure, second.predict_proba(raw[:, [0, 2]])[:, 1], first), unsure


def hashed(texts: list[str]) -> Any:
    """(n, BUCKETS), each row of length one."""
    found = [grams(text) for text in texts]
    at = np.cumsum([0] + [len(one) for one in found])
    values = np.concatenate([np.full(len(one), 1 / np.sqrt(len(one))) for one in found])
    return sp.csr_matrix((values, np.concatenate(found), at), shape=(len(texts), BUCKETS))


def harmless(files: list[Path]) -> list[str]:
    """Prompts of other sets in which nobody attacks."""
    chance, found = random.Random(7), list[str]()
    for file in files:
        if file.suffix == ".csv":
            with file.open(newline="") as raw:
                texts = [row["prompt"] for row in csv.DictReader(raw)]
        else:
            texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
        short = sorted({text for text in texts if len(text) <= LONGEST_HARMLESS})
        found += chance.sample(short, min(MOST_HARMLESS, len(short)))
    return found


def _transformed(transformer: Transformer, texts: list[str]) -> Any:
    """(n, 384), short texts beside short ones."""
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    made = np.zeros((len(texts), 384), np.float32)
    for start in track(range(0, len(order), 32), "MiniLM"):
        group = order[start : start + 32]
        made[group] = transformer.run([texts[n] or "." for n in group])
    return made


def _fitted(x: Any, v: Any, m: Any, labels: Any) -> tuple[Any, Any, Any]:
    by_grams = LogisticRegression(C=30, max_iter=300).fit(x, labels)
    by_vector = LogisticRegression(C=30, max_iter=500).fit(v, labels)
    network = MLPClassifier((HIDDEN,), alpha=1e-2, max_iter=30, random_state=0, early_stopping=True)
    return by_grams, by_vector, network.fit(m, labels)


def _scored(models: tuple[Any, Any, Any], x: Any, v: Any, m: Any) -> Any:
    chance = np.clip(models[2].predict_proba(m)[:, 1], 1e-6, 1 - 1e-6)
    return np.stack(
        [models[0].decision_function(x), models[1].decision_function(v), np.log(chance / (1 - chance))], axis=1
    )


def _left_out(group: str, x: Any, v: Any, m: Any, labels: Any, groups: Any) -> float:
    """AUC on a source that was not fitted, the weighing included."""
    fit, rest = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
    scores = np.zeros((len(fit), 3))
    for inner, outer in GroupKFold(5).split(x[fit], labels[fit], np.arange(len(fit)) % 50):
        some, other = fit[inner], fit[outer]
        scores[outer] = _scored(_fitted(x[some], v[some], m[some], labels[some]), x[other], v[other], m[other])
    raw = _scored(_fitted(x[fit], v[fit], m[fit], labels[fit]), x[rest], v[rest], m[rest])
    first = LogisticRegression(C=10).fit(scores[:, :2], labels[fit]).predict_proba(raw[:, :2])[:, 1]
    other = LogisticRegression(C=10).fit(scores[:, [0, 2]], labels[fit]).predict_proba(raw[:, [0, 2]])[:, 1]
    final = np.where((first > UNSURE[0]) & (first < UNSURE[1]), other, first)
    return round(float(roc_auc_score(labels[rest], final)), 4)


def _exported_second(network: Any, blend: Any) -> bytes:
    """Inputs score (1, 1) of the n-grams and minilm (1, 384), output probability (1, 1)."""
    weights = {
        "w1": network.coefs_[0], "b1": network.intercepts_[0], "w2": network.coefs_[1], "b2": network.intercepts_[1],
        "by_score": blend.coef_[0, :1], "by_network": blend.coef_[0, 1:], "offset": blend.intercept_,
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("MatMul", ["minilm", "w1"], ["h0"]),
        node("Add", ["h0", "b1"], ["h1"]),
        node("Relu", ["h1"], ["h2"]),
        node("MatMul", ["h2", "w2"], ["o0"]),
        node("Add", ["o0", "b2"], ["o1"]),
        node("Mul", ["o1", "by_network"], ["o2"]),
        node("Mul", ["score", "by_score"], ["s1"]),
        node("Add", ["o2", "s1"], ["sum"]),
        node("Add", ["sum", "offset"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
    ]
    return _model("second", nodes, {"score": 1, "minilm": 384}, ["probability"], weights)


def _packed(models: tuple[Any, Any, Any], blend: Any, alone: Any) -> dict[str, Any]:
    """Weights of the n-grams (BUCKETS) and of the vector (256), what each adds, and how their scores are weighed."""
    by_grams, by_vector, _ = models
    made = {
        "grams": by_grams.coef_[0],
        "vector": by_vector.coef_[0],
        "offsets": [by_grams.intercept_[0], by_vector.intercept_[0]],
        "both": [*blend.coef_[0], blend.intercept_[0]],
        "alone": [*alone.coef_[0], alone.intercept_[0]],
    }
    return {name: np.asarray(value, np.float32) for name, value in made.items()}


def _model(name: str, nodes: list[Any], inputs: dict[str, int], outputs: list[str], weights: dict[str, Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, size]) for one, size in inputs.items()],
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, 1]) for one in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), one) for one, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
