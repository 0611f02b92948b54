"""One of something for each event loop."""

import asyncio

from services.runtime.loops import PerLoop


def test_each_loop_has_its_own_and_keeps_it() -> None:
    made: PerLoop[list[int]] = PerLoop(list)
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    made.of(one).append(1)
    made.of(other).append(2)
    assert made.of(one) == [1] and made.of(other) == [2]
    one.close()
    other.close()


def test_what_a_loop_had_goes_with_it() -> None:
    made: PerLoop[list[int]] = PerLoop(list)
    gone, last = asyncio.new_event_loop(), asyncio.new_event_loop()
    made.of(gone)
    made.of(last)
    gone.close()
    del gone
    assert list(made._all) == [last]
    last.close()
