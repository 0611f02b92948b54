"""Erases a tenant, or one end user of it, in every service that keeps anything; the receipt stands in the tenant's audit log.

One service after the other, and all of them even when one is away: what a receipt says is missing, the same call takes later.
"""

import json
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import grpc
from tollway.cache.v1 import cache_pb2
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.registry.v1 import registry_pb2
from tollway.retrieval.v1 import retrieval_pb2
from tollway.router.v1 import router_pb2

from services.orchestrator.failures import AuditAway
from services.orchestrator.peers import Peers
from services.runtime import identity
from services.runtime.subjects import digest

KEEPERS: dict[str, Any] = {
    "jobs": jobs_pb2.EraseRequest,
    "cache": cache_pb2.EraseRequest,
    "router": router_pb2.EraseRequest,
    "retrieval": retrieval_pb2.EraseRequest,
    "registry": registry_pb2.EraseRequest,
    "ledger": ledger_pb2.EraseRequest,
}
"""Jobs first, so that none of them writes anything after the others; the ledger last, since it revokes the tenant's keys."""
AUDIT_LOG = "audit log"
APPEND_S = 5.0
SUSPENDED = "erased: receipt {receipt_id}"


@dataclass(frozen=True, slots=True)
class Erasing:
    peers: Peers

    async def tenant(self, tenant: str) -> pb.Receipt:
        """
        Raises:
            AuditAway: nothing was done.
            grpc.aio.AioRpcError: the ledger refuses to suspend the account, or is away; nothing was done.
        """
        receipt = _begun(tenant, "")
        await self._said("gateway.EraseTenant", receipt)
        reason = SUSPENDED.format(receipt_id=receipt.receipt_id)
        await self.peers.ledger.SuspendAccount(ledger_pb2.SuspendAccountRequest(account=tenant, reason=reason))
        return await self._erased("gateway.EraseTenant", receipt, everything=True)

    async def subject(self, tenant: str, subject: str) -> pb.Receipt:
        """
        Raises:
            AuditAway: nothing was done.
        """
        receipt = _begun(tenant, digest(tenant, subject))
        await self._said("gateway.EraseSubject", receipt)
        return await self._erased("gateway.EraseSubject", receipt, subject=subject)

    async def _erased(self, action: str, receipt: pb.Receipt, **what: object) -> pb.Receipt:
        for service, request in KEEPERS.items():
            call = getattr(self.peers, service).Erase(request(tenant=receipt.tenant, **what))
            receipt.erasures.append(await _tried(service, call))
        receipt.ended.GetCurrentTime()
        receipt.complete = not any(one.fault for one in receipt.erasures)
        try:
            await self._said(action, receipt)
        except AuditAway as away:
            receipt.erasures.add(service=AUDIT_LOG, fault=away.facts["why"])
            receipt.complete = False
        return receipt

    async def _said(self, action: str, receipt: pb.Receipt) -> None:
        """Writes what is asked for, and then what was done, into the tenant's audit log.

        Raises:
            AuditAway
        """
        target, said = receipt.subject_digest or receipt.tenant, json.dumps(_document(receipt))
        entry = registry_pb2.AppendAuditRequest(action=action, target=target, request_json=said)
        try:
            await self.peers.registry.AppendAudit(entry, timeout=APPEND_S)
        except grpc.aio.AioRpcError as error:
            raise AuditAway(why=error.code().name, retry_after_s=1.0) from None


def _begun(tenant: str, subject_digest: str) -> pb.Receipt:
    receipt = pb.Receipt(
        receipt_id=str(uuid.uuid4()),
        tenant=tenant,
        subject_digest=subject_digest,
        key_id=identity.caller().key_id,
    )
    receipt.began.GetCurrentTime()
    return receipt


def _document(receipt: pb.Receipt) -> dict[str, Any]:
    """As the audit log has it: the key and the times are its own."""
    said: dict[str, Any] = {"account": receipt.tenant, "receipt_id": receipt.receipt_id}
    if receipt.subject_digest:
        said["subject_digest"] = receipt.subject_digest
    if not receipt.HasField("ended"):
        return said
    said["complete"] = receipt.complete
    said["erased"] = {one.service: dict(one.erased) for one in receipt.erasures if any(one.erased.values())}
    if faults := {one.service: one.fault for one in receipt.erasures if one.fault}:
        said["faults"] = faults
    return said


async def _tried(service: str, call: Awaitable[Any]) -> pb.Erasure:
    try:
        return pb.Erasure(service=service, erased=(await call).erased)
    except grpc.aio.AioRpcError as error:
        return pb.Erasure(service=service, fault=error.code().name)
