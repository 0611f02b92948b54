"""What the tagger found and a program explains better, or the words of an agent about itself. Pure.

The tagger was taught with sentences: in a program it takes `nil` for somebody's user name, and a list of numbers for an address. Names stand
in quotes and comments there, and read as names do; all else is the program's own.
"""

import re
from collections.abc import Sequence

from services.guard.finding import Found
from services.guard.programs import Place, Program

BEFORE, AFTER, LONGEST = 40, 80, 400
"""Characters around a finding that are looked at, and of one itself."""
NAME = re.compile(r"(?:[^\W\d_][^\W\d_'’]*\.?(?:[ \-]|$))+")
HUMP = re.compile(r"[a-z][A-Z]|^[A-Z]{3,}$|^[a-z]")
"""How identifiers, initials of things and common words are written, and names are not."""
USER = re.compile(r"(?i)user|login|account|author|owner|handle|member|nick|name")
CUT = re.compile(r"[^\W_]\0_|[_\-]\0\w")
"""Where an identifier would be cut in two."""
GLUED = re.compile(r"[\w@$/\\.]\0|\0(?:[\w(/\\\[=]|\.[^\W_])")
"""What stands beside parts of identifiers, paths and expressions, and beside no name."""
TAG, MARKUP = re.compile(r"@[a-z]+"), re.compile(r"(?:^|\n)\s*/?\*+\s*$|\{$")
"""What a comment says to tools: `@returns`, `{@link`."""
LINE = re.compile(r"(?:^|\n)[ \t]*$")
DECORATED = re.compile(
    r"@[\w.]+(?:\(.*)?\n\s*(?:@|async\b|def\b|class\b|public\b|private\b|protected\b|static\b|export\b|fun\b)|@[\w.]+\([^\n)]*\n"
)
"""A decorator, and what it stands before."""
LISTED = re.compile(r"[\"'],|,\s*[\"']|[{}\[\]]|[\"']\s*$|\n\s*[\"'#]")
APART = re.compile(r"[\"'{}\[\]#]")
OPENED, CLOSED = re.compile(r"(?:[,:\[({=]|\n)\s*[\"']?$"), re.compile(r"[\"']?\s*[,}\])]")
"""Values one beside the other, in brackets and quotes."""
MODELS = frozenset("codex gemini gpt chatgpt copilot llama qwen deepseek grok mistral".split())
PRODUCTS = frozenset("claude opus sonnet haiku fable code agent sdk cli s".split())
VENDOR = re.compile(r"(?i)anthropic|claude[ -](?:code|agent|opus|sonnet|haiku|\d)")
"""Models and agents; a first name that is a model's, too, and who speaks of the model."""
YOU = re.compile(r"\b[Yy]ou(?: are|'re|’re) (?:an? )?$")
"""Before the name that a model is given."""
VERB = re.compile(
    r"(?:[Mm]ark|[Gg]rant|[Bb]ill|[Cc]hase|[Ee]mit) (?:it|them|the|an?|as|each|all|this|that|these|those|your|tasks?|todos?|items?|done|function)\b"
)
SUFFIX = re.compile(
    r"\.(?:md|mdx|txt|py|pyi|js|ts|tsx|json|ya?ml|toml|go|rs|c|h|cpp|java|kt|rb|sh|html|css|csv|sql|lock|cfg|ini|ipynb)\b"
)
"""Of a file's name."""
ACRONYMS = re.compile(r"[A-Z]{2,}s")
IDENTIFIERS = re.compile(r"(?:\w+,\s*)*\w*[a-z][A-Z]\w*")
STREET = re.compile(
    r"(?i)\b(?:street|road|avenue|lane|square|drive|court|boulevard|terrace|rue|via|viale|piazza|calle|avenida|plaza|rua|ulica|al)\b"
    r"|(?:stra(?:ß|ss)e|gasse|weg|platz|allee|straat|laan|plein|vägen|gatan|gade)\b"
)
ZIP = re.compile(r"\d{5}(?:-\d{4})?")
LETTERS, DIGIT = re.compile(r"(?<![^\W\d_])(?!(?:max|min|and|the|for)\b)[^\W\d_]{3,}"), re.compile(r"\d")


def believed(text: str, found: Sequence[Found]) -> list[Found]:
    """Those of the tagger's findings that can be true."""
    made = [one for one in found if not _misread(one, text)]
    if not made or "\n" not in text:
        return made
    program = Program(text)
    return [one for one in made if (place := program.place(one.start, one.end)) is None or _reads_as(one.type, place)]


def _misread(one: Found, text: str) -> bool:
    """Whether it cannot be what it was taken for, wherever it stands."""
    value = text[one.start : one.end]
    before, after = text[max(0, one.start - BEFORE) : one.start], text[one.end : one.end + AFTER]
    match one.type:
        case "PERSON" | "LOCATION" | "ORGANIZATION":
            given = value.isalpha() and YOU.search(before)
            word = SUFFIX.match(after) or ACRONYMS.fullmatch(value) or VERB.match(value + after)
            return bool(given or word) or _product(value, text)
        case "USERNAME":
            cut = CUT.search(f"{before[-1:]}\0{value[:1]}") or CUT.search(f"{value[-1:]}\0{after[:1]}")
            tag = TAG.match(value) and MARKUP.search(before)
            decorator = value[0] == "@" and LINE.search(before) and DECORATED.match(value[:LONGEST] + after)
            file = SUFFIX.search(value[-12:]) or value.startswith("@@")
            return bool("\n" in value or cut or tag or decorator or file) or _product(value, text)
        case "ADDRESS":
            numbered = DIGIT.search(value) if LETTERS.search(value) else ZIP.fullmatch(value)
            item = value.isalnum() and value.isascii() and OPENED.search(before) and CLOSED.match(after)
            listed = LISTED.search(value) and not any(map(_address, APART.split(value)))
            identifiers = len(value) < LONGEST and IDENTIFIERS.fullmatch(value)
            return bool(not (numbered or STREET.search(value)) or item or listed or identifiers)
    return False


def _product(value: str, text: str) -> bool:
    """Whether it names a model, or an agent."""
    words = set(re.split(r"[^\w]+", value.strip(".-@").lower()))
    return words <= MODELS | PRODUCTS and (not words.isdisjoint(MODELS) or VENDOR.search(text) is not None)


def _reads_as(kind: str, place: Place) -> bool:
    """Whether what stands in a program reads as what it was taken for."""
    line, value = place.line, place.value
    before, after = line[place.start - 1 : place.start], line[place.end : place.end + 2]
    if not place.said or GLUED.search(f"{before}\0{after}"):
        return False
    match kind:
        case "PERSON" | "ORGANIZATION" | "LOCATION":
            return NAME.fullmatch(value) is not None and HUMP.search(re.split(r"[ .\-]", value)[0]) is None
        case "USERNAME":
            return USER.search(line[: place.start]) is not None and len(value) >= 3
        case "ADDRESS":
            return _address(value)
    return True


def _address(value: str) -> bool:
    return LETTERS.search(value) is not None and DIGIT.search(value) is not None
