"""Writes the router's models as one ONNX graph."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.router.predictor import VECTOR_SCALE

Array = npt.NDArray[Any]
Head = tuple[Array, float]


def exported(
    gaps: tuple[Head, Head],
    strong: tuple[Head, Head],
    tasks: tuple[Array, Array],
    mean: Array,
    spread: Array,
    options: int,
) -> bytes:
    """Inputs `vector` (n, 256) and `surface` (n, features); outputs `chances` (n, 2), weak then strong, and `tasks`."""
    weights, nodes = [], []

    def weight(name: str, value: Any, kind: type = np.float32) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, kind), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    centred = node("Sub", ["surface", weight("mean", mean)], "centred")
    scaled = node("Div", [centred, weight("spread", spread)], "scaled")
    cut = node("Clip", [scaled, weight("low", np.array(-4.0)), weight("high", np.array(4.0))], "cut")
    larger = node("Mul", ["vector", weight("vector_scale", np.array(VECTOR_SCALE))], "larger")
    x = node("Concat", [larger, cut], "x", axis=1)
    heads = np.stack([head for head, _ in (*gaps, *strong)], axis=1)
    biases = np.array([bias for _, bias in (*gaps, *strong)])
    lines = node("Gemm", [x, weight("heads", heads), weight("biases", biases)], "lines")
    parts = [node("Slice", [lines, weight(f"from{n}", [n], np.int64), weight(f"to{n}", [n + 1], np.int64), weight(f"axis{n}", [1], np.int64)], f"line{n}") for n in range(4)]  # fmt: skip
    count = node("Slice", ["surface", weight("of", [options], np.int64), weight("until", [options + 1], np.int64), weight("across", [1], np.int64)], "count")  # fmt: skip
    exam = node("GreaterOrEqual", [count, weight("two", np.array(2.0))], "exam")
    gap = node("Where", [exam, parts[0], parts[1]], "gap")
    sure = node("Sigmoid", [node("Where", [exam, parts[2], parts[3]], "odds")], "sure")
    left = node("Sub", [sure, gap], "left")
    bounds = [weight("least", np.array(0.01)), weight("most", np.array(0.99))]
    node("Concat", [node("Clip", [left, *bounds], "weak"), node("Clip", [sure, *bounds], "strong")], "chances", axis=1)
    scores = node("Gemm", [x, weight("task_weights", tasks[0]), weight("task_biases", tasks[1])], "scores")
    node("Softmax", [scores], "tasks", axis=1)
    node("Identity", [gap], "gaps")
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "router",
        [
            helper.make_tensor_value_info("vector", kind, ["n", heads.shape[0] - len(mean)]),
            helper.make_tensor_value_info("surface", kind, ["n", len(mean)]),
        ],
        [
            helper.make_tensor_value_info("chances", kind, ["n", 2]),
            helper.make_tensor_value_info("gaps", kind, ["n", 1]),
            helper.make_tensor_value_info("tasks", kind, ["n", tasks[0].shape[1]]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
