"""Administrative calls, written to the registry's audit log before they run: what cannot be written down is not done."""

import json
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.registry.v1 import registry_pb2, registry_pb2_grpc

from services.ledger import messages
from services.ledger.store import Store
from services.runtime.errors import Failure, Kind
from services.runtime.subjects import digest

WITHIN_S = 5.0
TARGETS = ("key_id", "account")
"""Fields that say what a call is about, the closest first."""


class AuditAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "AUDIT_AWAY"
    text = "the audit log cannot be written, and administrative calls are not made unseen: {why}"


@dataclass(frozen=True, slots=True)
class Trail:
    registry: registry_pb2_grpc.RegistryServiceStub
    store: Store

    async def __call__(self, action: str, request: Message) -> None:
        """Asks as whoever makes the call.

        Raises:
            AuditAway
        """
        said, before = _document(request), await self._before(request)
        was = _document(before) if before is not None else {}
        about = [one for one in (said, *said.values(), was) if isinstance(one, dict)]
        account = next((one["account"] for one in about if "account" in one), "")
        if account:
            said["account"] = account
        target = next((str(said[name]) for name in TARGETS if said.get(name)), "")
        entry = registry_pb2.AppendAuditRequest(
            action=action,
            target=target[:256],
            request_json=json.dumps(said),
            before_json=json.dumps(was) if was else "",
        )
        try:
            await self.registry.AppendAudit(entry, timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise AuditAway(why=error.code().name, retry_after_s=1.0) from None

    async def _before(self, request: Message) -> Message | None:
        """What stands now where the call would change it; never a secret."""
        match request:
            case pb.SetBudgetRequest():
                return await self._budget(request.budget.account, request.budget.name)
            case pb.DeleteBudgetRequest():
                return await self._budget(request.account, request.name)
            case pb.SetSafeguardRequest() | pb.DeleteSafeguardRequest():
                account = request.safeguard.account if isinstance(request, pb.SetSafeguardRequest) else request.account
                rules = (one for one in await self.store.safeguards() if one.account == account)
                return next(map(messages.safeguard, rules), None)
            case pb.SuspendAccountRequest() | pb.ResumeAccountRequest():
                stands = (one for one in await self.store.suspensions() if one.account == request.account)
                return next(map(messages.suspension, stands), None)
            case pb.RevokeKeyRequest() | pb.RotateKeyRequest():
                key = await self.store.key(request.key_id)
                return messages.key(key) if key is not None else None
        return None

    async def _budget(self, account: str, name: str) -> pb.Budget | None:
        found = (one for one in await self.store.budgets() if (one.account, one.name) == (account, name))
        return next(map(messages.budget, found), None)


def _document(message: Message) -> dict[str, Any]:
    said = MessageToDict(message, preserving_proto_field_name=True)
    if isinstance(message, pb.EraseRequest):  # the log would keep the name that is to be erased
        said["account"] = said.pop("tenant")
        if said.pop("subject", ""):
            said["subject_digest"] = digest(message.tenant, message.subject)
    return said
