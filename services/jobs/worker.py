"""Works through jobs: woken by tickets, told by the store whose turn it is, never more at once than it has room for."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from services.jobs import life
from services.jobs.life import Fault, Job, Outcome, State
from services.jobs.store import Store
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
BEATS_A_LEASE = 3
LOOKS_EVERY_S = 0.5
"""A ticket that is lost delays a job by so much."""
GATHER_S = 0.003
"""Ends that come within so long are written together."""
SWEEPS_EVERY_S = 2.0
SHOWS_EVERY_S = 0.25
AGAIN_S = 0.5


class Failed(Exception):
    """A try that came to nothing."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Done:
    """What a try came to that went well."""

    result: bytes
    scores: Mapping[str, float] = field(default_factory=dict)


Shown = Callable[[str], None]
"""Takes what is there of an answer."""
Work = Callable[[Job, Shown], Awaitable[Done]]
"""Does a job; raises [Failed][]."""


@dataclass(slots=True)
class Worker:
    store: Store
    work: Work
    slots: int = 64
    per_tenant: int = 32
    """Jobs of one tenant at once, over all workers."""
    lease: timedelta = LEASE
    id: UUID = field(default_factory=uuid4)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    ended: list[Outcome] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    partials: dict[UUID, str] = field(default_factory=dict)
    """Of answers under way, what was not yet written."""
    noted: Callable[[], None] = lambda: None
    """Called after something was written for the broker."""

    async def ticket(self, key: str, body: bytes) -> None:
        self.wake.set()

    async def run(self) -> None:
        """Until cancelled; what is under way is then finished by whoever calls `drain`."""
        async with asyncio.TaskGroup() as group:
            for loop in (self._claim, self._write, self._beat, self._sweep, self._show):
                group.create_task(self._insist(loop))

    async def drain(self, within_s: float) -> None:
        """Finishes what is under way, for so long; what is left is somebody else's once its lease has ended."""
        if self.running:
            await asyncio.wait(list(self.running.values()), timeout=within_s)
        for task in self.running.values():
            task.cancel()
        await self._flush()

    async def _insist(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A database that is away is waited for: leases keep what is under way for a while, and others take it after."""
        while True:
            try:
                await loop()
            except (*AWAY, TimeoutError) as error:
                log.warning("the jobs' database is away: %s", type(error).__name__)
                await asyncio.sleep(AGAIN_S)

    async def _claim(self) -> None:
        while True:
            self.wake.clear()
            room = self.slots - len(self.running)
            claimed = await self.store.claim(self.id, room, self.per_tenant, self.lease) if room > 0 else []
            for job in claimed:
                self.running[job.id] = task = asyncio.create_task(self._one(job))
                task.add_done_callback(partial(self._over, job))
            if len(claimed) < room or not claimed:
                try:
                    async with asyncio.timeout(LOOKS_EVERY_S):
                        await self.wake.wait()
                except TimeoutError:
                    continue

    async def _one(self, job: Job) -> None:
        try:
            done = await self.work(job, partial(self.partials.__setitem__, job.id))
            outcome = Outcome(job.id, State.SUCCEEDED, result=done.result, scores=done.scores)
        except Failed as error:
            outcome = life.failed(job, error.fault, datetime.now(UTC), random.random())
        except asyncio.CancelledError:
            self.running.pop(job.id, None)
            raise
        finally:
            self.partials.pop(job.id, None)
        self.ended.append(outcome)
        self.told.set()

    def _over(self, job: Job, task: "asyncio.Task[None]") -> None:
        """A try that ended in no way that we know is a failure like any other: another time may change it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a try broke off: %s", type(error).__name__, exc_info=error)
            fault = Fault(13, type(error).__name__, "the worker failed")
            self.ended.append(life.failed(job, fault, datetime.now(UTC), random.random()))
            self.told.set()

    async def _write(self) -> None:
        while True:
            await self.told.wait()
            await asyncio.sleep(GATHER_S)
            await self._flush()

    async def _flush(self) -> None:
        """Writes the ends that wait; they wait on when it fails."""
        batch = list(self.ended)
        if batch:
            await self.store.finish(self.id, batch)
            del self.ended[: len(batch)]
            for one in batch:
                self.running.pop(one.job_id, None)
            self.wake.set()
            self.noted()
        if not self.ended:
            self.told.clear()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.lease.total_seconds() / BEATS_A_LEASE)
            mine = dict(self.running)  # what is claimed meanwhile is not asked about
            held = await self.store.beat(self.id, self.lease, mine.keys())
            ended = {one.job_id for one in self.ended}
            for job_id, task in mine.items():
                if job_id not in held and job_id not in ended:
                    task.cancel()  # cancelled, or another worker's by now

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOWS_EVERY_S)
            if self.partials:
                now = dict(self.partials)
                await self.store.show(self.id, now)
                for job_id, text in now.items():
                    if self.partials.get(job_id) == text:
                        del self.partials[job_id]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEPS_EVERY_S)
            if await self.store.sweep(datetime.now(UTC)):
                self.wake.set()
                self.noted()
