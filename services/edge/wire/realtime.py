"""OpenAI's Realtime API as far as the edge speaks it: its events pass as they are, and what goes wrong is an `error` event."""

import uuid

import orjson
from tollway.gateway.v1 import gateway_pb2 as pb

from services.edge.wire.errors import Refusal, of_error


def failed(refusal: Refusal, event_id: str = "") -> str:
    """An `error` event."""
    fault = {**refusal.body()["error"], "event_id": event_id or None}
    return orjson.dumps({"type": "error", "event_id": f"event_{uuid.uuid4().hex[:20]}", "error": fault}).decode()


def declined(said: pb.Declined) -> str:
    """Why something was not done."""
    refusal = of_error(said.code, said.reason, said.message)
    refusal.param = said.field or None
    return failed(refusal, said.event_id)
