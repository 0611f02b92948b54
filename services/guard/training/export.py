"""Writes the tagger's convolutions as ONNX: input `words` (1, n, width), output `scores` (1, n, labels)."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def exported(p: Any, dilations: tuple[int, ...]) -> bytes:
    nodes, weights = [], []

    def weight(name: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    x = "words"
    width = p["bias"].shape[0]
    for n, (layer, dilation) in enumerate(zip(p["layers"], dilations, strict=True)):
        across = node("Transpose", [x], f"across{n}", perm=[0, 2, 1])
        kernel = weight(f"w{n}", layer["w"].transpose(2, 1, 0))  # WIO -> OIW
        y = node(
            "Conv", [across, kernel, weight(f"b{n}", layer["b"])], f"conv{n}",
            kernel_shape=[3], dilations=[dilation], pads=[dilation, dilation],
        )  # fmt: skip
        back = node("Transpose", [node("Relu", [y], f"relu{n}")], f"back{n}", perm=[0, 2, 1])
        total = node("Add", [x, back], f"sum{n}")
        x = node(
            "LayerNormalization", [total, weight(f"g{n}", layer["g"]), weight(f"h{n}", layer["h"])], f"norm{n}",
            axis=-1, epsilon=1e-5,
        )  # fmt: skip
    product = node("MatMul", [x, weight("out", p["out"])], "product")
    node("Add", [product, weight("out_bias", p["out_bias"])], "scores")
    graph = helper.make_graph(
        nodes,
        "names",
        [helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, "n", width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "n", p["out"].shape[1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
