"""Checksums of numbers. Each takes what a pattern found and says whether it can be real."""

import re
from hashlib import sha256

IBAN_LENGTHS = dict(
    pair.split(":")
    for pair in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DK:18 DO:28"
        " EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IS:26 IT:27"
        " JO:30 KW:30 KZ:20 LB:28 LI:21 LT:20 LU:20 LV:21 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 NO:15 PK:24"
        " PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SE:24 SI:19 SK:24 SM:27 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20"
    ).split()
)
BASE58 = {char: n for n, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
BECH32 = {char: n for n, char in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}


def digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def luhn(text: str) -> bool:
    """ISO/IEC 7812."""
    numbers = [int(char) for char in reversed(digits(text))]
    total = sum(numbers[0::2]) + sum(sum(divmod(2 * n, 10)) for n in numbers[1::2])
    return total % 10 == 0


NOBODY = frozenset(
    "src dst foo bar baz user username name email someone somebody anybody yourname youremail git noreply no-reply donotreply".split()
)
MADE_UP = frozenset("fake dummy sample example placeholder".split())


def address(text: str) -> bool:
    """Whether an e-mail address can be somebody's: documentation is full of those that are nobody's."""
    local = text.rpartition("@")[0].lower()
    return local not in NOBODY and any(map(str.isalnum, local)) and MADE_UP.isdisjoint(re.split(r"[._+\-]", local))


def password(text: str) -> bool:
    """Whether a password within a URL can be one: manuals show where it goes."""
    return text.strip("*.x").lower() not in ("", "pass", "passwd", "password", "pwd", "secret", "token")


def card(text: str) -> bool:
    number = digits(text)
    return 12 <= len(number) <= 19 and len(set(number)) > 1 and luhn(number)


def iban(text: str) -> bool:
    """ISO 13616: the length of the country and 97-10 check digits."""
    packed = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    if str(len(packed)) != IBAN_LENGTHS.get(packed[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in packed[4:] + packed[:4])) % 97 == 1


def iban_length(text: str) -> int:
    """How many characters of `text` the IBAN takes that it begins with."""
    left = int(IBAN_LENGTHS.get(text[:2].upper(), 0))
    for n, char in enumerate(text):
        left -= char.isalnum()
        if left == 0:
            return n + 1
    return len(text)


def ssn(text: str) -> bool:
    number = digits(text)
    return (
        len(number) == 9
        and number[3:5] != "00"
        and number[5:] != "0000"
        and number[:3] not in ("000",)
        and len(set(number)) > 1
    )


def ip4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(len(p) <= 3 and int(p) <= 255 for p in parts) and parts[0] not in ("0", "127")


def ip6(text: str) -> bool:
    """Those that begin with 96 zeros are nobody's, and what programs write so: `[::2]`, `AWS::EC2`."""
    import ipaddress

    try:
        return int(ipaddress.IPv6Address(text)) >> 32 != 0
    except ValueError:
        return False


def rentenversicherung(text: str) -> bool:
    """German pension insurance number: digit sums of weighted digits, the letter as two."""
    packed = re.sub(r"\s", "", text)
    if len(packed) != 12 or not 1 <= int(packed[2:4]) <= 31 + 50 or not 1 <= int(packed[4:6]) <= 12:
        return False
    number = f"{packed[:8]}{ord(packed[8]) - 64:02}{packed[9:11]}"
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    return sum(sum(divmod(int(d) * w, 10)) for d, w in zip(number, weights, strict=True)) % 10 == int(packed[11])


def seguridad_social(text: str) -> bool:
    """Spanish social security number: the last two digits are the rest by 97."""
    number = digits(text)
    province, own, check = number[:2], number[2:-2], number[-2:]
    whole = int(province) * 10_000_000 + int(own) if int(own) < 10_000_000 else int(province + own)
    return len(number) == 12 and 0 < int(province) <= 66 and whole % 97 == int(check)


def registro_geral(text: str) -> bool:
    """Brazilian identity card, as Sao Paulo numbers it: modulus 11."""
    packed = re.sub(r"[^0-9Xx]", "", text).upper().zfill(9)
    rest = sum(int(d) * w for d, w in zip(packed[:8], range(2, 10), strict=True)) % 11
    return "0123456789X0"[11 - rest] == packed[8]


def habilitacao(text: str) -> bool:
    """Brazilian driving licence: two check digits."""
    number = digits(text)
    if len(number) != 11 or len(set(number)) == 1:
        return False
    first = sum(int(d) * w for d, w in zip(number[:9], range(9, 0, -1), strict=True)) % 11
    less, first = (2, 0) if first >= 10 else (0, first)
    second = sum(int(d) * w for d, w in zip(number[:9], range(1, 10), strict=True)) % 11 - less
    second = second + 11 if second < 0 else 0 if second >= 10 else second
    return number[9:] == f"{first}{second}"


def pis(text: str) -> bool:
    """Brazilian social integration number, modulus 11."""
    number = digits(text)
    weights = (3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = 11 - sum(int(d) * w for d, w in zip(number[:10], weights, strict=True)) % 11
    return len(number) == 11 and len(set(number)) > 1 and (rest if rest < 10 else 0) == int(number[10])


def medicare(text: str) -> bool:
    """Australian Medicare card."""
    number = digits(text)
    weights = (1, 3, 7, 9, 1, 3, 7, 9)
    return len(number) in (10, 11) and sum(int(d) * w for d, w in zip(number[:8], weights, strict=True)) % 10 == int(
        number[8]
    )


def crypto(text: str) -> bool:
    """Bitcoin's Base58Check and Bech32 addresses, and Ethereum's by their form."""
    if text.startswith("0x"):
        return len(text) == 42
    if text.lower().startswith("bc1"):
        values = [BECH32.get(char, -1) for char in text.lower()[3:]]
        return -1 not in values and _bech32([3, 3, 0, 2, 3, *values]) in (1, 0x2BC830A3)
    number = 0
    for char in text:
        if char not in BASE58:
            return False
        number = number * 58 + BASE58[char]
    raw = number.to_bytes(25, "big") if number < 1 << 200 else b""
    return len(raw) == 25 and sha256(sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for n, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> n & 1 else 0
    return check


def fails_to_raise(check: object, text: str) -> bool:
    """`check(text)`, and False where the text is too short for it."""
    assert callable(check)
    try:
        return bool(check(text))
    except (ValueError, IndexError, KeyError):
        return False
