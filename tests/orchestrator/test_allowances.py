"""What is granted from an allowance is never more than what the ledger has set aside for it."""

import time

from hypothesis import given
from hypothesis import strategies as st
from tollway.ledger.v1 import ledger_pb2 as pb

from services.orchestrator.allowances import Allowance as Held
from services.orchestrator.allowances import Allowances, Amount, Draw
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Models
from services.orchestrator.terms import Terms
from tests.orchestrator.peers import Mesh

PRICE = pb.ModelPrice(
    model="m",
    known=True,
    input_nano_usd_per_million=10**9,
    output_nano_usd_per_million=3 * 10**9,
    nano_usd_per_hour=3_600_000,
    nano_usd_per_call=700,
    nano_usd_per_web_search=300,
)
MOST = pb.CarveAllowanceResponse(
    allowance=b"a", nano_usd=10**6, tokens=900, requests=6, concurrent=3, prices=[PRICE], counts_money=True
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("draw", "use", "leave", "book", "ask", "give", "fill")),
        st.integers(0, 5),
        st.integers(0, 200),
        st.integers(0, 200),
    ),
    max_size=60,
)


def allowances(**more: object) -> tuple[Allowances, Held]:
    peers = Mesh().peers()
    made = Allowances(peers.ledger, Models(peers.models), Desk("k"), lambda account: Terms())
    held = made._held["acme"] = Held("id")
    held.filled(pb.CarveAllowanceResponse(**{**_fields(), **more}), 60.0)  # type: ignore[arg-type]
    return made, held


def _fields() -> dict[str, object]:
    fields: dict[str, object] = {one.name: value for one, value in MOST.ListFields()}
    said = pb.CarveAllowanceResponse().expires
    said.FromSeconds(int(time.time()) + 60)
    return {**fields, "expires": said}


def attempt(tokens_in: int, tokens_out: int, **more: object) -> pb.Attempt:
    return pb.Attempt(**{"model": "m", "input_tokens": tokens_in, "output_tokens": tokens_out, **more})  # type: ignore[arg-type]


@given(STEPS)
def test_whatever_happens_the_lease_covers_what_is_not_settled(steps: list[tuple[str, int, int, int]]) -> None:
    made, held = allowances()
    given = False
    lease, draws = Amount(MOST.nano_usd, MOST.tokens, MOST.requests), list[tuple[Draw, int, int]]()
    for step, which, tokens_in, tokens_out in steps:
        if step == "draw":
            if (drawn := made.draw("acme", [attempt(tokens_in, tokens_out)])) is not None:
                draws.append((drawn, tokens_in, tokens_out))
        elif step == "ask":
            if not held.asking:
                held.begins_asking(1.0)
        elif step == "give":  # the ledger fills it up, and its answer is on the way
            if held.asking:
                lease, given = Amount(MOST.nano_usd, MOST.tokens, MOST.requests), True
        elif step == "fill":
            if given:
                held.filled(MOST, 60.0)
                held.until, held.asking, given = time.time() + 60, False, False
        elif which < len(draws):
            drawn, most_in, most_out = draws[which]
            if step == "leave":
                drawn.released()
            if step == "use":
                drawn.used("m", min(tokens_in, most_in), min(tokens_out, most_out))
            if step == "book" and drawn.ended and not drawn.settled:
                lease = lease.plus(drawn.amount, -1)
                drawn.booked()
        unsettled = [one.amount for one, *_ in draws if not one.settled]
        total = Amount()
        for amount in unsettled:
            total = total.plus(amount)
        assert total == held.open and total.within(lease), "more is owed than is set aside"
        assert Amount().within(held.open) and held.open.within(held.gone) and held.gone.within(held.most)
        assert held.under_way == sum(not one.ended for one, *_ in draws) <= held.concurrent


def test_what_does_not_fit_is_not_granted() -> None:
    made, held = allowances(counts_money=True)
    assert made.draw("other", []) is None
    assert made.draw("acme", [attempt(900, 1)]) is None, "tokens"
    assert made.draw("acme", [attempt(0, 334)]) is None, "money"
    assert made.draw("acme", [attempt(1, 1, model="?")]) is None, "no price"
    assert made.draw("acme", [attempt(100, 0)], ceiling=99_999) is None, "the request's own ceiling"
    hour = attempt(1, 1)
    hour.compute.FromSeconds(1000)
    assert made.draw("acme", [hour]) is None, "time"
    granted = [made.draw("acme", []) for _ in range(4)]
    assert [one is not None for one in granted] == [True, True, True, False], "at once"
    held.until = 0.0
    for one in granted[:3]:
        assert one is not None
        one.released()
    assert made.draw("acme", []) is None, "its time is over"


def test_without_a_budget_in_money_no_price_is_needed() -> None:
    made, _ = allowances(counts_money=False)
    drawn = made.draw("acme", [attempt(1, 1, model="?")])
    assert drawn is not None and drawn.amount == Amount(0, 2, 1)


def test_what_is_settled_while_the_ledgers_answer_is_on_the_way_stays_gone() -> None:
    """It was taken out of what the answer gives: granting that again would be granting it twice."""
    made, held = allowances()
    drawn = made.draw("acme", [attempt(800, 0)])
    assert drawn is not None
    held.begins_asking(1.0)
    drawn.used("m", 800, 0)
    drawn.booked()
    held.filled(MOST, 60.0)
    held.until = time.time() + 60
    assert made.draw("acme", [attempt(200, 0)]) is None and made.draw("acme", [attempt(100, 0)]) is not None
