"""What is erased, and the receipt for it, as HTTP has them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import decoded

Tenant = Annotated[str, Meta(min_length=1, max_length=256)]


class TenantBody(Struct, forbid_unknown_fields=True):
    tenant: Tenant


class SubjectBody(Struct, forbid_unknown_fields=True):
    subject: Annotated[str, Meta(min_length=1, max_length=512)]
    tenant: Tenant = ""


_TENANT, _SUBJECT = msgspec.json.Decoder(TenantBody), msgspec.json.Decoder(SubjectBody)


def tenant_of(raw: bytes) -> pb.EraseTenantRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    return pb.EraseTenantRequest(tenant=decoded(_TENANT, raw).tenant)


def subject_of(raw: bytes) -> pb.EraseSubjectRequest:
    """
    Raises:
        Refusal: a field that breaks a rule.
    """
    said = decoded(_SUBJECT, raw)
    return pb.EraseSubjectRequest(tenant=said.tenant, subject=said.subject)


def receipt(made: pb.Receipt) -> dict[str, Any]:
    return {
        "receipt_id": made.receipt_id,
        "tenant": made.tenant,
        "subject_digest": made.subject_digest or None,
        "key_id": made.key_id,
        "began": made.began.ToJsonString(),
        "ended": made.ended.ToJsonString(),
        "erased": {one.service: dict(one.erased) for one in made.erasures if not one.fault},
        "faults": {one.service: one.fault for one in made.erasures if one.fault},
        "complete": made.complete,
    }
