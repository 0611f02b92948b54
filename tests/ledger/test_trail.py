"""Administrative calls are written down before they are made, and not made when they cannot be."""

import json
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc.aio import AioRpcError, Metadata
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.registry.v1 import registry_pb2

from services.ledger.books import Budget, Unit
from services.ledger.memory import MemoryStore
from services.ledger.safeguards import Loop, Safeguard
from services.ledger.store import ApiKey
from services.ledger.suspensions import Suspension
from services.ledger.trail import AuditAway, Trail
from services.runtime.subjects import digest

LOOP = {"likeness": 0.5, "most": 3, "within": "60s"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ApiKey("key_1", "acme/app", "the page", b"\x17" * 32, False, (), NOW)


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
    trail = Trail(registry, MemoryStore())
    await trail("ledger.CreateKey", pb.CreateKeyRequest(account="acme/app", name="n"))
    await trail("ledger.RevokeKey", pb.RevokeKeyRequest(key_id="key_1"))
    await trail("ledger.SetBudget", pb.SetBudgetRequest(budget=pb.Budget(account="acme", limit=7)))
    assert [one.target for one in registry.entries] == ["acme/app", "key_1", "acme"]
    said = json.loads(registry.entries[2].request_json)
    assert (said["account"], said["budget"]["limit"]) == ("acme", "7")
    assert [one.before_json for one in registry.entries] == ["", "", ""]


@pytest.mark.parametrize(
    ("request_", "before"),
    [
        (pb.SetBudgetRequest(budget=pb.Budget(account="acme", name="b", limit=7)), {"limit": "5"}),
        (pb.DeleteBudgetRequest(account="acme", name="b"), {"limit": "5"}),
        (pb.SetSafeguardRequest(safeguard=pb.Safeguard(account="acme")), {"loop": LOOP}),
        (pb.DeleteSafeguardRequest(account="acme"), {"loop": LOOP}),
        (pb.SuspendAccountRequest(account="acme", reason="again"), {"reason": "as it was"}),
        (pb.ResumeAccountRequest(account="acme"), {"reason": "as it was"}),
        (pb.RevokeKeyRequest(key_id="key_1"), {"name": "the page", "account": "acme/app"}),
        (pb.RotateKeyRequest(key_id="key_1"), {"name": "the page", "account": "acme/app"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "",
)
async def test_what_stood_there_before_is_written_too(request_: Message, before: dict[str, Any]) -> None:
    registry: Any = Registry()
    store = MemoryStore()
    await store.add_key(KEY, "r")
    await store.set_budget(Budget("acme", "b", Unit.REQUESTS, 5))
    await store.set_budget(Budget("other", "b", Unit.REQUESTS, 6))
    await store.set_safeguard(Safeguard("acme", Loop(0.5, 3, 60.0)))
    await store.suspend(Suspension("acme", "as it was", NOW))
    await Trail(registry, store)("ledger.X", request_)
    (entry,) = registry.entries
    was = json.loads(entry.before_json)
    assert {name: was[name] for name in before} == before
    assert json.loads(entry.request_json)["account"].startswith("acme")
    assert KEY.secret_hash.hex() not in str(entry)


async def test_what_cannot_be_written_is_not_made() -> None:
    registry: Any = Registry()
    registry.away = True
    with pytest.raises(AuditAway):
        await Trail(registry, MemoryStore())("ledger.CreateKey", pb.CreateKeyRequest(account="acme/app"))


async def test_who_is_erased_is_not_named() -> None:
    registry: Any = Registry()
    trail = Trail(registry, MemoryStore())
    await trail("ledger.Erase", pb.EraseRequest(tenant="acme", subject="ann@example.com"))
    await trail("ledger.Erase", pb.EraseRequest(tenant="acme", everything=True))
    one, whole = [json.loads(entry.request_json) for entry in registry.entries]
    assert one == {"account": "acme", "subject_digest": digest("acme", "ann@example.com")}
    assert whole == {"account": "acme", "everything": True} and registry.entries[0].target == "acme"
