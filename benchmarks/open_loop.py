"""Requests that come when they come, whether or not the earlier ones are answered: what latency contagion needs."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(slots=True)
class Seen:
    """How the requests of one phase ended. Times in seconds."""

    phase: str
    began: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Of those that were answered, from when they were due."""
    statuses: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    @property
    def lost(self) -> int:
        """Requests that ended neither with an answer nor with a refusal that says why."""
        return self.statuses.get("lost", 0)

    def note(self, how: str) -> None:
        self.statuses[how] = self.statuses.get(how, 0) + 1


async def offered(
    http: aiohttp.ClientSession, url: str, model: str, per_second: float, seconds: float, patience_s: float, seen: Seen
) -> None:
    """Poisson arrivals of requests for `model`; returns when the last has ended."""
    rng, start, due = random.Random(seen.phase), time.perf_counter(), 0.0
    async with asyncio.TaskGroup() as tasks:
        while (due := due + rng.expovariate(per_second)) < seconds:
            await asyncio.sleep(max(start + due - time.perf_counter(), 0))
            seen.sent += 1
            tasks.create_task(_asked(http, url, model, f"{seen.phase} {seen.sent}", start, due, patience_s, seen))


async def _asked(
    http: aiohttp.ClientSession,
    url: str,
    model: str,
    text: str,
    start: float,
    due: float,
    patience_s: float,
    seen: Seen,
) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": f"What of question {text}?"}]}
    try:
        async with asyncio.timeout(patience_s), http.post(url, json=body) as response:
            said: Any = await response.json(content_type=None)
            if response.status == 200 and said["choices"][0]["message"]["content"]:
                seen.began.append(due)
                seen.took.append(time.perf_counter() - start - due)
                seen.note("answered")
            elif response.status >= 400 and said["error"]["message"]:
                seen.note(f"refused, {response.status}")
            else:
                seen.note("lost")
    except TimeoutError:
        seen.note("caller gave up")
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        seen.note("lost")
