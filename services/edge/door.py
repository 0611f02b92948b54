"""What every request passes first: who calls, which trace, until when."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.edge.wire.errors import Refusal
from services.runtime import channels, identity, telemetry
from services.runtime.identity import Identity

STREAMS_LAST = 10
"""Times as long as an answer in one piece may take."""


@dataclass(frozen=True, slots=True)
class Door:
    identity: Identity
    sampler: telemetry.Sampler
    deadline_s: float

    async def enter(self, headers: Mapping[bytes, bytes]) -> None:
        """Holds the caller, the trace and the deadline for the rest of this context.

        Raises:
            Refusal: no API key.
            Failure, grpc.aio.AioRpcError: the key is not good, or nobody can say.
        """
        parent = telemetry.parse(headers.get(b"traceparent", b"").decode("latin-1"))
        telemetry.follow(self.sampler.begin(parent, wanted=headers.get(b"x-tollway-trace") == b"1"))
        channels.DEADLINE.set(time.monotonic() + self.deadline_s)
        identity.hold(None)  # a request that follows another on its connection begins with nothing
        scheme, _, credential = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Refusal(
                401,
                "missing_api_key",
                "no API key: send it as `Authorization: Bearer YOUR_KEY`",
                headers={"www-authenticate": "Bearer"},
            )
        identity.hold(self.identity.remembered(credential) or await self.identity.verify(credential))

    def stream(self) -> None:
        """A stream is under way: it may take longer."""
        channels.DEADLINE.set(time.monotonic() + self.deadline_s * STREAMS_LAST)
