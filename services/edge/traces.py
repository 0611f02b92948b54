"""`GET /tollway/v1/traces/{id}`: the spans that this process remembers of one request, for administrators."""

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire.errors import Refusal
from services.runtime import identity, telemetry


async def get(exchange: Exchange, door: Door) -> None:
    identity.administrator()
    asked = exchange.path.removeprefix(exchange.route)
    try:
        trace_id = int(asked, 16)
    except ValueError:
        raise Refusal(400, "invalid_value", "a trace id is 32 hexadecimal digits", param="id") from None
    recent = telemetry.recent()
    spans = recent.of(trace_id) if recent is not None else ()
    if not spans:
        raise Refusal(404, "trace_not_found", "this process remembers no spans of that trace: was it sampled?")
    await exchange.answer(orjson.dumps({"trace_id": f"{trace_id:032x}", "spans": [_span(one) for one in spans]}))


def _span(one: ReadableSpan) -> dict[str, object]:
    assert one.context is not None
    return {
        "span_id": format(one.context.span_id, "016x"),
        "parent_id": format(one.parent.span_id, "016x") if one.parent else "",
        "name": one.name,
        "start_us": (one.start_time or 0) // 1000,
        "end_us": (one.end_time or 0) // 1000,
        "error": one.status.status_code is StatusCode.ERROR,
        "attributes": dict(one.attributes or {}),
        "events": [event.name for event in one.events],
    }
