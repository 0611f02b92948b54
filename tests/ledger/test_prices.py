"""What calls cost: by kind of token, by the length of the prompt, by tier and by day."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.prices import Price, PriceBook, PriceUnknown, Rates, Sheet, Tokens

NOW = datetime(2026, 10, 2, 12, tzinfo=UTC)
COUNT = st.integers(0, 10**6)
RATE = st.integers(0, 10**15)


def test_prices_are_exact_and_rounded_up_once() -> None:
    book = PriceBook({"m": Price(input="0.15", output="0.60", cached_input="0.075")})
    assert book.cost("m", "", "", Tokens(1_000_000, 0), NOW) == 150_000_000
    assert book.cost("m", "", "", Tokens(1, 0), NOW) == 150
    assert book.cost("m", "", "", Tokens(3, 1, cached=1), NOW) == 2 * 150 + 75 + 600
    assert PriceBook({"m": Price("0.0001", "0")}).cost("m", "", "", Tokens(1, 0), NOW) == 1
    assert PriceBook({"m": Price("0.0000000000000001", "0")}).cost("m", "", "", Tokens(1, 0), NOW) == 1


def test_a_machine_of_ones_own_is_paid_by_the_time_that_calls_run() -> None:
    book = PriceBook({"m": Price(hour="3.60"), "both": Price("1", "2", hour="0.36")})
    assert book.cost("m", "local", "", Tokens(10_000, 10_000, compute_ms=1), NOW) == 1_000
    assert book.cost("m", "local", "", Tokens(10_000, 10_000), NOW) == 0
    assert book.cost("both", "", "", Tokens(1, 1, compute_ms=10), NOW) == 1_000 + 2_000 + 1_000


@given(st.decimals(0, 1000, places=9), COUNT, st.integers(0, 10**7))
def test_a_price_is_never_rounded_down(price: Decimal, tokens: int, ms: int) -> None:
    sheet = PriceBook({"m": Price(str(price), str(price), hour=str(price))}).sheet("m", "", "", NOW)
    exact = Fraction(price) * 1000 * tokens + Fraction(price) * 10**9 * ms / 3_600_000
    assert sheet is not None and exact <= sheet.cost(Tokens(tokens, 0, compute_ms=ms)) < exact + 2


def test_well_known_prices_and_unknown_ones() -> None:
    book = PriceBook({})
    assert book.cost("any", "openai", "gpt-4o-mini", Tokens(1_000_000, 0), NOW) == 150_000_000
    assert book.cost("any", "local", "whatever", Tokens(1000, 1000), NOW) == 0
    with pytest.raises(PriceUnknown):
        book.cost("any", "nobody", "no-such-model", Tokens(1, 1), NOW)


def test_models_that_are_listed_by_characters_or_seconds_are_not_free() -> None:
    book = PriceBook({})
    assert book.cost("any", "openai", "tts-1", Tokens(300, 1000, audio_output=1000), NOW) == 15_000_000
    assert book.cost("any", "openai", "whisper-1", Tokens(60, 0, audio_input=60), NOW) == 6_000_000
    assert book.cost("any", "openrouter", "devstral-small:free", Tokens(1000, 1000), NOW) == 0
    with pytest.raises(PriceUnknown):
        book.cost("any", "mistral", "mistral-ocr-2512", Tokens(1000, 0), NOW)


def test_what_is_paid_by_the_call() -> None:
    book = PriceBook({"m": Price("1", "2", call="0.005")})
    assert book.cost("m", "", "", Tokens(1000, 500), NOW) == 2_000_000 + 5_000_000
    assert book.cost("m", "", "", Tokens(0, 0, calls=3), NOW) == 15_000_000
    sheet = book.needed("m", "", "", NOW)
    assert sheet.most(Tokens(1000, 500, calls=2)) == 2_000_000 + 10_000_000
    tokens = book.cost("any", "perplexity", "sonar", Tokens(1000, 1000), NOW)
    assert tokens == 2_000_000 + 12_000_000, "a request beside its tokens"


def test_searches_of_the_web_cost_what_is_said_or_what_is_usual() -> None:
    book = PriceBook({"m": Price("1", "2", web_search="0.03"), "usual": Price("1", "2")})
    searched = Tokens(0, 0, web_searches=2)
    assert book.cost("m", "", "", searched, NOW) == 60_000_000
    assert book.cost("usual", "", "", searched, NOW) == 20_000_000
    assert book.cost("any", "anthropic", "claude-sonnet-4-5", searched, NOW) == 20_000_000
    assert book.cost("any", "google", "gemini-2.5-flash", searched, NOW) == 70_000_000
    assert book.cost("any", "local", "llama3", searched, NOW) == 0
    assert book.needed("m", "", "", NOW).most(Tokens(1000, 0, web_searches=5)) == 1_000_000 + 150_000_000


def test_a_price_counts_from_its_day_on() -> None:
    book = PriceBook({"m": Price("1", "2"), "m@2026-04-01": Price("3", "4"), "new@2026-04-01": Price("5", "6")})
    before, after = datetime(2026, 3, 31, 23, 59, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    assert book.cost("m", "p", "q", Tokens(1_000_000, 0), before) == 10**9
    assert book.cost("m", "p", "q", Tokens(1_000_000, 0), after) == 3 * 10**9
    assert not book.known("new", "p", "q", before) and book.known("new", "p", "q", after)
    assert PriceBook({"claude@20240229": Price("1", "2")}).known("claude@20240229", "p", "q", before)
    with pytest.raises(ValueError, match="month"):
        PriceBook({"m@2026-13-01": Price("1", "2")})


def test_what_is_billed_apart_costs_its_own_price() -> None:
    price = Price("1", "2", cached_input="0.1", cache_write="1.25", audio_input="32", image_input="8", audio_output="64",
                  image_output="40", reasoning="3")  # fmt: skip
    book = PriceBook({"m": price, "plain": Price("1", "2")})
    tokens = Tokens(
        100, 50, cached=10, reasoning=5, cache_write=20, audio_input=30, image_input=15, audio_output=7, image_output=3
    )
    read = 30 * 32_000 + 15 * 8_000 + 20 * 1_250 + 10 * 100 + 25 * 1_000
    assert book.cost("m", "", "", tokens, NOW) == read + 7 * 64_000 + 3 * 40_000 + 5 * 3_000 + 35 * 2_000
    assert book.cost("plain", "", "", tokens, NOW) == 100 * 1_000 + 50 * 2_000
    assert book.cost("m", "", "", Tokens(10, 0, cached=10, audio_input=10), NOW) == 10 * 32_000


def test_well_known_prices_know_kinds_and_lengths() -> None:
    book = PriceBook({})
    sound = Tokens(1000, 0, audio_input=1000)
    assert book.cost("m", "openai", "gpt-audio", sound, NOW) > 10 * book.cost(
        "m", "openai", "gpt-audio", Tokens(1000, 0), NOW
    )
    short, stored = Tokens(1000, 0), Tokens(1000, 0, cache_write=1000)
    assert book.cost("m", "anthropic", "claude-sonnet-4-5", short, NOW) == 3_000_000
    assert book.cost("m", "anthropic", "claude-sonnet-4-5", stored, NOW) == 3_750_000
    assert book.cost("m", "anthropic", "claude-sonnet-4-5", Tokens(200_000, 0), NOW) == 600_000_000
    assert book.cost("m", "anthropic", "claude-sonnet-4-5", Tokens(200_001, 1), NOW) == 200_001 * 6_000 + 22_500


def test_a_tier_of_service_has_its_own_price_where_it_is_told() -> None:
    sheet = PriceBook({"m": Price("2", "4", tiers={"flex": Price("1", "2"), "priority": Price("3", "6")})}).sheet(
        "m", "", "", NOW
    )
    assert sheet is not None
    tokens = Tokens(10, 10)
    assert [sheet.cost(tokens, tier) for tier in ("", "default", "flex", "priority", "scale")] == [
        60_000,
        60_000,
        30_000,
        90_000,
        60_000,
    ]
    # A provider may answer in its usual tier whatever is asked for, and in any where that is left to it.
    assert [sheet.most(tokens, tier) for tier in ("", "auto", "default", "flex", "priority")] == [
        90_000,
        90_000,
        60_000,
        60_000,
        90_000,
    ]


@given(st.data())
def test_no_call_costs_more_than_the_most_that_was_told_of_it(data: st.DataObject) -> None:
    def rates() -> Rates:
        return Rates(*(data.draw(RATE) for _ in range(10)))

    starts = sorted(data.draw(st.sets(st.integers(1, 10**6), max_size=2)))
    sheet = Sheet([(start, rates()) for start in (0, *starts)], {"flex": rates(), "priority": rates()})
    bound = Tokens(data.draw(COUNT), data.draw(COUNT), compute_ms=data.draw(COUNT), audio_input=data.draw(COUNT),
                   image_input=data.draw(COUNT), audio_output=data.draw(COUNT), image_output=data.draw(COUNT))  # fmt: skip

    def upto(most: int) -> int:
        return data.draw(st.integers(0, most))

    # A kind may be told, or count among the plain ones of its direction.
    used = Tokens(upto(bound.input), upto(bound.output), cached=data.draw(COUNT), reasoning=data.draw(COUNT),
                  compute_ms=upto(bound.compute_ms), cache_write=data.draw(COUNT), audio_input=upto(bound.audio_input),
                  image_input=upto(bound.image_input), audio_output=upto(bound.audio_output),
                  image_output=upto(bound.image_output))  # fmt: skip
    asked = data.draw(st.sampled_from(["", "auto", "default", "flex", "priority"]))
    answered = data.draw(st.sampled_from(["", asked] if asked not in ("", "auto") else ["", "flex", "priority"]))
    assert sheet.cost(used, answered) <= sheet.most(bound, asked) <= sheet.dearest(bound)
