"""Does a job by the mesh's own road, as the key that handed it in."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.jobs.life import Fault, Job
from services.jobs.worker import Failed
from services.runtime.status import info_of

AHEAD_S = 15.0
LONGEST_S = 600.0


@dataclass(slots=True)
class Calling:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    key: str = field(repr=False)
    """An administrator's: exchanged for tokens that are bound to the keys that handed jobs in."""
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def __call__(self, job: Job) -> bytes:
        left = min((job.deadline - datetime.now(UTC)).total_seconds(), LONGEST_S)
        try:
            metadata = (("authorization", f"Bearer {await self._token(job.key_id)}"),)
            result = await self._asked(job, metadata, max(left, 0.0))
        except grpc.aio.AioRpcError as error:
            raise Failed(fault_of(error)) from None
        return result.SerializeToString()

    async def _asked(self, job: Job, metadata: Any, within_s: float) -> pb.Result:
        """All tries of a job go by one key, and say which they are: it is charged once."""
        if job.kind == "chat":
            chat = pb.Chat.FromString(job.request)
            asked = gateway_pb2.CompleteRequest(chat=chat.chat, options=chat.options)
            asked.options.idempotency_key, asked.options.attempt = str(job.id), job.attempts
            return pb.Result(completion=await self.gateway.Complete(asked, metadata=metadata, timeout=within_s))
        embedding = pb.Embedding.FromString(job.request)
        request = gateway_pb2.EmbedRequest(
            model=embedding.model,
            texts=embedding.texts,
            dimensions=embedding.dimensions,
            idempotency_key=str(job.id),
            attempt=job.attempts,
        )
        return pb.Result(embeddings=await self.gateway.Embed(request, metadata=metadata, timeout=within_s))

    async def _token(self, key_id: str) -> str:
        token, until = self._tokens.get(key_id, ("", 0.0))
        if until - AHEAD_S < time.time():
            made = await self.ledger.ExchangeToken(
                ledger_pb2.ExchangeTokenRequest(key_id=key_id),
                metadata=(("authorization", f"Bearer {self.key}"),),
                timeout=10.0,
            )
            token, until = made.token, float(made.expires.seconds)
            self._tokens[key_id] = token, until
        return token


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """What a failed call says, without what it may quote."""
    code: Any = error.code()
    after = 0.0
    if (status := rpc_status.from_call(error)) is not None:  # type: ignore[arg-type]
        for detail in status.details:
            if detail.Is(RetryInfo.DESCRIPTOR):
                found = RetryInfo()
                detail.Unpack(found)
                after = found.retry_delay.seconds + found.retry_delay.nanos / 1e9
    return Fault(code.value[0], info_of(error).reason or code.name, (error.details() or "")[:500], after)
