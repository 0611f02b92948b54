"""How deep the queue is and how old, as metrics that an autoscaler can follow."""

import asyncio
import contextlib
from dataclasses import dataclass

from services.jobs.store import Store
from services.runtime import metrics
from services.runtime.postgres import AWAY

EVERY_S = 5.0


@dataclass(slots=True)
class Gauges:
    store: Store
    waiting: int = 0
    age_s: float = 0.0

    async def run(self) -> None:
        """Until cancelled. A database that is away leaves the last values."""
        waiting, oldest = "Jobs that may begin and wait.", "How long the oldest of them has waited."
        metrics.gauge("tollway.jobs.waiting", "{job}", waiting, lambda: [(float(self.waiting), {})])
        metrics.gauge("tollway.jobs.oldest.age", "s", oldest, lambda: [(self.age_s, {})])
        while True:
            with contextlib.suppress(*AWAY):
                self.waiting, self.age_s = await self.store.depth()
            await asyncio.sleep(EVERY_S)
