"""The transformers: int8 on onnxruntime, off the event loop, concurrent calls handed over together."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from services.encoder import quantize
from services.runtime.errors import Failure, Kind

SHORT = 400
"""Characters of a text that goes before longer ones, by a way of its own: a question waits for no passage."""
AT_ONCE, CHARACTERS = 8, 2000
"""Texts that are handed over together, and what they have in all."""
MOST_WAITING = 4096
MOST_KEPT = 20_000

Vector = npt.NDArray[np.float32]


class QueueFull(Failure):
    kind, reason = Kind.EXHAUSTED, "QUEUE_FULL"
    text = "{waiting} texts wait for the encoder already"


class ModelMissing(Failure):
    kind, reason = Kind.PRECONDITION, "MODEL_MISSING"
    text = "{model} is not installed: `python -m services.encoder.quantize` makes it"
    field = "tier"


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    file: Path
    most_tokens: int
    pooled: Callable[[Vector], Vector]
    """One vector of those of all tokens, (n, 384)."""


MINILM = Model("all-minilm-l6-v2-int8", quantize.MINILM, 256, lambda states: states.mean(axis=0))
BGE_SMALL = Model("bge-small-en-v1.5-int8", quantize.BGE_SMALL, 512, lambda states: states[0])


class Transformer:
    def __init__(self, model: Model, tokenizer: Tokenizer, threads: int = 0) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._short, self._long = _Lane(self), _Lane(self)
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()

    @property
    def installed(self) -> bool:
        return self.model.file.exists()

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """Read when first asked for: not every mesh has documents.

        Raises:
            ModelMissing
        """
        if not self.installed:
            raise ModelMissing(model=self.model.name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # The graph is written as it is to run: more than the basic rewriting would undo that.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        return onnxruntime.InferenceSession(str(self.model.file), options, providers=["CPUExecutionProvider"])

    async def encode(self, texts: list[str]) -> list[Vector]:
        """(384,) of unit length for each text. Texts longer than the model reads are cut.

        Raises:
            QueueFull: too much waits already.
            ModelMissing
        """
        waiting = len(self._short.waiting) + len(self._long.waiting)
        if waiting + len(texts) > MOST_WAITING:
            raise QueueFull(waiting=waiting)
        return list(await asyncio.gather(*(self._one(text) for text in texts)))

    async def _one(self, text: str) -> Vector:
        digest = blake2b(text.encode(), digest_size=16).digest()
        if (kept := self._kept.get(digest)) is not None:
            self._kept.move_to_end(digest)
            return kept
        vector = await (self._short if len(text) <= SHORT else self._long).join(text)
        self._kept[digest] = vector
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return vector

    def run(self, texts: list[str]) -> Vector:
        """(n, 384) of unit rows, in the calling thread."""
        return np.stack([self._alone(text) for text in texts])

    def _alone(self, text: str) -> Vector:
        """One at a time: activations are quantised by what is computed with them, so company would change a text's vector."""
        most = self.model.most_tokens
        ids = np.array([self._tokenizer.encode(text[: most * 12]).ids[:most]], np.int64)
        feeds = dict(zip(quantize.INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        pooled = self.model.pooled(np.asarray(self.session.run(None, feeds)[0])[0])
        unit: Vector = (pooled / max(float(np.linalg.norm(pooled)), 1e-9)).astype(np.float32)
        return unit

    def close(self) -> None:
        for lane in (self._short, self._long):
            lane.worker.shutdown(wait=False, cancel_futures=True)


class _Lane:
    """Texts on their way through a thread of their own."""

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer
        self.worker = ThreadPoolExecutor(1, transformer.model.file.stem)
        self.waiting: list[tuple[str, asyncio.Future[Vector]]] = []
        self._gathering: asyncio.Task[None] | None = None

    def join(self, text: str) -> asyncio.Future[Vector]:
        future: asyncio.Future[Vector] = asyncio.get_running_loop().create_future()
        self.waiting.append((text, future))
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        """A few at a time are handed over; what comes meanwhile is handed over next."""
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while self.waiting:
            # Short ones first: nobody waits long for them.
            self.waiting.sort(key=lambda one: len(one[0]))
            count = _together([len(text) for text, _ in self.waiting[:AT_ONCE]])
            group, self.waiting = self.waiting[:count], self.waiting[count:]
            run = self.transformer.run
            try:
                vectors = await loop.run_in_executor(self.worker, run, [text for text, _ in group])
            except Exception as error:  # noqa: BLE001 - told to those who asked; the others are tried for themselves
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            except asyncio.CancelledError:
                for _, future in [*group, *self.waiting]:
                    future.cancel()
                raise
            for (_, future), vector in zip(group, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)


def _together(lengths: list[int]) -> int:
    """How many of the first fit, one at least."""
    total = count = 0
    for length in lengths:
        total += length
        if count and total > CHARACTERS:
            break
        count += 1
    return count
