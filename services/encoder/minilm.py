"""The MiniLM encoder: int8 on onnxruntime, off the event loop, concurrent calls handed over together."""

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from services.encoder import quantize
from services.runtime.errors import Failure, Kind

MODEL = "all-minilm-l6-v2-int8"
MOST_TOKENS = 256
AT_ONCE = 8
MOST_WAITING = 4096
MOST_KEPT = 20_000

Vector = npt.NDArray[np.float32]


class QueueFull(Failure):
    kind, reason = Kind.EXHAUSTED, "QUEUE_FULL"
    text = "{waiting} texts wait for the encoder already"


class MiniLM:
    def __init__(self, tokenizer: Tokenizer, threads: int = 0) -> None:
        if not quantize.MODEL.exists():
            raise FileNotFoundError(
                f"{quantize.MODEL} is made by `make install`, or `python -m services.encoder.quantize`"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or max(1, (os.cpu_count() or 2) // 2)
        options.inter_op_num_threads = 1
        # The graph is written as it is to run: more than the basic rewriting would undo that.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self._session = onnxruntime.InferenceSession(str(quantize.MODEL), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer
        self._worker = ThreadPoolExecutor(1, "minilm")
        self._waiting: list[tuple[str, asyncio.Future[Vector]]] = []
        self._gathering: asyncio.Task[None] | None = None
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()

    async def encode(self, texts: list[str]) -> list[Vector]:
        """(384,) of unit length for each text. Texts longer than 256 tokens are cut.

        Raises:
            QueueFull: too much waits already.
        """
        if len(self._waiting) + len(texts) > MOST_WAITING:
            raise QueueFull(waiting=len(self._waiting))
        return list(await asyncio.gather(*(self._one(text) for text in texts)))

    async def _one(self, text: str) -> Vector:
        digest = blake2b(text.encode(), digest_size=16).digest()
        if (kept := self._kept.get(digest)) is not None:
            self._kept.move_to_end(digest)
            return kept
        future: asyncio.Future[Vector] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._work())
        vector = await future
        self._kept[digest] = vector
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return vector

    async def _work(self) -> None:
        """A few at a time are handed over; what comes meanwhile is handed over next."""
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Short ones first: nobody waits long for them.
            self._waiting.sort(key=lambda one: len(one[0]))
            group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                vectors = await loop.run_in_executor(self._worker, self.run, [text for text, _ in group])
            except BaseException as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                raise
            for (_, future), vector in zip(group, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)

    def run(self, texts: list[str]) -> Vector:
        """(n, 384) of unit rows, in the calling thread."""
        return np.stack([self._alone(text) for text in texts])

    def _alone(self, text: str) -> Vector:
        """One at a time: activations are quantised by what is computed with them, so company would change a text's vector."""
        ids = np.array([self._tokenizer.encode(text[: MOST_TOKENS * 12]).ids[:MOST_TOKENS]], np.int64)
        feeds = dict(zip(quantize.INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        pooled = np.asarray(self._session.run(None, feeds)[0])[0].mean(axis=0)
        unit: Vector = (pooled / max(float(np.linalg.norm(pooled)), 1e-9)).astype(np.float32)
        return unit

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
