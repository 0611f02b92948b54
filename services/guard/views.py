"""Other readings of a text: what it says once disguises are taken off. Each reading knows its way back.

Full-width forms, homoglyphs, invisible characters, odd spaces and dashes, `[at]` and `[dot]`, spaced-out digits,
escapes of JSON, HTML and URLs, base64.
"""

import base64
import binascii
import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from services.runtime.sieves import sieve

INVISIBLE = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
                      "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff\ufe0e\ufe0f\ufff9\ufffa\ufffb")  # fmt: skip
LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһќӏАВЕКМНОРСТХІЅЈαορνικτυ‐‑‒–—―−⁃·•", "aeopcyxijsdhklABEKMHOPCTXISJaopviktu--------.."
)
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
ESCAPES = re.compile(
    r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|((?:%[0-9a-fA-F]{2})+)|(&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});)"
)
WRITTEN = re.compile(
    r"(?i)\s*[\[({<]\s*(at|dot|punkt|point)\s*[\])}>]\s*|\s+(?:at)\s+(?=[\w\-]+\s*(?:\(dot\)|\[dot\]| dot ))|\s+dot\s+(?=[a-z]{2,10}\b)"
)
BASE64 = re.compile(r"(?<![\w+/=\-])[A-Za-z0-9+/_\-]{12,8192}={0,2}(?![\w+/=])")
SPACED = re.compile(r"(?<!\d)\d(?:[ .\-_*|]\d){7,18}(?!\d)")
SUSPECT = re.compile(
    r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|%[0-9a-fA-F]{2}|&#?\w{2,8};|(?i:[\[({<]\s*(?:at|dot)\s*[\])}>]|\sdot\s)|\d[ .\-_*|]\d[ .\-_*|]\d[ .\-_*|]\d"
)
DISGUISED, ENCODED = sieve((SUSPECT.pattern,)), sieve((r"[A-Za-z0-9+/_\-]{12}",))
"""Match wherever [SUSPECT][] and [BASE64][] do."""


@dataclass(frozen=True, slots=True)
class View:
    """A reading. Character n of `text` stands for `origin[n]` up to `origin[n + 1]` of the original."""

    text: str
    origin: list[int] | None
    whole: tuple[int, int] | None = None
    """Set for a decoded block: what is found stands for the block as a whole."""
    changes: tuple[int, ...] = ()
    """Where it reads otherwise than the reading that it was made of; none of one that was made of nothing."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        if self.whole is not None:
            return self.whole
        if self.origin is None:
            return start, end
        return self.origin[start], self.origin[end - 1 + 1] if end < len(self.origin) else self.origin[-1]

    def around(self, reach: int) -> list[tuple[int, int]]:
        """Stretches of the text within so many characters of a change."""
        made: list[tuple[int, int]] = []
        for one in self.changes:
            start, end = max(0, one - reach), min(len(self.text), one + reach)
            if made and start <= made[-1][1]:
                made[-1] = (made[-1][0], end)
            else:
                made.append((start, end))
        return made


def views(text: str) -> list[View]:
    """The text as it stands, then its other readings where it has any."""
    made = [View(text, None)]
    folded = _folded(text) if not text.isascii() else None
    if folded is not None:
        made.append(folded)
    base = folded or made[0]
    if DISGUISED.Match(base.text) and SUSPECT.search(base.text):
        opened = _opened(base)
        if opened is not None:
            made.append(opened)
    return made + _decoded(text) if ENCODED.Match(text) else made


def _folded(text: str) -> View | None:
    holes = [
        (found.start(), found.end(), folded)
        for found in NOT_ASCII.finditer(text)
        if (folded := _fold(found.group())) != found.group()
    ]
    return _rewritten(View(text, None), holes)


@lru_cache(4096)
def _fold(char: str) -> str:
    if char in INVISIBLE or unicodedata.category(char) == "Cf":
        return ""
    if unicodedata.category(char) == "Zs":
        return " "
    if unicodedata.category(char) == "Nd":
        return str(unicodedata.digit(char))
    folded = char.translate(LOOKALIKES)
    if folded != char:
        return folded
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else char


def _opened(base: View) -> View | None:
    """Escapes resolved, `[at]` written as `@`, spaced-out digits closed up."""
    text = base.text
    holes = [(found.start(), found.end(), _meaning(found)) for found in ESCAPES.finditer(text)]
    holes += [(f.start(), f.end(), "@" if "at" in f.group().lower() else ".") for f in WRITTEN.finditer(text)]
    for found in SPACED.finditer(text):
        holes += [(n, n + 1, "") for n in range(found.start(), found.end()) if not text[n].isdigit()]
    return _rewritten(base, sorted((start, end, meaning) for start, end, meaning in holes if meaning is not None))


def _rewritten(base: View, holes: list[tuple[int, int, str]]) -> View | None:
    """`base` with something else in the place of `holes`, which come in order; None where nothing is."""
    text, out, origin, changes, last = base.text, list[str](), list[int](), list[int](), 0
    for start, end, meaning in holes:
        if start < last:
            continue
        out.append(text[last:start])
        origin += range(last, start)
        changes.append(len(origin))
        out.append(meaning)
        origin += [start] * len(meaning)
        last = end
    if not last:
        return None
    out.append(text[last:])
    origin += range(last, len(text) + 1)
    if base.origin is not None:
        origin = [base.origin[n] for n in origin]
    # Where something was left out, the next character begins after the gap: ends are read from there.
    return View("".join(out), origin, changes=tuple(changes))


def _meaning(found: re.Match[str]) -> str | None:
    four, two, percent, entity = found.groups()
    if four or two:
        char = chr(int(four or two, 16))
        return char if char.isprintable() or char in "\n\t" else " "
    if percent:
        try:
            return bytes.fromhex(percent.replace("%", "")).decode()
        except UnicodeDecodeError:
            return None
    resolved = html.unescape(entity)
    return resolved if resolved != entity else None


def _decoded(text: str) -> list[View]:
    """Blocks of base64 that hold readable text."""
    made = []
    for found in BASE64.finditer(text):
        block = found.group()
        if (
            block.isdigit()
            or (block.isalpha() and (block.islower() or block.isupper()))
            or text[max(0, found.start() - 7) : found.start()] == "base64,"
        ):
            continue
        try:
            raw = base64.b64decode(
                block.replace("-", "+").replace("_", "/").rstrip("=") + "=" * (-len(block.rstrip("=")) % 4),
                validate=True,
            )
            said = raw.decode()
        except (binascii.Error, ValueError):
            continue
        if said.isprintable() and len(said) >= 6:
            made.append(View(said, None, found.span()))
    return made
