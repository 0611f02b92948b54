"""What is private is found, wherever it hides; what only looks like it is left alone."""

import random
import time
import unicodedata
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.guard.app import detector
from services.guard.detector import Detector
from services.guard.injection import Injection
from tests.support.scale import sized


@cache
def guard() -> Detector:
    return detector()


def found(text: str) -> set[tuple[str, str]]:
    return {(one.type, text[one.start : one.end]) for one in guard().find(text)}


def types(text: str) -> set[str]:
    return {kind for kind, _ in found(text)}


@pytest.mark.parametrize(
    ("kind", "value", "around"),
    [
        ("EMAIL", "jane.doe+x@mail.example.co.uk", "write to {} today"),
        ("PHONE", "+44 20 7946 0958", "call {} please"),
        ("PHONE", "(415) 555-2671", "my phone is {}"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "card {}"),
        ("CREDIT_CARD", "5500-0055-5555-5559", "pay with {}"),
        ("IBAN", "DE89 3704 0044 0532 0130 00", "transfer to {}."),
        ("US_SSN", "536-90-4399", "my SSN is {}"),
        ("IP_ADDRESS", "203.0.113.42", "the server {} is down"),
        ("IP_ADDRESS", "2001:db8::8a2e:370:7334", "host {} answers"),
        ("SECRET", "AKIAZ7Q4WJ5X2M3NTR6P", "key {} leaked"),
        ("SECRET", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "token {}"),
        ("SECRET", "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy", "slack {}"),
        ("SECRET", "postgres://app:s3cr3tPassw0rd@db.internal:5432/x", "url {}"),
    ],
)
def test_finds(kind: str, value: str, around: str) -> None:
    text = around.format(value)
    assert any(type_ == kind and (value in span or span in value) for type_, span in found(text)), found(text)


def test_finds_keys_in_pem_and_jwt() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0m59l2u9iDnMbrXHfqkO\n-----END RSA PRIVATE KEY-----"
    jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    assert "SECRET" in types(f"here: {pem}") and "SECRET" in types(f"bearer {jwt}")


@pytest.mark.parametrize(
    "text",
    [
        "The commit is 3f786850e387550fdab836ed7e6dc881de23001b and the build 20240131.4.",
        "Version 10.4.22.1 follows 10.4.21; see RFC 9110.",
        "Order 4111 1111 1111 1112 fails the check digit.",
        "id 123e4567-e89b-12d3-a456-426614174000 was not found",
        "Chapter 12, page 345, line 6789",
        "x = 3.14159265358979323846 and y = 1234567890",
        "csrf-token=Qm4tZ7vXc1LrKp9sWd2hYb6nTf3gEj8a",
        "next_page_token: Qm4tZ7vXc1LrKp9sWd2hYb6nTf3gEj8a",
        "WidgetSDK.init(token: 9f86d081884c7d659a2feaa0c55ad015)",
        'mail_from = "src@gmail.com", author "mary.fake@gmail.com"',
        "Authorization: Basic eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJjb2xvdXIiOiJyZWQifQ.Qm4tZ7vXc1LrKp9sWd2hYb6nTf3gEj8a",
        "bookTable = 00m4tZ7vXc1LrKp9sWd2hYb6nTf3gEj8aQmR5uVwXy",
    ],
)
def test_leaves_look_alikes_alone(text: str) -> None:
    assert not types(text) & {"CREDIT_CARD", "PHONE", "US_SSN", "IBAN", "SECRET", "EMAIL", "IP_ADDRESS"}


@pytest.mark.parametrize(
    "text",
    [
        "my card is ４１１１ １１１１ １１１１ １１１１",
        "my card is 4111\u200b1111\u200b1111\u200b1111",
        "my card is 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "my card is 4111%201111%201111%201111",
    ],
)
def test_sees_through_disguises_of_a_card(text: str) -> None:
    spans = [one for one in guard().find(text) if one.type == "CREDIT_CARD"]
    assert spans, guard().find(text)
    digits = [c for c in unicodedata.normalize("NFKC", text[spans[0].start : spans[0].end]) if c.isdigit()]
    assert digits[:4] == ["4", "1", "1", "1"]


@pytest.mark.parametrize(
    "text",
    [
        "mail jane [at] example [dot] com",
        "mail jane&#64;example.com",
        r'{"to": "jane\u0040example.com"}',
        "mail amFuZS5kb2VAZXhhbXBsZS5jb20= now",
        "mail jаne.doe@example.com",  # a Cyrillic a
    ],
)
def test_sees_through_disguises_of_an_address(text: str) -> None:
    assert "EMAIL" in types(text), guard().find(text)


def test_finds_names_and_addresses() -> None:
    assert {"PERSON", "LOCATION"} & types("Angela Merkel met Emmanuel Macron in Berlin.") == {"PERSON", "LOCATION"}


def test_initials_belong_to_the_name_that_they_stand_beside_and_are_none_alone() -> None:
    text = "Please write to John D. Smith and J. Fitzgerald about the lease."
    assert {text[one.start : one.end] for one in guard().find(text) if one.type == "PERSON"} == {
        "John D. Smith",
        "J. Fitzgerald",
    }
    assert not types("Which is right? A) yes B) no C) both D) neither")


def test_a_digest_is_nobodys_bitcoin_address() -> None:
    assert types("Pay bc1qlt5tsqdmcx28k2v3p0vhr8wgdnqhsyaytky9pt now") == {"CRYPTO"}
    assert "CRYPTO" not in types("Ask about bc1f558a7bd74533b53ec2d68c417ce5 and bc1f558ad745335f3ec2d68c4ea75e5f")


def test_what_is_not_wanted_is_not_looked_for() -> None:
    text = "Angela Merkel lives in Berlin, mail am@example.com"
    assert {one.type for one in guard().find(text, unwanted=frozenset({"PERSON", "LOCATION", "ORGANIZATION"}))} == {
        "EMAIL"
    }


@settings(max_examples=sized(300, 100_000))
@given(st.text(max_size=400))
def test_any_text_is_searched_and_spans_lie_within_it(text: str) -> None:
    last = 0
    for one in guard().find(text):
        assert last <= one.start < one.end <= len(text) and 0 < one.score <= 1 and one.recognizer and one.reason
        last = one.end


@pytest.mark.parametrize(
    "text",
    ["a@" * 100_000, "1" * 500_000, "4111-" * 100_000, "((((" * 100_000, "A" * 500_000, "eyJ." * 100_000, "1 " * 250_000,
     "%41" * 150_000, "x@y." * 120_000, "-----BEGIN " * 40_000, "＠" * 200_000],
    ids=lambda text: str(text)[:8],
)  # fmt: skip
def test_no_text_makes_it_hang(text: str) -> None:
    """Half a megabyte of what pattern matchers choke on; a quadratic search would take hours, not seconds."""
    began = time.monotonic()
    guard().find(text)
    assert time.monotonic() - began < 60


def test_a_finding_says_how_it_was_made() -> None:
    one = next(one for one in guard().find("card 4111 1111 1111 1111") if one.type == "CREDIT_CARD")
    assert one.recognizer == "card" and "Luhn" in one.reason and one.score >= 0.85


def test_the_same_text_twice_is_found_the_same() -> None:
    chance = random.Random(1)
    for _ in range(20):
        text = " ".join(chance.choice(["Anna", "mail", "a@b.org", "call", "+1 415 555 2671", "Rome"]) for _ in range(8))
        assert guard().find(text) == guard().find(text) == detector_afresh().find(text)


@cache
def detector_afresh() -> Detector:
    return detector()


def test_identifiers_are_no_attack() -> None:
    """Nothing was learned of them: what their hash falls on is another word's."""
    injection = Injection()
    chance = random.Random(5)
    texts = [f"hello {chance.getrandbits(128):032x}" for _ in range(1500)]
    assert max(next(injection.judged(text)).probability for text in texts) < 0.5
