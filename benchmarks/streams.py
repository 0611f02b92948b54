"""What a word of a stream costs: many streams at once, each a word every few milliseconds, as models write.

The provider and the callers are in this process, so a word's way is timed by one clock: from the provider's write until the
caller has read it whole, behind Tollway, LiteLLM and Portkey where they are installed (`make bench-peers`), and without a
gateway. Tollway guards every word and settles every stream.
"""

import argparse
import asyncio
import contextlib
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import processes, prompts, report, upstream
from benchmarks.gateway_load import UPSTREAM_PORT, Gateway, installed, requests

CONTENT = re.compile(rb'"content": ?"([^"]*)"')
NUMBER = re.compile(rb"\(q(\d+)\)")
WORDS = "the quick answer to this question is that nothing has changed since the last time somebody asked".split()
SHOWN = ("first_word_p50_ms", "first_word_p99_ms", "lag_p50_ms", "lag_p99_ms", "cpu_us_per_word", "failed")


@dataclass(slots=True)
class Seen:
    """Of all streams: when each word of a question's answer was written, and how long it took to be read. Seconds."""

    words: int
    every_s: float
    wrote: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    lags: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """From a request until its first word was read, without what the provider waits for before it."""
    failed: int = 0


class Writer(upstream.Provider):
    """Writes a word every so often, each as it is due."""

    seen: Seen = Seen(0, 0.0)

    def __init__(self) -> None:
        super().__init__(0.0)

    def asked(self, head: bytes, body: bytes) -> None:
        if not body:
            super().asked(head, body)
            return
        found = NUMBER.search(body)  # the rest of a question may have been masked
        question = int(found[1]) if found else -1
        begun, end, _ = upstream.STREAM.partition(b"\r\n\r\n")
        self._write(begun + end + upstream.chunk({"role": "assistant", "content": ""}))
        asyncio.get_running_loop().call_later(self.seen.every_s, self._word, question, 0)

    def _word(self, question: int, n: int) -> None:
        if n == self.seen.words:
            self._write(upstream.chunk({}, "stop") + upstream.chunk({}, usage=upstream.USAGE) + upstream.END)
            return
        self.seen.wrote[question].append(time.perf_counter())
        self._write(upstream.chunk({"content": f"{WORDS[n % len(WORDS)]} "}))
        asyncio.get_running_loop().call_later(self.seen.every_s, self._word, question, n + 1)


class Reader(asyncio.Protocol):
    """One caller: asks one question after the other."""

    def __init__(self, asks: Iterator[tuple[int, bytes]], seen: Seen, done: "asyncio.Future[None]") -> None:
        self.asks, self.seen, self.done = asks, seen, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        self.read, self.at, self.words = bytearray(), 0, 0
        found = next(self.asks, None)
        if found is None:
            self.transport.close()
            return
        self.question, request = found
        self.began = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.read += data
        now, wrote = time.perf_counter(), self.seen.wrote[self.question]
        for found in CONTENT.finditer(self.read, self.at):
            self.at = found.end()
            for _ in range(found[1].count(b" ")):
                if not self.words:
                    self.seen.first.append(now - self.began - self.seen.every_s)
                self.seen.lags.append(now - wrote[self.words])
                self.words += 1
        if self.read.endswith(b"0\r\n\r\n"):
            self.seen.failed += self.words != self.seen.words
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def streamed(gateway: Gateway, seen: Seen, at_once: int, rounds: int, seed: int) -> None:
    """`at_once` callers ask `rounds` questions each, all of them different."""
    texts = [f"{text} (q{n})" for n, text in enumerate(prompts.made(at_once * rounds, seed))]
    asks = iter(list(enumerate(requests(gateway, texts, True))))
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(at_once)]
    for done in ends:
        await loop.create_connection(lambda done=done: Reader(asks, seen, done), "127.0.0.1", gateway.port)  # type: ignore[misc]
        await asyncio.sleep(seen.every_s / at_once)  # nobody writes in step
    await asyncio.wait(ends, timeout=rounds * (seen.words * seen.every_s + 30))


async def measured(gateway: Gateway, at_once: int, words: int, every_s: float, rounds: int) -> dict[str, float]:
    Writer.seen = warm = Seen(20, 0.005)
    await streamed(gateway, warm, 8, 4, seed=at_once + 1)
    Writer.seen = seen = Seen(words, every_s)
    before = processes.cpu_seconds(gateway.pid) if gateway.pid else 0.0
    await streamed(gateway, seen, at_once, rounds, seed=at_once)
    spent = processes.cpu_seconds(gateway.pid) - before if gateway.pid else 0.0
    if not seen.lags:  # a gateway that cannot stream: Portkey 1.15.2 on Node 20 answers 500
        return {"failed": at_once * rounds}
    lag50, lag99 = report.percentiles(seen.lags)
    first50, first99 = report.percentiles(seen.first)
    return {
        "first_word_p50_ms": first50 * 1e3,
        "first_word_p99_ms": first99 * 1e3,
        "lag_p50_ms": lag50 * 1e3,
        "lag_p99_ms": lag99 * 1e3,
        "cpu_us_per_word": spent / max(len(seen.lags), 1) * 1e6,
        "failed": seen.failed + at_once * rounds - len(seen.first),
    }


@contextlib.contextmanager
def nobody(folder: Path) -> Iterator[Gateway]:
    """The provider itself."""
    yield Gateway(0, UPSTREAM_PORT, "", "mock")


async def main(args: argparse.Namespace) -> None:
    ways: dict[str, Callable[[Path], Any]] = {"nobody": nobody, **installed()}
    found: dict[str, dict[int, dict[str, float]]] = {}
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Writer, "127.0.0.1", UPSTREAM_PORT, backlog=4096):
        for name in args.only or ways:
            with tempfile.TemporaryDirectory(prefix="tw-") as folder, contextlib.ExitStack() as stack:
                stands = await asyncio.to_thread(stack.enter_context, ways[name](Path(folder)))
                found[name] = {
                    at_once: await measured(stands, at_once, args.words, args.every / 1e3, args.rounds)
                    for at_once in report.progress(args.streams, name)
                }
    heads = ("gateway", "streams", "first word p50 ms", "p99", "a word's way p50 ms", "p99", "CPU us/word", "failed")
    report.table(f"a word every {args.every:g} ms", heads, [
        (name, at_once, *(run.get(one, "-") for one in SHOWN)) for name, runs in found.items() for at_once, run in runs.items()
    ])  # fmt: skip
    most = max(args.streams)
    facts: dict[str, Any] = {**found.get("tollway", {}).get(most, {}), "by_gateway": found}
    for name in ("litellm", "portkey"):
        cost = [found.get(one, {}).get(most, {}).get("cpu_us_per_word") for one in (name, "tollway")]
        if cost[0] and cost[1]:
            facts[f"cpu_of_{name}_over_ours"] = cost[0] / cost[1]
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--streams", type=int, nargs="+", default=[16, 128], help="at once")
    asked.add_argument("--words", type=int, default=200, help="of an answer")
    asked.add_argument("--every", type=float, default=20.0, help="milliseconds from word to word")
    asked.add_argument("--rounds", type=int, default=2, help="questions of each caller")
    asked.add_argument("--only", nargs="+", help="of nobody, tollway, litellm, portkey")
    uvloop.run(main(asked.parse_args()))
