"""Work that is no conversation, paid for: the most that it can come to is held, and what it came to is charged."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.ledger.v1 import ledger_pb2

from services.orchestrator.money import told
from services.orchestrator.road import NAMESPACE, Road


@dataclass(slots=True)
class Charged:
    model: str
    reservation: str
    held: ledger_pb2.ReserveResponse
    again: bool = False
    usage: chat.Usage | None = None
    """What it has come to. As long as it is None, nothing has been had, and nothing is charged."""
    began: float = field(default_factory=time.monotonic)


@asynccontextmanager
async def charged(
    road: Road, attempt: ledger_pb2.Attempt, reservation: str, said: pb.Road, *, again: bool = False
) -> AsyncIterator[Charged]:
    """Holds `attempt` for as long as the block lasts, and has `said` tell so. At its end, however it ends, what it says is charged.

    Raises:
        AioRpcError: what the ledger says.
    """
    made = await held(road, attempt, reservation, again=again)
    told(said, made.held)
    try:
        yield made
    finally:
        end(road, made)


async def held(road: Road, attempt: ledger_pb2.Attempt, reservation: str, *, again: bool = False) -> Charged:
    """Holds `attempt`, until `end` says what it came to.

    Raises:
        AioRpcError: what the ledger says.
    """
    await road.peers.reach("ledger", road.waits.restart_s)
    asked = ledger_pb2.ReserveRequest(reservation_id=reservation, again=again, attempts=[attempt])
    answer = await road.peers.ledger.Reserve(asked)
    return Charged(attempt.model, answer.reservation_id or reservation, answer, again)


def end(road: Road, made: Charged, tags: Mapping[str, str] | None = None) -> None:
    """What was had is charged, beside the request; what was not is given back."""
    if made.held.paid:
        return
    ledger, later, usage = road.peers.ledger, road.desk.later, made.usage
    if usage is None:
        hold = ledger_pb2.ReleaseRequest(reservation_id=made.reservation, hold=made.held.hold)
        later(lambda: ledger.Release(hold, timeout=5.0))
        return
    compute = Duration()
    compute.FromMilliseconds(max(int((time.monotonic() - made.began) * 1000), 1))
    settle = ledger_pb2.SettleRequest(
        reservation_id=made.reservation,
        hold=made.held.hold,
        model=made.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        again=made.again,
        compute=compute,
        kinds=usage.kinds if usage.HasField("kinds") else None,
        tags=tags,
    )
    later(lambda: ledger.Settle(settle, timeout=5.0))


def reservation(account: str, key: str) -> str:
    """The same for every try of a request that bears a key."""
    return str(uuid.uuid5(NAMESPACE, f"{account}\0{key}") if key else uuid.uuid4())
