"""Work that is no conversation, paid for: the most that it can come to is held, and what it came to is charged."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.ledger.v1 import ledger_pb2

from services.orchestrator.money import told
from services.orchestrator.road import NAMESPACE, Road


@dataclass(slots=True)
class Charged:
    held: ledger_pb2.ReserveResponse
    usage: chat.Usage | None = None
    """What it has come to. As long as it is None, nothing has been had, and nothing is charged."""


@asynccontextmanager
async def charged(
    road: Road, attempt: ledger_pb2.Attempt, reservation: str, said: pb.Road, *, again: bool = False
) -> AsyncIterator[Charged]:
    """Holds `attempt` for as long as the block lasts, and has `said` tell so. At its end, however it ends, what it says is charged.

    Raises:
        AioRpcError: what the ledger says.
    """
    await road.peers.reach("ledger", road.waits.restart_s)
    asked = ledger_pb2.ReserveRequest(reservation_id=reservation, again=again, attempts=[attempt])
    made = Charged(await road.peers.ledger.Reserve(asked))
    told(said, made.held)
    began = time.monotonic()
    try:
        yield made
    finally:
        if not made.held.paid:
            _end(road, attempt.model, made, made.held.reservation_id or reservation, again, time.monotonic() - began)


def reservation(account: str, key: str) -> str:
    """The same for every try of a request that bears a key."""
    return str(uuid.uuid5(NAMESPACE, f"{account}\0{key}") if key else uuid.uuid4())


def _end(road: Road, model: str, made: Charged, reservation: str, again: bool, took_s: float) -> None:
    ledger, later, usage = road.peers.ledger, road.desk.later, made.usage
    if usage is None:
        hold = ledger_pb2.ReleaseRequest(reservation_id=reservation, hold=made.held.hold)
        later(lambda: ledger.Release(hold, timeout=5.0))
        return
    compute = Duration()
    compute.FromMilliseconds(max(int(took_s * 1000), 1))
    settle = ledger_pb2.SettleRequest(
        reservation_id=reservation,
        hold=made.held.hold,
        model=model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        again=again,
        compute=compute,
        kinds=usage.kinds if usage.HasField("kinds") else None,
    )
    later(lambda: ledger.Settle(settle, timeout=5.0))
