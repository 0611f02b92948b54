"""The MiniLM encoder: int8 on onnxruntime, off the event loop, concurrent calls put together."""

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
DIMENSIONS = 384
MOST_TOKENS = 256
BATCH = 32
MOST_WAITING = 4096
MOST_KEPT = 20_000

Vector = npt.NDArray[np.float32]


class QueueFull(Failure):
    kind, reason = Kind.EXHAUSTED, "QUEUE_FULL"
    text = "{waiting} texts wait for the encoder already"


class MiniLM:
    def __init__(self, tokenizer: Tokenizer, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or max(1, (os.cpu_count() or 2) // 2)
        options.inter_op_num_threads = 1
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
        """What comes while one batch is worked on makes the next, so that nobody waits for company."""
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Short beside short: a batch is as wide as its longest text.
            self._waiting.sort(key=lambda one: len(one[0]))
            group, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
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
        encoded = [self._tokenizer.encode(text[: MOST_TOKENS * 12]).ids[:MOST_TOKENS] for text in texts]
        width = max(len(ids) for ids in encoded)
        ids = np.zeros((len(texts), width), np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for row, one in enumerate(encoded):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        hidden = self._session.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        )[0]
        pooled = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        unit: Vector = (pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        return unit

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
