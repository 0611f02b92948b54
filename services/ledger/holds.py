"""A hold as its holder carries it: sealed, so that any replica can settle it and nobody can alter it."""

import hmac
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from services.ledger.books import ReservationUnknown, Unit
from services.ledger.store import MeterKey

SEAL_BYTES = 16
ALLOWANCE = b"allowance"
"""Stands in the seal of an allowance where a hold's has its reservation."""
_BODY = msgspec.json.Decoder(
    tuple[
        str,
        str,
        str,
        int,
        float,
        list[tuple[str, str, float, Unit, str, int]],
        list[tuple[str, str, str]],
    ]
)


class Part(Struct, frozen=True):
    """What is held of one budget."""

    meter: MeterKey
    unit: Unit
    model: str
    amount: int


class Attempt(Struct, frozen=True):
    """How to price the model, once it has answered."""

    model: str
    provider: str
    provider_model: str


class Hold(Struct, frozen=True):
    reservation_id: UUID
    replica: UUID
    key_id: str
    account: str
    nano_usd: int
    """The most that the request may cost."""
    expires: float
    """Seconds since the epoch."""
    parts: tuple[Part, ...]
    attempts: tuple[Attempt, ...]
    allowance: bool = False
    """Part of an allowance, whose id is the replica's: any reservation may be settled from it."""

    def sealed(self, secret: bytes) -> bytes:
        body = msgspec.json.encode(
            (
                self.replica.hex, self.key_id, self.account, self.nano_usd, self.expires,
                [
                    [p.meter.account, p.meter.name, p.meter.started.timestamp(), p.unit, p.model, p.amount]
                    for p in self.parts
                ],
                [[a.model, a.provider, a.provider_model] for a in self.attempts],
            )
        )  # fmt: skip
        return _seal(secret, ALLOWANCE if self.allowance else self.reservation_id.bytes, body) + body


def opened(secret: bytes, reservation_id: UUID, sealed: bytes) -> Hold:
    """Reads a sealed hold, or an allowance as a hold for this reservation.

    Raises:
        ReservationUnknown: it was altered, or belongs to another reservation.
    """
    seal, body = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    allowance = not hmac.compare_digest(seal, _seal(secret, reservation_id.bytes, body))
    if allowance and not hmac.compare_digest(seal, _seal(secret, ALLOWANCE, body)):
        raise ReservationUnknown(reservation_id=reservation_id)
    replica, key_id, account, nano_usd, expires, parts, attempts = _BODY.decode(body)
    return Hold(
        reservation_id,
        UUID(replica),
        key_id,
        account,
        nano_usd,
        expires,
        tuple(Part(MeterKey(a, n, datetime.fromtimestamp(s, UTC)), u, m, held) for a, n, s, u, m, held in parts),
        tuple(Attempt(*attempt) for attempt in attempts),
        allowance,
    )


def _seal(secret: bytes, of: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, of + body, "sha256")[:SEAL_BYTES]
