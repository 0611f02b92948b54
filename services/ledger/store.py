"""Where the books are kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from services.ledger.books import Budget
from services.ledger.safeguards import Safeguard
from services.ledger.suspensions import Suspension
from services.runtime.errors import Failure, Kind


class BudgetUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "BUDGET_UNKNOWN"
    text = "{account} has no budget {name}"


class LedgerAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "LEDGER_AWAY"
    text = "the ledger's database is away"


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    account: str
    name: str
    secret_hash: bytes = field(repr=False)
    admin: bool
    models: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    scopes: tuple[str, ...] = ()
    """What it may do; empty for all."""
    regions: tuple[str, ...] = ()
    """Who may answer it; empty for all."""


class BudgetKey(NamedTuple):
    account: str
    name: str


class MeterKey(NamedTuple):
    """One budget in one window. A tuple: it is looked up many times a request."""

    account: str
    name: str
    started: datetime

    @property
    def budget(self) -> BudgetKey:
        return BudgetKey(self.account, self.name)


@dataclass(frozen=True, slots=True)
class Standing:
    """A meter as the store has it."""

    limit: int
    spent: int
    leased: int
    recalled: bool = False
    """Whether its budget is called back."""

    @property
    def remaining(self) -> int:
        return self.limit - self.spent - self.leased


class Charge(Struct, frozen=True):
    """What ending a reservation does to one meter."""

    meter: MeterKey
    spent: int
    """Used, in the budget's unit."""
    unleased: int
    """Taken out of the lease of `replica`."""


class Entry(Struct, frozen=True):
    """The end of a reservation: a fact, kept for good."""

    reservation_id: UUID
    outcome: str
    at: datetime
    key_id: str
    account: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    held: int = 0
    cached: bool = False
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    baseline: int = 0
    """What it would have cost with the strongest model, for reports; not read back with an entry."""

    def same(self, other: "Entry") -> bool:
        """Whether `other` reports the same end."""
        mine = (self.outcome, self.model, self.input_tokens, self.output_tokens, self.cost)
        return mine == (other.outcome, other.model, other.input_tokens, other.output_tokens, other.cost)


class Ending(Struct, frozen=True):
    """An entry with what it does to meters and to the lease of one replica."""

    entry: Entry
    replica: UUID
    charges: tuple[Charge, ...]
    bounded: bool = False
    """It was granted from an allowance: no more is taken out of its lease than is in it."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    group: str
    requests: int
    cached_requests: int
    input_tokens: int
    output_tokens: int
    cost: int
    baseline: int = 0
    cached_baseline: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """What people should know of."""

    kind: str
    account: str
    subject: str
    text: str
    at: datetime
    id: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Of which entries a report is."""

    account: str
    """And all below it; '' for all."""
    since: datetime
    until: datetime
    model: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    time_zone: str = "UTC"
    key_id: str = ""


class Store(Protocol):
    """All of it raises [LedgerAway][] when the database does not answer."""

    async def add_key(self, key: ApiKey, request_id: str) -> ApiKey:
        """Keeps a key; returns the earlier one when `request_id` came before."""
        ...

    async def find_key(self, secret_hash: bytes) -> ApiKey | None: ...

    async def keys(self, account: str, after: str, most: int) -> list[ApiKey]:
        """Keys of `account` and below ('' for all) whose id is above `after`, by id."""
        ...

    async def revoke_key(self, key_id: str, at: datetime) -> ApiKey | None: ...

    async def key(self, key_id: str) -> ApiKey | None: ...

    async def expire_key(self, key_id: str, at: datetime) -> ApiKey | None:
        """Lets a key end at `at`, or when it would have ended before. None when there is no such key."""
        ...

    async def revoked_since(self, since: datetime) -> list[str]: ...

    async def publish_signing_key(self, key_id: str, public: bytes, expires: datetime) -> None: ...

    async def signing_keys(self, now: datetime) -> dict[str, bytes]: ...

    async def shared_secret(self, name: str, fresh: bytes) -> bytes:
        """The secret of that name; `fresh` becomes it when there is none."""
        ...

    async def set_budget(self, budget: Budget) -> None: ...

    async def delete_budget(self, account: str, name: str) -> bool: ...

    async def budgets(self) -> list[Budget]:
        """By account and name."""
        ...

    async def revision(self) -> int:
        """Another number whenever budgets, suspensions or safeguards have changed."""
        ...

    async def standing(self, meters: Sequence[MeterKey]) -> dict[MeterKey, Standing]:
        """Those of `meters` that exist."""
        ...

    async def lease(self, replica: UUID, wants: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        """Leases at least what is wanted of every meter, or of none: then the result is empty.

        Durable when it returns; never more than a budget has left, and no more than is wanted of one that is called back.
        """
        ...

    async def carve(self, allowance: UUID, most: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        """Leases an allowance its part of every meter, or none of any: then the result is empty. Again fills it up.

        Durable when it returns; see [carved][services.ledger.books.carved].
        """
        ...

    async def give_back(self, replica: UUID, amounts: Mapping[MeterKey, int]) -> None:
        """Returns idle parts of leases."""
        ...

    async def recall(self, replica: UUID, meter: MeterKey, until: datetime) -> bool:
        """Calls back what is leased of a budget by others than `replica`; whether any is, of what counts with `meter`."""
        ...

    async def recalled(self, now: datetime) -> Collection[BudgetKey]:
        """Budgets that are called back; forgets those that were until `now`."""
        ...

    async def extend(self, replica: UUID, expires: datetime, now: datetime) -> int:
        """Keeps a replica's leases alive and takes back those expired by `now`; how many were taken back."""
        ...

    async def entry(self, reservation_id: UUID) -> Entry | None:
        """How a reservation ended."""
        ...

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        """Posts endings in one transaction. For each the entry that stood already, or None when it is new."""
        ...

    async def suspend(self, suspension: Suspension) -> Suspension:
        """Stops an account; the earlier suspension where there is one."""
        ...

    async def resume(self, account: str) -> bool:
        """Whether it was suspended."""
        ...

    async def suspensions(self) -> list[Suspension]:
        """By account."""
        ...

    async def set_safeguard(self, safeguard: Safeguard) -> None: ...

    async def delete_safeguard(self, account: str) -> bool: ...

    async def safeguards(self) -> list[Safeguard]:
        """By account."""
        ...

    async def add_alert(self, alert: Alert, once: str) -> None:
        """Keeps an alert under the next number, unless one came with the same `once`."""
        ...

    async def alerts(self, account: str, after: int, most: int) -> list[Alert]:
        """Alerts of `account` and below ('' for all) whose number is above `after`, by number."""
        ...

    async def usage(self, asked: Asked, group_by: str, after: str, most: int) -> list[UsageRow]: ...

    async def entries(
        self, asked: Asked, after: tuple[datetime, UUID] | None, most: int, *, newest_first: bool = False
    ) -> list[Entry]:
        """What was settled after the time and id of the last entry of the page before, in their order or against it."""
        ...

    async def daily(self, asked: Asked) -> dict[date, int]:
        """What was spent, by day."""
        ...

    async def erase(self, tenant: str, subject: str, at: datetime) -> Mapping[str, int]:
        """Takes the labels with the name of an end user, or, where it is '', everything of a tenant but that it is suspended; how many
        of each kind. Its keys count as revoked `at`."""
        ...
