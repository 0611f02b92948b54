"""An erasure calls every keeper once, in order, whoever is away; its receipt says so, and stands in the audit log without the name."""

import json
from typing import Any

import grpc
import pytest
from tollway.gateway.v1 import gateway_pb2 as pb

from tests.orchestrator.peers import Mesh
from tests.orchestrator.test_service import gateway, mesh
from tests.support.refusals import field_of, refused
from tests.support.stubs import Called

__all__ = ["gateway", "mesh"]
KEEPERS = ["jobs", "cache", "router", "retrieval", "registry", "ledger"]


def operator(gateway: Called) -> Called:
    return gateway.by("operator", admin=True, key="key_root")


def appended(mesh: Mesh) -> list[dict[str, Any]]:
    return [json.loads(one.request_json) for name, one in mesh.all if name == "AppendAudit"]


async def test_an_end_user_is_erased_everywhere(gateway: Called, mesh: Mesh) -> None:
    made = await operator(gateway).EraseSubject(pb.EraseSubjectRequest(tenant="acme", subject="ann"))
    receipt = made.receipt
    assert mesh.asked == ["registry.AppendAudit", *(f"{one}.Erase" for one in KEEPERS), "registry.AppendAudit"]
    for one in KEEPERS:
        asked = mesh.messages[f"{one}.Erase"]
        assert (asked.tenant, asked.subject, asked.everything) == ("acme", "ann", False)
    assert receipt.complete and receipt.key_id == "key_root" and [one.service for one in receipt.erasures] == KEEPERS
    assert (
        dict(receipt.erasures[0].erased) == {"jobs": 2}
        and receipt.ended.ToNanoseconds() > receipt.began.ToNanoseconds()
    )
    before, after = appended(mesh)
    assert (
        before["account"] == "acme" == after["account"]
        and before["receipt_id"] == after["receipt_id"] == receipt.receipt_id
    )
    assert "erased" not in before and after["erased"] == {"jobs": {"jobs": 2}} and after["complete"]
    assert receipt.subject_digest == "58158820c40bcd7c37559db7afbd5404" and "ann" not in json.dumps([before, after])


async def test_a_tenant_is_suspended_before_it_is_erased(gateway: Called, mesh: Mesh) -> None:
    receipt = (await operator(gateway).EraseTenant(pb.EraseTenantRequest(tenant="acme"))).receipt
    assert mesh.asked[:3] == ["registry.AppendAudit", "ledger.SuspendAccount", "jobs.Erase"]
    suspended = mesh.messages["ledger.SuspendAccount"]
    assert suspended.account == "acme" and receipt.receipt_id in suspended.reason
    assert all(mesh.messages[f"{one}.Erase"].everything for one in KEEPERS)
    assert receipt.complete and not receipt.subject_digest


async def test_who_is_away_is_told_and_the_others_are_erased(gateway: Called, mesh: Mesh) -> None:
    mesh.away["retrieval"] = grpc.StatusCode.UNAVAILABLE
    receipt = (await operator(gateway).EraseTenant(pb.EraseTenantRequest(tenant="acme"))).receipt
    assert {one.service: one.fault for one in receipt.erasures if one.fault} == {"retrieval": "UNAVAILABLE"}
    assert (
        not receipt.complete
        and "ledger.Erase" in mesh.asked
        and appended(mesh)[-1]["faults"] == {"retrieval": "UNAVAILABLE"}
    )


async def test_nothing_is_erased_unseen(gateway: Called, mesh: Mesh) -> None:
    mesh.away["audit"] = grpc.StatusCode.UNAVAILABLE
    for call in (
        operator(gateway).EraseTenant(pb.EraseTenantRequest(tenant="acme")),
        operator(gateway).EraseSubject(pb.EraseSubjectRequest(tenant="acme", subject="ann")),
    ):
        assert await refused(call) == (grpc.StatusCode.UNAVAILABLE, "AUDIT_AWAY")
    assert set(mesh.asked) == {"registry.AppendAudit"}


async def test_a_tenant_that_cannot_be_suspended_keeps_everything(gateway: Called, mesh: Mesh) -> None:
    mesh.away["ledger"] = grpc.StatusCode.FAILED_PRECONDITION
    assert (await refused(operator(gateway).EraseTenant(pb.EraseTenantRequest(tenant="acme"))))[0] is (
        grpc.StatusCode.FAILED_PRECONDITION
    )
    assert not any(one.endswith(".Erase") for one in mesh.asked)


async def test_a_receipt_that_cannot_be_written_down_says_so(
    gateway: Called, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = mesh._AppendAudit

    def once(request: Any) -> Any:
        mesh.away["audit"] = grpc.StatusCode.UNAVAILABLE
        monkeypatch.setattr(mesh, "_AppendAudit", append)

    monkeypatch.setattr(mesh, "_AppendAudit", once)
    receipt = (await operator(gateway).EraseSubject(pb.EraseSubjectRequest(subject="ann"))).receipt
    assert receipt.tenant == "operator", "the caller's own, where none is named"
    assert not receipt.complete and receipt.erasures[-1].fault == "UNAVAILABLE"


async def test_only_administrators_erase(gateway: Called) -> None:
    for call in (
        gateway.EraseTenant(pb.EraseTenantRequest(tenant="acme")),
        gateway.EraseSubject(pb.EraseSubjectRequest(subject="ann")),
    ):
        assert (await refused(call))[1] == "ADMINISTRATORS_ONLY"
    assert await field_of(operator(gateway).EraseTenant(pb.EraseTenantRequest())) == "tenant"
    assert await field_of(operator(gateway).EraseSubject(pb.EraseSubjectRequest())) == "subject"
