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
    gaps: tuple[Head, Head], strong: tuple[Head, Head], tasks: tuple[Array, Array], mean: Array, spread: Array
) -> bytes:
    """Inputs `vector` (n, 256) and `surface` (n, features).

    Output `lines` (n, 4 + tasks): the gap between the strong and the weak model for exam questions and for free ones,
    the log odds of the strong model for the same two, and a score for each task. Five nodes: a graph this small costs
    what its nodes cost, so what is left to do with the numbers is done where they are read.
    """
    heads = np.stack([head for head, _ in (*gaps, *strong)], axis=1)
    weights = np.concatenate([heads, tasks[0]], axis=1)
    width = len(weights) - len(mean)
    weights = np.concatenate([weights[:width] * VECTOR_SCALE, weights[width:]])
    biases = np.concatenate([np.array([bias for _, bias in (*gaps, *strong)]), tasks[1]])
    constants = {"mean": mean, "spread": spread, "low": np.array(-4.0), "high": np.array(4.0), "weights": weights,
                 "biases": biases}  # fmt: skip
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["surface", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "spread"], ["scaled"]),
            helper.make_node("Clip", ["scaled", "low", "high"], ["cut"]),
            helper.make_node("Concat", ["vector", "cut"], ["x"], axis=1),
            helper.make_node("Gemm", ["x", "weights", "biases"], ["lines"]),
        ],
        "router",
        [
            helper.make_tensor_value_info("vector", kind, ["n", width]),
            helper.make_tensor_value_info("surface", kind, ["n", len(mean)]),
        ],
        [helper.make_tensor_value_info("lines", kind, ["n", weights.shape[1]])],
        [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
