"""People and what they are bound to."""

from datetime import datetime, timedelta
from typing import Protocol

import asyncpg

from services.ledger.roles import Binding, BindingUnknown, Person

REMEMBERED = timedelta(days=30)
"""What people handed in is done for so long after they were last seen."""


class People(Protocol):
    async def bind(self, one: Binding) -> None: ...

    async def unbind(self, one: Binding) -> None:
        """
        Raises:
            BindingUnknown
        """
        ...

    async def listed(self, account: str, after: Binding | None, most: int) -> list[Binding]:
        """Of an account and all below it, or of all."""
        ...

    async def bindings(self, person: Person) -> list[Binding]: ...

    async def remember(self, person: Person, now: datetime) -> None: ...

    async def person(self, person_id: str, now: datetime) -> Person | None:
        """Who was seen not long ago."""
        ...


class MemoryPeople:
    """In a set: for tests."""

    def __init__(self) -> None:
        self.bound: set[Binding] = set()
        self.seen: dict[str, tuple[Person, datetime]] = {}

    async def bind(self, one: Binding) -> None:
        self.bound.add(one)

    async def unbind(self, one: Binding) -> None:
        if one not in self.bound:
            raise BindingUnknown(account=one.account, subject=one.subject, role=one.role)
        self.bound.remove(one)

    async def listed(self, account: str, after: Binding | None, most: int) -> list[Binding]:
        within = (one for one in sorted(self.bound) if not account or f"{one.account}/".startswith(f"{account}/"))
        return [one for one in within if after is None or one > after][:most]

    async def bindings(self, person: Person) -> list[Binding]:
        return [one for one in self.bound if one.subject in person.names]

    async def remember(self, person: Person, now: datetime) -> None:
        self.seen[person.id] = person, now

    async def person(self, person_id: str, now: datetime) -> Person | None:
        found, seen = self.seen.get(person_id, (None, now))
        return found if now - seen < REMEMBERED else None


class PostgresPeople:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def bind(self, one: Binding) -> None:
        await self._pool.execute(
            "INSERT INTO role_binding (account, subject, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            one.account, one.subject, one.role,
        )  # fmt: skip

    async def unbind(self, one: Binding) -> None:
        """
        Raises:
            BindingUnknown
        """
        done = await self._pool.execute(
            "DELETE FROM role_binding WHERE account = $1 AND subject = $2 AND role = $3",
            one.account, one.subject, one.role,
        )  # fmt: skip
        if done == "DELETE 0":
            raise BindingUnknown(account=one.account, subject=one.subject, role=one.role)

    async def listed(self, account: str, after: Binding | None, most: int) -> list[Binding]:
        """Of an account and all below it, or of all."""
        last = after or Binding("", "", "")
        found = await self._pool.fetch(
            """SELECT account, subject, role FROM role_binding WHERE ($1 = '' OR account = $1 OR starts_with(account, $1 || '/'))
               AND (account, subject, role) > ($2, $3, $4) ORDER BY account, subject, role LIMIT $5""",
            account, last.account, last.subject, last.role, most,
        )  # fmt: skip
        return [Binding(row["account"], row["subject"], row["role"]) for row in found]

    async def bindings(self, person: Person) -> list[Binding]:
        found = await self._pool.fetch(
            "SELECT account, subject, role FROM role_binding WHERE subject = ANY($1::text[])", list(person.names)
        )
        return [Binding(row["account"], row["subject"], row["role"]) for row in found]

    async def remember(self, person: Person, now: datetime) -> None:
        await self._pool.execute(
            """INSERT INTO person (id, issuer, sub, names, seen) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (id) DO UPDATE SET names = $4, seen = $5""",
            person.id, person.issuer, person.sub, list(person.names), now,
        )  # fmt: skip

    async def person(self, person_id: str, now: datetime) -> Person | None:
        """Who was seen not long ago."""
        row = await self._pool.fetchrow("SELECT * FROM person WHERE id = $1 AND seen > $2", person_id, now - REMEMBERED)
        return Person(row["id"], row["issuer"], row["sub"], tuple(row["names"])) if row is not None else None
