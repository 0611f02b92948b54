"""What a caller may still ask for, in OpenAI's and Anthropic's headers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.ledger.v1 import ledger_pb2

from services.edge.wire import limits
from services.edge.wire.errors import Refusal, of_failure
from services.models.allowance import SPANS, Allowance
from services.runtime.errors import Failure, Kind


def limit(unit: Any = ledger_pb2.UNIT_REQUESTS, seconds: float = 30.0) -> ledger_pb2.RateLimit:
    made = ledger_pb2.RateLimit(unit=unit, limit=60, remaining=59)
    made.resets.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return made


class Exceeded(Failure):
    kind, reason = Kind.EXHAUSTED, "BUDGET_EXCEEDED"
    text = "budget has {available} {unit} left"


def refusal(unit: str, wait_s: float | None, rate_limit: str) -> Refusal:
    return of_failure(Exceeded(unit=unit, limit=60, available=0, retry_after_s=wait_s, rate_limit=rate_limit))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0ms"), (0.12, "120ms"), (1, "1s"), (7.5, "7.5s"), (59.9996, "1m0s"), (360, "6m0s"), (62_584, "17h23m4s")],
)
def test_a_span_is_said_as_openai_says_it(seconds: float, said: str) -> None:
    assert limits.span(seconds) == said


@given(st.floats(0, 1e7))
def test_a_span_can_be_read_again(seconds: float) -> None:
    factors = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    read = sum(float(number) * factors[unit] for number, unit in SPANS.findall(limits.span(seconds)))
    assert abs(read - seconds) <= (0.001 if seconds < 59 else 1.0)


def test_both_wires_are_understood_by_who_heeds_them() -> None:
    for told in (limits.openai([limit()]), limits.anthropic([limit()])):
        headers = {name.decode(): value.decode() for name, value in told}
        heard = Allowance()
        heard.heard(
            {**headers, **{name: "0" for name in headers if "remaining" in name}}, 0.0, datetime.now(UTC).timestamp()
        )
        assert heard.wait_s(1, 0.0) == pytest.approx(30, abs=1), headers


def test_requests_and_tokens_have_names_of_their_own() -> None:
    told = dict(limits.openai([limit(), limit(ledger_pb2.UNIT_TOKENS)]))
    assert told[b"x-ratelimit-remaining-requests"] == told[b"x-ratelimit-remaining-tokens"] == b"59"
    assert told[b"x-ratelimit-limit-tokens"] == b"60" and told[b"x-ratelimit-reset-tokens"].endswith(b"s")


@pytest.mark.parametrize(
    ("unit", "wait_s", "limited", "retried"),
    [
        ("requests", 12.0, True, True),
        ("tokens", 12.0, True, True),
        ("requests", 3600.0, True, False),
        ("concurrent", None, True, True),
        ("requests", None, False, False),
        ("tokens", 12.0, False, False),
        ("nano_usd", 12.0, False, False),
    ],
)
def test_what_comes_back_by_itself_is_a_limit_and_the_rest_a_quota(
    unit: str, wait_s: float | None, limited: bool, retried: bool
) -> None:
    said = refusal(unit, wait_s, str(limited).lower())
    assert (said.status, said.code) == (429, "rate_limit_exceeded" if limited else "insufficient_quota")
    assert ("x-should-retry" not in said.headers) is retried
    assert (said.headers.get(f"x-ratelimit-remaining-{unit}") == "0") is (limited and wait_s is not None)
    assert ("retry-after" in said.headers) is (wait_s is not None)
