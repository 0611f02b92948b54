"""What becomes of a job, without store, broker or network."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.jobs import life
from services.jobs.life import LONGEST_WAIT_S, MOST_ATTEMPTS, TRIED_AGAIN, Fault, Job, JobEnded, JobNotEnded, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job(uuid4(), "chat", "acme/search", "key_1", NOW, NOW, NOW + timedelta(days=1), b"", attempts=1)


@given(st.sampled_from(sorted(TRIED_AGAIN)), st.integers(1, MOST_ATTEMPTS - 1), st.floats(0, 1), st.integers(0, 600))
def test_what_may_pass_is_tried_again_later(code: int, attempts: int, chance: float, after: int) -> None:
    outcome = life.failed(replace(JOB, attempts=attempts), Fault(code, "BUSY", "", after), NOW, chance)
    assert outcome.state is State.QUEUED and outcome.ready is not None
    assert after <= (outcome.ready - NOW).total_seconds() <= max(after, LONGEST_WAIT_S)


def test_the_wait_grows() -> None:
    waits = [
        (life.failed(replace(JOB, attempts=n), Fault(14, "", ""), NOW, 1.0).ready or NOW) - NOW
        for n in range(1, MOST_ATTEMPTS)
    ]
    assert waits == sorted(waits) and waits[0] == timedelta(seconds=1) and waits[1] == timedelta(seconds=2)


@pytest.mark.parametrize(
    "fault", [Fault(3, "INVALID_REQUEST", ""), Fault(7, "MODEL_NOT_ALLOWED", ""), Fault(8, "BUDGET_EXCEEDED", "")]
)
def test_what_cannot_succeed_fails_at_once(fault: Fault) -> None:
    assert life.failed(JOB, fault, NOW, 0.5).state is State.FAILED


def test_after_enough_tries_it_is_parked() -> None:
    assert life.failed(replace(JOB, attempts=MOST_ATTEMPTS), Fault(14, "", ""), NOW, 0.5).state is State.DEAD


def test_no_try_begins_after_the_deadline() -> None:
    soon = replace(JOB, deadline=NOW + timedelta(seconds=5))
    assert life.failed(soon, Fault(8, "BUSY", "", retry_after_s=6), NOW, 0.5).state is State.FAILED


@pytest.mark.parametrize("state", State)
def test_only_what_has_not_ended_is_cancelled_and_only_what_failed_is_retried(state: State) -> None:
    job = replace(JOB, state=state)
    if state.over:
        with pytest.raises(JobEnded):
            life.cancellable(job)
    else:
        life.cancellable(job)
    if state in (State.FAILED, State.DEAD):
        life.retriable(job)
    else:
        with pytest.raises(JobNotEnded):
            life.retriable(job)
