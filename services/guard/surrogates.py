"""Invented values of the same form, for models and tools that stumble over placeholders.

A surrogate keeps what its form says: an e-mail address stays one, a card number still passes Luhn, an IBAN its check digits.
None can be somebody's where a range is set aside for that: example domains, test networks, social security numbers
from 900 on.
"""

import random
import string
from collections.abc import Callable

FIRST = ("Mara", "Jonas", "Elin", "Tobias", "Nora", "Felix", "Lina", "Anton", "Greta", "Oskar", "Ida", "Emil", "Vera", "Matteo",
         "Clara", "Hugo", "Alma", "Leo", "Frida", "Samir", "Tessa", "Milan", "Paula", "Yusuf")  # fmt: skip
LAST = ("Lindqvist", "Okonkwo", "Marek", "Castellan", "Brandvold", "Ferreiro", "Nakata", "Dubois", "Holloway", "Petrov", "Varga",
        "Salonen", "Achterberg", "Moreno", "Kowalik", "Abernathy", "Thorsen", "Iyengar", "Delacroix", "Weiland")  # fmt: skip
SHORTEST, LONGEST = 3, 56
"""A shorter value, or one that does not begin and end in a letter or digit, could be found where it does not stand. A longer value, or one of several lines, gets a placeholder: what is held back of a stream stays bounded."""


def surrogate(kind: str, value: str, rng: random.Random) -> str | None:
    """Another value of the form of `value`; None where there is no good one."""
    if not SHORTEST <= len(value) <= LONGEST or "\n" in value or not (value[0] + value[-1]).replace("+", "").isalnum():
        return None
    made = MAKERS.get(kind, _shaped)(value, rng)
    return made if len(made) <= LONGEST and made.isascii() else None


def _shaped(value: str, rng: random.Random) -> str:
    """Digits for digits, letters for letters, all else as it is."""
    return "".join(map(lambda char: _like(char, rng), value))


def _like(char: str, rng: random.Random) -> str:
    if char.isdigit():
        return rng.choice(string.digits)
    if char.isalpha() and char.isascii():
        return rng.choice(string.ascii_uppercase if char.isupper() else string.ascii_lowercase)
    return char


def _person(value: str, rng: random.Random) -> str:
    words = len(value.split())
    return rng.choice(FIRST) if words == 1 else f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def _email(value: str, rng: random.Random) -> str:
    name = f"{rng.choice(FIRST)}.{rng.choice(LAST)}".lower()
    return f"{name}{rng.randrange(10, 99)}@example.{rng.choice(('com', 'net', 'org'))}"


def _card(value: str, rng: random.Random) -> str:
    digits = [char for char in value if char.isdigit()]
    fresh = digits[:1] + [rng.choice(string.digits) for _ in digits[1:-1]]
    total = sum(sum(divmod(int(char) * 2, 10)) if n % 2 == 0 else int(char) for n, char in enumerate(reversed(fresh)))
    return _laid(value, [*fresh, str(-total % 10)])


def _iban(value: str, rng: random.Random) -> str:
    plain = [char for char in value if char.isalnum()]
    rest = [_like(char, rng) for char in plain[4:]]
    country = plain[:2]
    number = int("".join(str(int(char, 36)) for char in (*rest, *country, "0", "0")))
    return _laid(value, [*country, *f"{98 - number % 97:02d}", *rest])


def _ssn(value: str, rng: random.Random) -> str:
    digits = [char for char in value if char.isdigit()]
    return _laid(value, ["9", *(rng.choice(string.digits) for _ in digits[1:])])


def _phone(value: str, rng: random.Random) -> str:
    digits = [char for char in value if char.isdigit()]
    return _laid(value, [*digits[:3], *(rng.choice(string.digits) for _ in digits[3:])])


def _ip(value: str, rng: random.Random) -> str:
    if ":" in value:
        return f"2001:db8::{rng.randrange(1, 65536):x}:{rng.randrange(1, 65536):x}"
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


def _laid(form: str, characters: list[str]) -> str:
    """`characters` in the places of the letters and digits of `form`."""
    fresh = iter(characters)
    return "".join(next(fresh, char) if char.isalnum() else char for char in form)


MAKERS: dict[str, Callable[[str, random.Random], str]] = {
    "PERSON": _person, "EMAIL": _email, "CREDIT_CARD": _card, "IBAN": _iban, "US_SSN": _ssn, "PHONE": _phone,
    "IP_ADDRESS": _ip,
}  # fmt: skip
