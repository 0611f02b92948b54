"""Sends what the outbox holds to the broker: at least once, in batches, and again for as long as the broker is away."""

import asyncio
import logging
from dataclasses import dataclass, field

from services.jobs.store import TICKETS, Store
from services.runtime.brokers import Broker, BrokerAway
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)

MOST, IDLE_S, AGAIN_S = 500, 0.2, 1.0


@dataclass(slots=True)
class Relay:
    store: Store
    broker: Broker
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                sent = await self.send()
            except BrokerAway as error:
                log.warning("notes wait in the outbox: %s", error)
                await asyncio.sleep(AGAIN_S)
                continue
            except AWAY as error:
                log.warning("the outbox cannot be read: %s", type(error).__name__)
                await asyncio.sleep(AGAIN_S)
                continue
            if sent < MOST:
                self.wake.clear()
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self.wake.wait()
                except TimeoutError:
                    continue  # a note may have come due by itself

    async def send(self) -> int:
        """One batch. Tickets for one tenant are all alike, so that a batch sends each but once."""
        async with self.store.outbox(MOST) as notes:
            tickets = {note.key: note for note in notes if note.topic == TICKETS}
            events = [note for note in notes if note.topic != TICKETS]
            for note in (*events, *tickets.values()):
                await self.broker.publish(note.topic, note.key, note.body)
        return len(notes)
