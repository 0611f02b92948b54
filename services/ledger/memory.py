"""A store for tests and simulation: the same promises, kept until the process ends."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import structs

from services.ledger.books import Budget, Need, carved, wanted
from services.ledger.safeguards import Safeguard
from services.ledger.store import Alert, ApiKey, Asked, BudgetKey, Ending, Entry, MeterKey, Standing, UsageRow
from services.ledger.suspensions import Suspension
from services.ledger.windows import ROLLING, Window, zone
from services.runtime.accounts import within

REACH = {
    Window.MINUTE: timedelta(minutes=1),
    Window.DAY: timedelta(hours=26),
    Window.MONTH: timedelta(days=32),
    **{window: rolling.span for window, rolling in ROLLING.items()},
}
"""How far back a window's meter looks for another that was charged what ended in it."""


class MemoryStore:
    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._requests: dict[str, str] = {}
        self._signing: dict[str, tuple[bytes, datetime]] = {}
        self._secrets: dict[str, bytes] = {}
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._spent: dict[MeterKey, int] = {}
        self._leases: dict[tuple[UUID, MeterKey], tuple[int, datetime]] = {}
        self._recalled: dict[BudgetKey, datetime] = {}
        self._suspensions: dict[str, Suspension] = {}
        self._safeguards: dict[str, Safeguard] = {}
        self._alerts: dict[str, Alert] = {}
        self.ended: dict[UUID, Entry] = {}
        self._erased: set[UUID] = set()
        self._revision = 0

    async def add_key(self, key: ApiKey, request_id: str) -> ApiKey:
        if request_id and request_id in self._requests:
            return self._keys[self._requests[request_id]]
        self._keys[key.id] = key
        if request_id:
            self._requests[request_id] = key.id
        return key

    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        return next((key for key in self._keys.values() if key.secret_hash == secret_hash), None)

    async def keys(self, account: str, after: str, most: int) -> list[ApiKey]:
        found = sorted(self._keys.values(), key=lambda key: key.id)
        return [key for key in found if key.id > after and _within(key.account, account)][:most]

    async def revoke_key(self, key_id: str, at: datetime) -> ApiKey | None:
        if (key := self._keys.get(key_id)) is None:
            return None
        self._keys[key_id] = key if key.revoked else replace(key, revoked=at)
        return self._keys[key_id]

    async def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    async def expire_key(self, key_id: str, at: datetime) -> ApiKey | None:
        if (key := self._keys.get(key_id)) is None:
            return None
        self._keys[key_id] = replace(key, expires=at if key.expires is None else min(key.expires, at))
        return self._keys[key_id]

    async def revoked_since(self, since: datetime) -> list[str]:
        return [key.id for key in self._keys.values() if key.revoked is not None and key.revoked >= since]

    async def publish_signing_key(self, key_id: str, public: bytes, expires: datetime) -> None:
        self._signing[key_id] = (public, expires)

    async def signing_keys(self, now: datetime) -> dict[str, bytes]:
        return {key_id: public for key_id, (public, expires) in self._signing.items() if expires > now}

    async def shared_secret(self, name: str, fresh: bytes) -> bytes:
        return self._secrets.setdefault(name, fresh)

    async def set_budget(self, budget: Budget) -> None:
        self._budgets[budget.account, budget.name] = budget
        self._revision += 1

    async def delete_budget(self, account: str, name: str) -> bool:
        self._leases = {
            at: lease for at, lease in self._leases.items() if (at[1].account, at[1].name) != (account, name)
        }
        self._spent = {at: spent for at, spent in self._spent.items() if (at.account, at.name) != (account, name)}
        self._revision += 1
        return self._budgets.pop((account, name), None) is not None

    async def budgets(self) -> list[Budget]:
        return sorted(self._budgets.values(), key=lambda budget: (budget.account, budget.name))

    async def revision(self) -> int:
        return self._revision

    async def standing(self, meters: Sequence[MeterKey]) -> dict[MeterKey, Standing]:
        return {meter: self._standing(meter) for meter in meters if (meter.account, meter.name) in self._budgets}

    async def lease(self, replica: UUID, wants: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        known = {meter: want for meter, want in wants.items() if (meter.account, meter.name) in self._budgets}
        given = {
            meter: wanted(want, self._standing(meter).remaining, meter.budget in self._recalled)
            for meter, want in known.items()
        }
        if any(given[meter] < want for meter, want in known.items()):
            return {}
        for meter, amount in given.items():
            before, _ = self._leases.get((replica, meter), (0, expires))
            self._leases[replica, meter] = (before + amount, expires)
        return given

    async def carve(self, allowance: UUID, most: Mapping[MeterKey, int], expires: datetime) -> dict[MeterKey, int]:
        known = [meter for meter in most if (meter.account, meter.name) in self._budgets]
        has = {meter: self._leases.get((allowance, meter), (0, expires))[0] for meter in known}
        given = {meter: carved(most[meter], has[meter], self._standing(meter).remaining) for meter in known}
        if not all(given.values()):
            return {}
        self._leases.update({(allowance, meter): (amount, expires) for meter, amount in given.items()})
        return given

    async def give_back(self, replica: UUID, amounts: Mapping[MeterKey, int]) -> None:
        for meter, amount in amounts.items():
            self._unlease(replica, meter, amount)

    async def recall(self, replica: UUID, meter: MeterKey, until: datetime) -> bool:
        others = (meter.account, meter.name) in self._budgets and any(
            one != replica and amount > 0 and self._counts(at, meter)
            for (one, at), (amount, _) in self._leases.items()
        )  # fmt: skip
        if others:
            self._recalled[meter.budget] = max(until, self._recalled.get(meter.budget, until))
        return others

    async def recalled(self, now: datetime) -> Collection[BudgetKey]:
        self._recalled = {budget: until for budget, until in self._recalled.items() if until > now}
        return set(self._recalled)

    async def extend(self, replica: UUID, expires: datetime, now: datetime) -> int:
        before = len(self._leases)
        self._leases = {
            at: (amount, expires if at[0] == replica else until)
            for at, (amount, until) in self._leases.items()
            if at[0] == replica or until > now
        }
        return before - len(self._leases)

    async def entry(self, reservation_id: UUID) -> Entry | None:
        return self.ended.get(reservation_id)

    async def end(self, endings: Sequence[Ending]) -> list[Entry | None]:
        earlier: list[Entry | None] = []
        for ending in endings:
            known = self.ended.get(ending.entry.reservation_id)
            earlier.append(known)
            if known is None and ending.entry.reservation_id not in self._erased:
                self.ended[ending.entry.reservation_id] = ending.entry
                for charge in ending.charges:
                    if charge.meter in self._spent:
                        self._spent[charge.meter] += charge.spent
                    self._unlease(ending.replica, charge.meter, charge.unleased)
        return earlier

    async def suspend(self, suspension: Suspension) -> Suspension:
        self._revision += 1
        return self._suspensions.setdefault(suspension.account, suspension)

    async def resume(self, account: str) -> bool:
        self._revision += 1
        return self._suspensions.pop(account, None) is not None

    async def suspensions(self) -> list[Suspension]:
        return [self._suspensions[account] for account in sorted(self._suspensions)]

    async def set_safeguard(self, safeguard: Safeguard) -> None:
        self._safeguards[safeguard.account] = safeguard
        self._revision += 1

    async def delete_safeguard(self, account: str) -> bool:
        self._revision += 1
        return self._safeguards.pop(account, None) is not None

    async def safeguards(self) -> list[Safeguard]:
        return [self._safeguards[account] for account in sorted(self._safeguards)]

    async def add_alert(self, alert: Alert, once: str) -> None:
        self._alerts.setdefault(once, replace(alert, id=len(self._alerts) + 1))

    async def alerts(self, account: str, after: int, most: int) -> list[Alert]:
        return [one for one in self._alerts.values() if one.id > after and _within(one.account, account)][:most]

    async def usage(self, asked: Asked, group_by: str, after: str, most: int) -> list[UsageRow]:
        groups: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self._asked(asked):
            groups[_group(entry, group_by, asked)].append(entry)
        rows = [
            UsageRow(
                name,
                len(entries),
                sum(entry.cached for entry in entries),
                sum(entry.input_tokens for entry in entries),
                sum(entry.output_tokens for entry in entries),
                sum(entry.cost for entry in entries),
                sum(entry.baseline for entry in entries),
                sum(entry.baseline for entry in entries if entry.cached),
            )
            for name, entries in sorted(groups.items())
        ]
        return [row for row in rows if not after or row.group > after][:most]

    async def entries(
        self, asked: Asked, after: tuple[datetime, UUID] | None, most: int, *, newest_first: bool = False
    ) -> list[Entry]:
        placed = [((one.at, one.reservation_id), one) for one in self._asked(asked)]
        placed.sort(key=lambda pair: pair[0], reverse=newest_first)
        return [one for place, one in placed if after is None or (place < after if newest_first else place > after)][
            :most
        ]

    async def daily(self, asked: Asked) -> dict[date, int]:
        days: defaultdict[date, int] = defaultdict(int)
        for entry in self._asked(asked):
            days[entry.at.astimezone(zone(asked.time_zone)).date()] += entry.cost
        return dict(days)

    async def erase(self, tenant: str, subject: str, at: datetime) -> Mapping[str, int]:
        self._revision += 1
        entries = {one.reservation_id: one for one in self.ended.values() if _within(one.account, tenant)}
        if subject:
            bare = {
                key: structs.replace(one, tags={name: value for name, value in one.tags.items() if value != subject})
                for key, one in entries.items() if subject in one.tags.values()
            }  # fmt: skip
            self.ended.update(bare)
            return {"entries": len(bare)}
        self._erased.update(entries)
        self.ended = {key: one for key, one in self.ended.items() if key not in entries}
        keys = [one for one in self._keys.values() if _within(one.account, tenant)]
        for one in keys:
            self._keys[one.id] = replace(one, account="", name="", secret_hash=b"", revoked=one.revoked or at)
        budgets = [one for one in self._budgets.values() if _within(one.account, tenant)]
        for budget in budgets:
            await self.delete_budget(budget.account, budget.name)
        alerts = [once for once, one in self._alerts.items() if _within(one.account, tenant)]
        safeguards = [account for account in self._safeguards if _within(account, tenant)]
        for once in alerts:
            del self._alerts[once]
        for account in safeguards:
            del self._safeguards[account]
        for account in [one for one in self._suspensions if one.startswith(f"{tenant}/")]:
            del self._suspensions[account]
        return {"entries": len(entries), "keys": len(keys), "budgets": len(budgets), "alerts": len(alerts),
                "safeguards": len(safeguards), "role_bindings": 0}  # fmt: skip

    def _asked(self, asked: Asked) -> list[Entry]:
        return [
            entry
            for entry in self.ended.values()
            if entry.outcome == "settled" and asked.since <= entry.at < asked.until
            and _within(entry.account, asked.account) and asked.model in ("", entry.model)
            and asked.key_id in ("", entry.key_id)
            and asked.tags.items() <= entry.tags.items()
        ]  # fmt: skip

    def _standing(self, meter: MeterKey) -> Standing:
        if meter not in self._spent:
            self._spent[meter] = self._used_before(meter)
        counted = {at for at in self._spent if self._counts(at, meter)}
        leased = sum(amount for (_, at), (amount, _) in self._leases.items() if at in counted)
        spent = sum(self._spent[at] for at in counted)
        return Standing(self._budgets[meter.account, meter.name].limit, spent, leased)

    def _counts(self, one: MeterKey, meter: MeterKey) -> bool:
        """Whether `one` counts with `meter`: it is itself, or a step of its rolling window."""
        rolling = ROLLING.get(self._budgets[meter.account, meter.name].window)
        same = (one.account, one.name) == (meter.account, meter.name)
        return one == meter or (rolling is not None and same and one.started >= meter.started - rolling.span)

    def _used_before(self, meter: MeterKey) -> int:
        """What the window had seen before its budget was set; of a later window nothing, which was charged to its meters."""
        budget = self._budgets[meter.account, meter.name]
        reach, rolling = REACH.get(budget.window, timedelta()), ROLLING.get(budget.window)
        mine = [at for at in self._spent if (at.account, at.name) == (meter.account, meter.name)]
        if any(meter.started - reach <= at.started < meter.started for at in mine):
            return 0
        since = meter.started - rolling.span if rolling else meter.started
        return sum(
            Need(entry.model, entry.cost, entry.input_tokens + entry.output_tokens).used(budget.unit)
            for entry in self.ended.values()
            if entry.outcome == "settled" and entry.at >= since
            and _within(entry.account, meter.account) and budget.covers(entry.model)
        )  # fmt: skip

    def _unlease(self, replica: UUID, meter: MeterKey, amount: int) -> None:
        if (lease := self._leases.get((replica, meter))) is not None:
            self._leases[replica, meter] = (max(lease[0] - amount, 0), lease[1])


def _within(account: str, root: str) -> bool:
    return not root or within(account, root)


def _group(entry: Entry, group_by: str, asked: Asked) -> str:
    if group_by == "template":
        group_by = "tag:template"
    if group_by.startswith("tag:"):
        return entry.tags.get(group_by.removeprefix("tag:"), "")
    at = entry.at.astimezone(zone(asked.time_zone))
    times = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
    if group_by in times:
        return at.strftime(times[group_by])
    return {"account": entry.account, "model": entry.model, "key": entry.key_id}.get(group_by, "")
