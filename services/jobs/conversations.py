"""Conversations in PostgreSQL: what was said, item by item, in the order in which it was added."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.jobs.sweeping import AT_ONCE, forgotten
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Caller
from services.runtime.postgres import affected

IDLE = timedelta(days=30)
MOST_ITEMS = 4000
"""Of a conversation that is gone on from: as many as a request may have messages, with room for what is new."""


class ConversationUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "CONVERSATION_UNKNOWN"
    text = "there is no conversation {conversation_id}"
    field = "conversation_id"


class ConversationIdReused(Failure):
    kind, reason = Kind.REUSED, "CONVERSATION_ID_REUSED"
    text = "another conversation is called {conversation_id}"
    field = "conversation_id"


class ConversationFull(Failure):
    kind, reason = Kind.EXHAUSTED, "CONVERSATION_FULL"
    text = "conversation {conversation_id} may hold {most} items, and would hold {items}"


class NoTurn(Failure):
    kind, reason = Kind.INVALID, "NO_TURN"
    text = "turn_alone: it is a turn of no conversation"
    field = "turn_alone"


class ItemUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "ITEM_UNKNOWN"
    text = "there is no item {item_id} in the conversation"
    field = "item_id"


@dataclass(frozen=True, slots=True)
class Conversation:
    id: UUID
    account: str
    created: datetime
    used: datetime
    idle: timedelta
    """Removed when it was not used for so long."""
    metadata: Mapping[str, str]
    sealed: bytes = field(default=b"", repr=False)
    """What was masked, for the next turn."""


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    body: bytes = field(repr=False)
    """A message that holds nothing else."""


COLUMNS = "id, account, created, used, idle, metadata, sealed"
PAST = f"""DELETE FROM conversation WHERE id IN (
    SELECT id FROM conversation WHERE timezone('UTC', used) + idle < timezone('UTC', now()) LIMIT {AT_ONCE})"""
"""As the index `conversation_idle` has it."""
INSERT = """
INSERT INTO item (conversation, place, id, subject, body)
SELECT $1, $2 + t.place, t.id, $3, t.body FROM unnest($4::text[], $5::bytea[]) WITH ORDINALITY AS t(id, body, place)
ON CONFLICT (conversation, id) DO NOTHING
"""


class Conversations:
    def __init__(self, pool: asyncpg.Pool, most_items: int = MOST_ITEMS) -> None:
        self._pool, self._most = pool, most_items

    async def begin(
        self, name: UUID, account: str, metadata: Mapping[str, str], idle: timedelta, items: Sequence[Item]
    ) -> Conversation:
        """The earlier one when it came before.

        Raises:
            ConversationIdReused, ConversationFull
        """
        async with self._pool.acquire() as connection, connection.transaction():
            made = await connection.fetchval(
                """INSERT INTO conversation (id, account, tenant, idle, metadata) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (id) DO NOTHING RETURNING id""",
                name, account, account.partition("/")[0], idle or IDLE, json.dumps(dict(metadata)),
            )  # fmt: skip
            if made is not None:
                await self._add(connection, name, items)
            found = _read(await connection.fetchrow(f"SELECT {COLUMNS} FROM conversation WHERE id = $1", name))
        if found is None or found.account != account:
            raise ConversationIdReused(conversation_id=str(name))
        return found

    async def own(self, name: UUID, caller: Caller) -> Conversation:
        """The caller's, or one below it; any for an administrator.

        Raises:
            ConversationUnknown: there is none, or it is somebody else's: which of them, nobody is told.
        """
        found = _read(await self._pool.fetchrow(f"SELECT {COLUMNS} FROM conversation WHERE id = $1", name))
        if found is None or not caller.over(found.account):
            raise ConversationUnknown(conversation_id=str(name))
        return found

    async def whole(self, name: UUID) -> list[Item]:
        """All that it holds, to be gone on from: it counts as used.

        Raises:
            ConversationFull: nothing could be added any more.
        """
        await self._pool.execute("UPDATE conversation SET used = now() WHERE id = $1", name)
        found = await self.items(name, "", self._most)
        if len(found) >= self._most:
            raise ConversationFull(conversation_id=str(name), most=self._most, items=len(found) + 1)
        return found

    async def change(self, name: UUID, metadata: Mapping[str, str]) -> Conversation:
        """
        Raises:
            ConversationUnknown: it went meanwhile.
        """
        update = f"UPDATE conversation SET metadata = $2 WHERE id = $1 RETURNING {COLUMNS}"
        made = _read(await self._pool.fetchrow(update, name, json.dumps(dict(metadata))))
        if made is None:
            raise ConversationUnknown(conversation_id=str(name))
        return made

    async def delete(self, name: UUID) -> None:
        await self._pool.execute("DELETE FROM conversation WHERE id = $1", name)

    async def add(self, name: UUID, items: Sequence[Item]) -> None:
        """
        Raises:
            ConversationUnknown: it went meanwhile.
            ConversationFull
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await self._add(connection, name, items)

    async def items(self, name: UUID, after: str, most: int, newest_first: bool = False) -> list[Item]:
        """
        Raises:
            ItemUnknown: there is no item `after`.
        """
        place = None
        if after:
            place = await self._pool.fetchval("SELECT place FROM item WHERE (conversation, id) = ($1, $2)", name, after)
            if place is None:
                raise ItemUnknown(item_id=after)
        beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
        rows = await self._pool.fetch(
            f"""SELECT id, body FROM item WHERE conversation = $1 AND ($2::bigint IS NULL OR place {beyond} $2)
                ORDER BY place {order} LIMIT $3""",
            name, place, most,
        )  # fmt: skip
        return [Item(row["id"], row["body"]) for row in rows]

    async def item(self, name: UUID, item: str) -> Item:
        """
        Raises:
            ItemUnknown
        """
        row = await self._pool.fetchrow("SELECT id, body FROM item WHERE (conversation, id) = ($1, $2)", name, item)
        if row is None:
            raise ItemUnknown(item_id=item)
        return Item(row["id"], row["body"])

    async def drop(self, name: UUID, item: str) -> None:
        """
        Raises:
            ItemUnknown
        """
        done = await self._pool.execute("DELETE FROM item WHERE (conversation, id) = ($1, $2)", name, item)
        if not affected(done):
            raise ItemUnknown(item_id=item)

    async def erase(self, tenant: str, subject: str) -> int:
        """Deletes those in which an end user, a digest, had a turn, or all of a tenant where it is ''; how many."""
        if subject:
            among = "id IN (SELECT conversation FROM item WHERE subject = $2)"
            done = await self._pool.execute(f"DELETE FROM conversation WHERE tenant = $1 AND {among}", tenant, subject)
        else:
            done = await self._pool.execute("DELETE FROM conversation WHERE tenant = $1", tenant)
        return affected(done)

    async def sweep(self) -> None:
        """Forgets what nobody has gone on from for too long."""
        await forgotten(self._pool, PAST)

    async def _add(self, connection: Any, name: UUID, items: Sequence[Item]) -> None:
        """Counts once it alone may add: two at once would else pass the most that may be together."""
        if not await added(connection, name, items):
            raise ConversationUnknown(conversation_id=str(name))
        held = await connection.fetchval("SELECT count(*) FROM item WHERE conversation = $1", name)
        if held > self._most:
            raise ConversationFull(conversation_id=str(name), most=self._most, items=held)


async def added(connection: Any, name: UUID, items: Sequence[Item], subject: str = "", sealed: bytes = b"") -> bool:
    """Adds them to the end, within a transaction; those that it holds already stay as they are. Whether there is such a conversation."""
    place = await connection.fetchval("SELECT places FROM conversation WHERE id = $1 FOR UPDATE", name)
    if place is None:
        return False
    await connection.execute(INSERT, name, place, subject, [one.id for one in items], [one.body for one in items])
    await connection.execute(
        """UPDATE conversation SET places = places + $2, used = now(), sealed = CASE WHEN $3::bytea = '' THEN sealed ELSE $3 END
           WHERE id = $1""",
        name, len(items), sealed,
    )  # fmt: skip
    return True


def conversation_id(name: str) -> UUID:
    """
    Raises:
        ConversationUnknown: nothing is called so.
    """
    try:
        return UUID(name)
    except ValueError:
        raise ConversationUnknown(conversation_id=name) from None


def _read(row: Any) -> Conversation | None:
    if row is None:
        return None
    metadata = json.loads(row["metadata"])
    return Conversation(
        row["id"], row["account"], row["created"], row["used"], row["idle"], metadata, row["sealed"]
    )  # fmt: skip
