"""The caller's token through a long answer: it lives for a minute, and some answers take longer."""

import time
from dataclasses import dataclass, field, replace

from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.runtime import identity

AHEAD_S = 10.0
"""A token is renewed so long before it ends: the calls that follow bear it."""
EXCHANGE_S = 5.0


@dataclass(frozen=True, slots=True)
class Tokens:
    ledger: ledger_pb2_grpc.LedgerServiceStub
    key: str = field(repr=False)
    """The orchestrator's own, an administrator's: without one a request ends with its token."""

    async def fresh(self) -> None:
        """Goes on under a new token for the same key once the old one is about to end.

        Raises:
            grpc.aio.AioRpcError: the key was revoked meanwhile, or the ledger does not answer.
        """
        caller = identity.current()
        if caller is None or not self.key or caller.expires - time.time() > AHEAD_S or caller.token == self.key:
            return
        made = await self.ledger.ExchangeToken(
            ledger_pb2.ExchangeTokenRequest(key_id=caller.key_id),
            metadata=(("authorization", f"Bearer {self.key}"),),
            timeout=EXCHANGE_S,
        )
        identity.hold(replace(caller, token=made.token, expires=float(made.expires.seconds)))
