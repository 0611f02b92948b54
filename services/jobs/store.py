"""What jobs need of a store."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.jobs.life import Job, Outcome, State

TICKETS = "tollway.jobs"
"""Topic that tells workers that something waits. A ticket names no job: whose turn it is, the store says."""
EVENTS = "tollway.events"


@dataclass(frozen=True, slots=True)
class Note:
    """For the broker, written together with what it tells of."""

    topic: str
    key: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook on its way. Its id stays the same over all tries."""

    id: UUID
    job_id: UUID | None
    """None for an alert's."""
    tenant: str
    url: str
    body: bytes = field(repr=False)
    attempts: int = 0
    status: int = 0
    """Of the last try; 0 for no answer."""
    error: str = ""
    delivered: datetime | None = None
    due: datetime | None = None
    """None once it arrived, or was given up."""

    @property
    def webhook_id(self) -> str:
        return f"msg_{self.id.hex}"


class Store(Protocol):
    async def add(self, jobs: Sequence[Job], most_waiting: int) -> Job:
        """Keeps a job, the first of `jobs`, and its lines; all or none. The earlier one when its request id came before.

        Raises:
            QueueFull: its tenant would have more than `most_waiting`. Of what others took in it may know 5 s late.
            RequestIdReused
        """
        ...

    async def keep(self, answer: Job) -> None:
        """Keeps a job of kind `answer`, of which nobody is told, and adds it to its conversation. The same one may come again.

        Raises:
            JobIdReused: another has its id.
        """
        ...

    async def say(self, answer: Job) -> None:
        """Adds it to its conversation, and keeps nothing else. The same one may come again."""
        ...

    async def job(self, job_id: UUID) -> Job | None: ...

    async def listed(self, account: str, state: State | None, kind: str, after: UUID | None, most: int) -> list[Job]:
        """Jobs of `account` ('' for all) without results, the newest first; `after` is the last one of the page before. `kind` '' is
        every one but `answer`."""
        ...

    async def delete(self, job_id: UUID) -> None:
        """Removes a job that has ended, with its lines."""
        ...

    async def erase(self, tenant: str, subject: str) -> int:
        """Removes the jobs of an end user, a digest, or all of a tenant where it is ''; how many. A line of a batch stays in its place,
        ended and empty. Calls under way are cancelled."""
        ...

    async def scores(self, parent: UUID) -> dict[str, float]:
        """The mean of its lines' scores, by measure."""
        ...

    async def lines(self, parent: UUID, after: int, most: int, with_request: bool = False) -> list[Job]: ...

    async def claim(self, worker: UUID, most: int, per_tenant: int, lease: timedelta) -> list[Job]:
        """Takes what comes next: tenants in turn, those with the fewest running first; by priority and age within each."""
        ...

    async def beat(self, worker: UUID, lease: timedelta, jobs: Collection[UUID]) -> set[UUID]:
        """Extends a worker's leases of `jobs`; which of them it still holds. Of what it does not name the lease will end."""
        ...

    async def held(self, job_id: UUID, worker: UUID, lease: timedelta) -> bool:
        """Extends the lease of one job; whether the worker still holds it."""
        ...

    async def show(self, worker: UUID, partials: Mapping[UUID, str]) -> None:
        """Keeps what is there of answers under way."""
        ...

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> list[Job]:
        """Writes what tries came to, with notes, webhooks and turns of conversations. Only who holds the lease may: whose was written."""
        ...

    async def cancel(self, job_id: UUID) -> Job:
        """Ends it, or what is left of a batch."""
        ...

    async def retry(self, job_id: UUID) -> Job:
        """Queues it again, or the lines of a batch that failed."""
        ...

    async def sweep(self, now: datetime) -> int:
        """Takes back expired leases, ends what is past its deadline, forgets what need not be kept. How many changed."""
        ...

    def outbox(self, most: int) -> AbstractAsyncContextManager[Sequence[Note]]:
        """Notes that are being sent: they are gone once the block has ended well, and stay when it has not."""
        ...

    async def deliveries(self, most: int, within: timedelta) -> list[Delivery]:
        """Webhooks that are due; they are due again `within`, unless something is said of them."""
        ...

    async def delivered(self, delivery: Delivery, status: int, error: str, again: datetime | None) -> None:
        """How a try went; `again` is None when it arrived or is given up."""
        ...

    async def log(self, job_id: UUID) -> list[Delivery]:
        """A job's webhooks, the oldest first."""
        ...

    async def depth(self) -> tuple[int, float]:
        """Jobs waiting that may begin, and the age of the oldest in seconds."""
        ...
