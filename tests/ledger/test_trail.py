"""Administrative calls are written down before they are made, and not made when they cannot be."""

from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.registry.v1 import registry_pb2

from services.ledger.trail import AuditAway, Trail


class Registry:
    def __init__(self) -> None:
        self.away = False
        self.entries: list[registry_pb2.AppendAuditRequest] = []

    async def AppendAudit(self, request: registry_pb2.AppendAuditRequest, **_: Any) -> Any:
        if self.away:
            raise AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "away", None)
        self.entries.append(request)
        return registry_pb2.AppendAuditResponse()


async def test_a_call_is_written_with_what_it_is_about() -> None:
    registry: Any = Registry()
    trail = Trail(registry)
    await trail("ledger.CreateKey", pb.CreateKeyRequest(account="acme/app", name="n"))
    await trail("ledger.RevokeKey", pb.RevokeKeyRequest(key_id="key_1"))
    await trail("ledger.SetBudget", pb.SetBudgetRequest(budget=pb.Budget(account="acme", limit=7)))
    assert [one.target for one in registry.entries] == ["acme/app", "key_1", "acme"]
    assert (
        '"account": "acme"' in registry.entries[2].request_json and '"limit": "7"' in registry.entries[2].request_json
    )


async def test_what_cannot_be_written_is_not_made() -> None:
    registry: Any = Registry()
    registry.away = True
    with pytest.raises(AuditAway):
        await Trail(registry)("ledger.CreateKey", pb.CreateKeyRequest(account="acme/app"))
