"""Administrative calls, written to the registry's audit log before they run: what cannot be written down is not done."""

import json
from dataclasses import dataclass

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tollway.registry.v1 import registry_pb2, registry_pb2_grpc

from services.runtime.errors import Failure, Kind

WITHIN_S = 5.0
TARGETS = ("account", "key_id")
"""Fields that say what a call is about."""


class AuditAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "AUDIT_AWAY"
    text = "the audit log cannot be written, and administrative calls are not made unseen: {why}"


@dataclass(frozen=True, slots=True)
class Trail:
    registry: registry_pb2_grpc.RegistryServiceStub

    async def __call__(self, action: str, request: Message) -> None:
        """Asks as whoever makes the call.

        Raises:
            AuditAway
        """
        said = MessageToDict(request, preserving_proto_field_name=True)
        inner = next((value for value in said.values() if isinstance(value, dict) and "account" in value), said)
        if "account" in inner:
            said["account"] = inner["account"]
        target = next((str(inner[name]) for name in TARGETS if inner.get(name)), "")
        entry = registry_pb2.AppendAuditRequest(action=action, target=target[:256], request_json=json.dumps(said))
        try:
            await self.registry.AppendAudit(entry, timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise AuditAway(why=error.code().name, retry_after_s=1.0) from None
