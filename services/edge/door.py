"""What every request passes first: who calls, which trace, until when."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from services.edge.exchange import GOOGLE
from services.edge.wire.errors import Refusal
from services.runtime import channels, identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Identity

STREAMS_LAST = 10
"""Times as long as an answer in one piece may take."""
RESTARTS_WITHIN_S = 10.0
"""A request waits so long for an orchestrator that is being started again."""


class OrchestratorAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "ORCHESTRATOR_AWAY"
    text = "no orchestrator answers; try again soon"


KEYS = (b"x-api-key", b"api-key", GOOGLE)
"""Headers in which Anthropic's, Azure's and Google's clients send their keys."""


def credential_of(headers: Mapping[bytes, bytes]) -> str:
    """What the caller shows; '' for nothing."""
    scheme, _, credential = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    bearer = credential.strip() if scheme.lower() == "bearer" else ""
    sent = (headers.get(name, b"").decode("latin-1").strip() for name in KEYS)
    return bearer or next(filter(None, sent), "")


@dataclass(frozen=True, slots=True)
class Door:
    identity: Identity
    sampler: telemetry.Sampler
    deadline_s: float
    orchestrator: grpc.aio.Channel | None = None

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
        if not (credential := credential_of(headers)):
            raise Refusal(
                401,
                "missing_api_key",
                "no API key: send it as `Authorization: Bearer YOUR_KEY`, or as `x-api-key`, `api-key` or `x-goog-api-key`",
                headers={"www-authenticate": "Bearer"},
            )
        identity.hold(self.identity.remembered(credential) or await self.identity.verify(credential))
        if self.orchestrator is not None and not await channels.reached(self.orchestrator, RESTARTS_WITHIN_S):
            raise OrchestratorAway

    def admit(self, headers: Mapping[bytes, bytes]) -> None:
        """Lets in who is nobody yet: a trace and a deadline, and no caller."""
        telemetry.follow(self.sampler.begin(telemetry.parse(headers.get(b"traceparent", b"").decode("latin-1"))))
        channels.DEADLINE.set(time.monotonic() + self.deadline_s)
        identity.hold(None)

    def stream(self) -> None:
        """A stream is under way: it may take longer."""
        channels.DEADLINE.set(time.monotonic() + self.deadline_s * STREAMS_LAST)
