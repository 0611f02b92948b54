"""Masking is reversible: whatever the text, however the answer is cut, what comes back is what went in."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.guard.finding import Found
from services.guard.masking import Masker
from services.guard.restoring import Restorer, masked
from services.guard.sealing import MapBroken, Seal, key_of
from services.guard.surrogates import surrogate
from services.guard.validators import iban, luhn
from tests.support.scale import sized

SEAL = Seal((key_of("one"),))


def spans_in(text: str, chance: random.Random) -> list[Found]:
    """Some spans without overlaps."""
    cuts = sorted(chance.sample(range(len(text) + 1), min(len(text) + 1, 2 * chance.randint(0, 4))))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return [Found(chance.choice(["EMAIL", "PERSON", "US_SSN"]), a, b, 1.0, "r", "w") for a, b in pairs if b > a]


def pieces(text: str, chance: random.Random) -> list[str]:
    made = []
    while text:
        n = chance.randint(1, 7)
        made.append(text[:n])
        text = text[n:]
    return made


def restored(values: dict[str, str], parts: list[str], *, json_text: bool = False) -> str:
    restorer = Restorer(values, json_text=json_text)
    return "".join(restorer.feed(part) for part in parts) + restorer.end()


@settings(max_examples=sized(1000, 10_000))
@given(st.text(max_size=120), st.integers(0, 2**32))
def test_what_comes_back_is_what_went_in(text: str, seed: int) -> None:
    chance = random.Random(seed)
    masker = Masker()
    masker.avoid([text])
    sent = masker.mask(text, spans_in(text, chance))
    assert restored(masker.values, pieces(sent, chance)) == text


@settings(max_examples=sized(500, 10_000))
@given(st.text(max_size=120) | st.text(alphabet=st.sampled_from(list("aB1 .@-")), max_size=120), st.integers(0, 2**32))
def test_what_comes_back_through_surrogates_is_what_went_in(text: str, seed: int) -> None:
    chance = random.Random(seed)
    masker = Masker(rng=chance)
    masker.avoid([text])
    sent = masked(masker, text, spans_in(text, chance))
    assert restored(masker.values, pieces(sent, chance)) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("EMAIL", "ada@acme.com"), ("PERSON", "Ada Lovelace"), ("PERSON", "Ada"), ("CREDIT_CARD", "4111 1111 1111 1111"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"), ("IBAN", "GB29NWBK60161331926819"), ("US_SSN", "536-90-4399"),
        ("PHONE", "+44 20 7946 0958"), ("IP_ADDRESS", "10.1.2.3"), ("IP_ADDRESS", "fe80::1"), ("SECRET", "ghp_16C7e42F292c6912"),
    ],
)  # fmt: skip
def test_a_surrogate_has_the_form_of_what_it_stands_for(kind: str, value: str) -> None:
    for seed in range(20):
        made = surrogate(kind, value, random.Random(seed))
        assert made is not None and made != value and len(made) <= 56
        match kind:
            case "CREDIT_CARD":
                assert luhn(made) and [char.isdigit() for char in made] == [char.isdigit() for char in value]
            case "IBAN":
                assert iban(made) and made[:2] == value[:2]
            case "US_SSN":
                assert re.fullmatch(r"9\d\d-\d\d-\d{4}", made)
            case "EMAIL":
                assert re.fullmatch(r"[a-z]+\.[a-z]+\d\d@example\.(com|net|org)", made)
            case "PHONE" | "SECRET":
                assert [char.isalnum() for char in made] == [char.isalnum() for char in value]


def test_surrogates_are_stable_in_a_conversation_and_have_a_bound() -> None:
    masker = Masker(rng=random.Random(1))
    made = masker.stand_in("EMAIL", "ada@acme.com")
    later = Masker(dict(masker.values), rng=random.Random(2))
    assert later.stand_in("EMAIL", "ada@acme.com") == made
    assert later.stand_in("SECRET", "x" * 57) == "[SECRET_1]"
    restorer = Restorer(masker.values)
    for char in made * 20:
        restorer.feed(char)
        assert restorer.held <= 56
    assert restored(masker.values, [made.upper(), " and not ", made + "x"]) == f"ada@acme.com and not {made}x"


def test_within_json_surrogates_come_back_escaped() -> None:
    masker = Masker(rng=random.Random(1))
    made = masker.stand_in("PERSON", 'Ada "the" Lovelace')
    arguments = json.dumps({"to": made})
    assert json.loads(restored(masker.values, list(arguments), json_text=True)) == {"to": 'Ada "the" Lovelace'}


@settings(max_examples=sized(200, 2000))
@given(st.text(max_size=60).filter(lambda text: not re.search("[\ud800-\udfff]", text)), st.integers(0, 2**32))
def test_within_json_values_come_back_escaped(text: str, seed: int) -> None:
    chance, masker = random.Random(seed), Masker()
    placeholder = masker.placeholder("PERSON", text)
    arguments = json.dumps({"to": placeholder, "also": f"x {placeholder} y"})
    assert json.loads(restored(masker.values, pieces(arguments, chance), json_text=True)) == {
        "to": text,
        "also": f"x {text} y",
    }


def test_placeholders_are_stable_typed_and_distinct() -> None:
    masker = Masker()
    assert masker.placeholder("EMAIL", "a@b.c") == masker.placeholder("EMAIL", "a@b.c") == "[EMAIL_1]"
    assert masker.placeholder("EMAIL", "d@e.f") == "[EMAIL_2]"
    assert masker.placeholder("PHONE", "a@b.c") == "[PHONE_1]"
    later = Masker(dict(masker.values))
    assert later.placeholder("EMAIL", "d@e.f") == "[EMAIL_2]" and later.placeholder("EMAIL", "x@y.z") == "[EMAIL_3]"


def test_a_placeholder_of_the_callers_own_is_never_given_out() -> None:
    masker = Masker()
    text = "[EMAIL_1] and a@b.c"
    masker.avoid([text])
    sent = masker.mask(text, [Found("EMAIL", 14, 19, 1.0, "r", "w")])
    assert sent == "[EMAIL_1] and [EMAIL_2]" and restored(masker.values, [sent]) == text


@pytest.mark.parametrize(
    "said", ["[EMAIL_1]", "[email_1]", "[Email_1]", r"\[EMAIL\_1\]", "**[EMAIL_1]**", "`[EMAIL_1]`", "[ EMAIL_1 ]"]
)
def test_a_placeholder_comes_back_however_a_model_writes_it(said: str) -> None:
    for size in (1, 2, 3, 50):
        parts = [said[n : n + size] for n in range(0, len(said), size)]
        assert "a@b.c" in restored({"[EMAIL_1]": "a@b.c"}, parts)


@pytest.mark.parametrize("said", ["[EMAIL_2]", "[PHONE_1]", "[EMAIL_01x]", "EMAIL_1", "[EMAIL 1]", "[[", "\\", "[E"])
def test_what_was_not_given_out_stays_as_it_is(said: str) -> None:
    assert restored({"[EMAIL_1]": "a@b.c"}, list(said)) == said


def test_at_most_a_placeholders_length_is_held_back() -> None:
    restorer = Restorer({"[EMAIL_1]": "a@b.c"})
    for char in "[" + "A" * 500:
        restorer.feed(char)
        assert restorer.held <= 48


def test_the_map_travels_sealed_and_opens_for_its_tenant_alone() -> None:
    values = {f"[EMAIL_{n}]": f"person{n}@example.com" for n in range(100)}
    sealed = SEAL.close(values, "acme")
    assert SEAL.open(sealed, "acme") == values and b"person" not in sealed
    assert SEAL.close({}, "acme") == b"" and SEAL.open(b"", "acme") == {}
    for broken in (sealed[:-1], sealed[:20] + b"x" + sealed[21:], b"\x02" + sealed[1:], b"short"):
        with pytest.raises(MapBroken):
            SEAL.open(broken, "acme")
    with pytest.raises(MapBroken):
        SEAL.open(sealed, "other")


def test_keys_rotate_by_being_put_in_front() -> None:
    old = SEAL.close({"[EMAIL_1]": "a@b.c"}, "acme")
    rotated = Seal((key_of("two"), key_of("one")))
    assert rotated.open(old, "acme") == {"[EMAIL_1]": "a@b.c"}
    with pytest.raises(MapBroken):
        Seal((key_of("two"),)).open(old, "acme")
    with pytest.raises(MapBroken):
        SEAL.open(rotated.close({"[EMAIL_1]": "a@b.c"}, "acme"), "acme")
