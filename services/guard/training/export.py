"""Writes the tagger's convolutions as ONNX: input `words` (1, n, width), output `scores` (1, n, labels)."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def exported(p: Any, dilations: tuple[int, ...]) -> bytes:
    nodes, weights = [], []

    def weight(name: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def whole(name: str, value: list[int]) -> str:
        weights.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    x = "words"
    width = p["bias"].shape[0]
    for n, (layer, dilation) in enumerate(zip(p["layers"], dilations, strict=True)):
        # A convolution over three places is one product of three vectors side by side: that can be done in integers.
        wide = node("Pad", [x, whole(f"pads{n}", [0, dilation, 0, 0, dilation, 0])], f"wide{n}")
        ends = (whole(f"zero{n}", [0]), whole(f"from_end{n}", [-2 * dilation]), whole(f"axis{n}", [1]))
        left = node("Slice", [wide, ends[0], ends[1], ends[2]], f"left{n}")
        right = node(
            "Slice", [wide, whole(f"from{n}", [2 * dilation]), whole(f"last{n}", [1 << 31]), ends[2]], f"right{n}"
        )
        beside = node("Concat", [left, x, right], f"beside{n}", axis=2)
        kernel = weight(f"w{n}", layer["w"].reshape(3 * width, width))
        y = node("Add", [node("MatMul", [beside, kernel], f"conv{n}"), weight(f"b{n}", layer["b"])], f"moved{n}")
        back = node("Relu", [y], f"back{n}")
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
    return quantised(model)


def quantised(model: Any) -> bytes:
    """Products in 8-bit integers: weights by channel, to 7 bits so that processors without VNNI do not saturate."""
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
        onnx.save(model, plain)
        quantize_dynamic(
            plain,
            made,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return made.read_bytes()
