"""Traces: one decision a request, context without spans when not sampled, JSON logs without exception texts."""

import json
import logging
from typing import Any

import pytest

from services.runtime import telemetry
from services.runtime.logs import logged
from services.runtime.telemetry import Sampler, Trace, parse
from tests.peers.collector import collector

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_traceparent_there_and_back() -> None:
    header = f"00-{TRACE_ID}-{SPAN_ID}-01"
    found = parse(header)
    assert found is not None and found.sampled and found.header == header


@pytest.mark.parametrize("header", [None, "", "00-xyz", f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'g' * 16}-01"])
def test_what_is_no_traceparent(header: str | None) -> None:
    assert parse(header) is None


def test_the_first_of_a_second_are_sampled_then_a_share() -> None:
    sampler = Sampler(per_second=2, share=0.1)
    taken = [sampler.begin(None).sampled for _ in range(200)]
    assert taken[:2] == [True, True]
    assert 15 <= sum(taken) <= 30


def test_a_parent_decides() -> None:
    sampler = Sampler(per_second=0, share=0)
    parent = Trace(1, 2, True)
    assert sampler.begin(parent) == parent
    assert not sampler.begin(None).sampled
    assert sampler.begin(None, wanted=True).sampled


def test_a_request_that_is_not_sampled_carries_its_trace() -> None:
    made = Sampler(per_second=0, share=0).begin(None)
    assert not made.sampled and parse(made.header) == made


def test_spans_hang_together_and_keep_the_promised_trace() -> None:
    with telemetry.installed("", "tests") as installed:
        root = Trace(int(TRACE_ID, 16), 0, True)
        outer = telemetry.begin_span("edge test", root)
        inner = telemetry.begin_span("tollway.guard.v1.GuardService/Test", telemetry.current())
        telemetry.note(gen_ai__request__model="small")
        assert outer is not None and inner is not None
        inner.end()
        outer.end()
        first, second = installed.recent.of(int(TRACE_ID, 16))
    assert first.parent is not None and second.context is not None
    assert first.parent.span_id == second.context.span_id and second.parent is None
    assert dict(first.attributes or {}) == {"gen_ai.request.model": "small"}


def test_nothing_is_recorded_unless_sampled() -> None:
    with telemetry.installed("", "tests"):
        assert telemetry.begin_span("edge test", Trace(1, 2, False)) is None


def test_calls_are_counted_and_published() -> None:
    with collector() as peer, telemetry.installed(peer.url, "tollway-test"):
        method = telemetry.method("/test.Service/Counted")
        before = method.answered["OK"]
        telemetry.Observed(method, None).end("OK")
        telemetry.Observed(method, None).end("NOT_FOUND")
    said = peer.metrics.values  # the last are sent as telemetry is taken down
    assert said["tollway.rpc.server.calls", ("OK", "test.Service/Counted")] == before + 1
    assert said["tollway.rpc.server.calls", ("NOT_FOUND", "test.Service/Counted")] == 1
    assert said["tollway.rpc.server.busy", ("test.Service/Counted",)] > 0


def test_a_log_line_is_json_without_what_an_exception_says(capsys: Any) -> None:
    telemetry.follow(Trace(int(TRACE_ID, 16), 1, False))
    with logged("INFO"):
        try:
            raise ValueError("hunter2")
        except ValueError as error:
            logging.getLogger("test").error("it broke", exc_info=error)
    telemetry.follow(None)
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["error"], line["trace_id"]) == ("it broke", "ValueError", TRACE_ID)
    assert "hunter2" not in json.dumps(line) and line["at"]
