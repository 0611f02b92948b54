"""What a question says once case, manners, contractions and the way it begins are taken off. Pure.

Two texts of one plain form ask for the same, and no transformer need say so.
"""

import re
import sys
import unicodedata
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase

from services.runtime.remembered import LONGEST_WORD, RememberedWords

ARTEFACTS = Path(__file__).parent / "artefacts"
SYNONYMS = ARTEFACTS / "synonyms.txt"
WORDS = re.compile(r"\d+(?:[.,:]\d+)*|[^\W_]+(?:[_.'\-][^\W_]+)*|[€$£¥%+#<>=&@]|[\-*/^](?=\s*\d)")
MEANT = re.compile(r"[{};|\\~]|\n|://|```|==")
"""Where a text holds code, data or several lines, case and marks may be what is asked about: it has no plain form."""
SHORT = re.compile(r"^(what|who|where|when|how|why|that|there|it|he|she|here|which)'s$")
ENDS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
WHOLE = {"cannot": "can not", "can't": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us",
         "dont": "do not", "doesnt": "does not", "cant": "can not", "isnt": "is not", "whats": "what is", "im": "i am",
         "e.g": "example", "etc": "", "okay": "ok"}  # fmt: skip
NUMBERS = {
    word: str(n)
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
        " eighteen nineteen twenty".split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
     "hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12"}  # fmt: skip
MANNERS = re.compile(
    r"\b(?:please tell me|(?:please|kindly|thanks(?: a lot| so much| in advance)?|thank you(?: very much| so much| in advance)?"
    r"|many thanks|cheers|(?:good (?:morning|afternoon|evening|day))|hello there|hi there|hello|hi|hey|dear (?:sir|madam|assistant|all)"
    r"|(?:just )?(?:a |one )?quick question|(?:can|could|would|will) you (?:please |kindly )?(?:help me(?: out)?(?: with (?:this|that|something|a question))?|"
    r"tell me|explain to me|let me know|advise)|i was wondering(?: if you could tell me)?|i (?:would|want to|need to) (?:like to )?know"
    r"|(?:i am|just) curious|tell me|do you know|any idea|help me(?: with this| understand)?(?=[:?!.])|excuse me|sorry to bother you"
    r"|i have a question)(?: about this)?)(?:\s*[,:;?!.\-–—]+|(?=\s|$))",
    re.IGNORECASE,
)
"""Said around a question, not asked by it. Only what stands at the very beginning or end is taken off."""
LASTS = frozenset(
    "please kindly thanks lot much advance you cheers morning afternoon evening day there hello hi hey sir madam assistant all question"
    " me out this that something know advise wondering curious idea".split()
)
"""What any of them may end with."""
LONGEST_LAST = max(map(len, LASTS))
OPENINGS = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"^(?:what (?:is|are|be) the (?:reasons?|cause)(?: that| why| for which)?|for what reason|how come|why is it that) ", "why "),
        (r"^(?:in )?(?:what|which) (?:is the )?(?:way|ways|method|steps?) (?:can|do|could|would|to|for) (?:i|you|we|one|me)?\b ?(?:to )?",
         "how i "),
        (r"^what steps (?:do|can|should) (?:i|you|we|one) take to ", "how i "),
        (r"^how (?:do|does|can|could|would|might|may|am|is it possible) (?:i|you|we|one)(?: able)?(?: to)?(?= )",
         "how i"),
        (r"^how to ", "how i "),
        (r"^why (?:do|does|is|are|did) ", "why "),
        (r"^is it possible (?:for me |for one )?to ", "can i "),
        (r"^am i able to ", "can i "),
        (r"^(?:could|may|might) i ", "can i "),
        (r"^i (?:would like|want|need|wish|have) to ", "i want to "),
        (r"^(?:which|what) are ", "what is "),
    )
]  # fmt: skip
OPENERS = frozenset("what for how why in which is am could may might i".split())
"""What any of them begins with."""
FILLERS = frozenset("a an the some of is are be am do does that it just really actually ok so then".split())
LONG_FILLERS = ("really", "actually")
MOST_SLIPS = 2
"""Of the finger, in texts of one plain form."""
LEAST_SLIPPED, LEAST_EXCHANGED = 4, 6
"""Letters of a word in which a slip is believed, and of one that nobody knows."""
LONGEST = 4096
MOST_TEXTS = 50_000
"""Whose forms are remembered."""
ENDINGS = (
    "s",
    "es",
    "ies",
    "ed",
    "ied",
    "d",
    "ing",
    "er",
    "ers",
    "ier",
    "est",
    "iest",
    "ly",
    "ally",
    "ness",
    "ment",
    "able",
    "less",
    "ful",
)
Plain = tuple[str, ...]


@lru_cache(maxsize=MOST_TEXTS)
def plain(text: str) -> Plain:
    """The words that carry the question, in order, numbers in digits; () where they are not all that counts."""
    return () if meant(text) else tuple(filter(carries, spoken_of(text)))


def meant(text: str) -> bool:
    """Whether more counts than words: it has no plain form."""
    return len(text) > LONGEST or MEANT.search(text) is not None


def spoken(text: str) -> list[str]:
    """Every word, in lower case, contractions spelt out, without manners, with one opening for those that ask alike."""
    return list(spoken_of(text))


@lru_cache(maxsize=2_000)  # of a text that is new all is asked at once
def spoken_of(text: str) -> Plain:
    """As [spoken][], not to be changed."""
    low = (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
    words = WORDS.findall(_unmannered(low.replace("’", "'").replace("`", " ").strip()))
    said = [one for word in words for one in _said.get(word) or _learnt(word)]
    if said and said[0] in OPENERS:
        said = _opened(said)
    return tuple(said)


def _opened(said: list[str]) -> list[str]:
    """With one opening for those that ask alike."""
    whole = " ".join(said)
    for pattern, by in OPENINGS:
        changed, count = pattern.subn(by, whole, count=1)
        if count:
            return list(map(sys.intern, changed.split()))
    return said


_said = RememberedWords[Plain](50_000)
"""What each word is compared as: one, two or none."""


def _learnt(word: str) -> Plain:
    return _said.keep(word, tuple(map(sys.intern, _spelt(word).split())))  # texts share their words


def carries(word: str) -> bool:
    """Whether a word is more than filling, even where that was written with a slip."""
    return (_carries if len(word) <= LONGEST_WORD else _carries.__wrapped__)(word)


@lru_cache(maxsize=50_000)
def _carries(word: str) -> bool:
    return word not in FILLERS and not any(slip(word, one) for one in LONG_FILLERS)


def alike(a: Plain, b: Plain) -> bool:
    """Whether two plain forms are one, a slip of the finger in a word or two aside."""
    if a == b:
        return bool(a)
    if len(a) != len(b) or len(a) < 2:
        return False
    slips = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return len(slips) <= MOST_SLIPS and len(slips) < len(a) and all(slip(x, y) for x, y in slips)


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Words that are in use: what is not among them may be a slip of one that is."""
    return frozenset((ARTEFACTS / "words.txt").read_text().split())


@lru_cache(maxsize=1)
def _senses() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, line in enumerate(SYNONYMS.read_text().splitlines()):
        for word in line.split():
            found.setdefault(stem(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


def synonyms(a: str, b: str) -> bool:
    """Whether the two words often stand for each other."""
    senses = _senses()
    return not senses.get(stem(a), frozenset()).isdisjoint(senses.get(stem(b), ()))


def slip(a: str, b: str) -> bool:
    """Whether one word is the other after one slip: two letters exchanged, one left out, doubled or wrong.

    One of the two must be no word in use and the other be one: `form` is never a slip of `from`. Names are in no list of
    words: of two that are unknown only an exchange of neighbours is believed.
    """
    if min(len(a), len(b)) < LEAST_SLIPPED or abs(len(a) - len(b)) > 1 or not (a.isalpha() and b.isalpha()):
        return False
    if in_use(a) != in_use(b):
        return slipped(a, b)
    return not in_use(a) and len(a) == len(b) >= LEAST_EXCHANGED and sorted(a) == sorted(b) and slipped(a, b)


@lru_cache(maxsize=50_000)
def in_use(word: str) -> bool:
    """Whether `word` is known, as it stands or without its ending."""
    kept = known()
    if word in kept:
        return True
    for end in ENDINGS:
        bare = word.removesuffix(end)
        if bare != word and len(bare) >= 3 and (bare in kept or bare + "e" in kept or bare + "y" in kept):
            return True
    return False


def slipped(a: str, b: str) -> bool:
    """Whether one exchange of neighbours, one letter less or, in longer words, one other letter tells them apart."""
    if len(a) == len(b):
        differ = [n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
        if len(differ) == 1:
            return len(a) >= 6
        return (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and a[differ[0]] == b[differ[1]]
            and a[differ[1]] == b[differ[0]]
        )
    short, long = sorted((a, b), key=len)
    return len(long) - len(short) == 1 and any(long[:n] + long[n + 1 :] == short for n in range(len(long)))


def stem(word: str) -> str:
    for end in ("ing", "ies", "ied", "ed", "es", "s", "ly"):
        if word.endswith(end) and len(word) - len(end) >= 3 and word[-2:] != "ss":
            return word[: -len(end)]
    return word


def _unmannered(text: str) -> str:
    """Takes manners off both ends, again and again: `hi, please tell me: ...`."""
    while True:
        text, again = text.strip(" ,.!?:;-–—"), False
        for find in (_first, _last):
            at = find(text)
            if at is not None and 0 < at[1] - at[0] < len(text):
                text, again = (text[: at[0]] + text[at[1] :]).strip(), True
        if not again:
            return text


def _first(text: str) -> tuple[int, int] | None:
    found = MANNERS.match(text)
    return found.span() if found else None


def _last(text: str) -> tuple[int, int] | None:
    end = text[-LONGEST_LAST - 1 :]
    if end[len(end.rstrip(ascii_lowercase)) :] not in LASTS:
        return None
    tail = max(0, len(text) - 60)
    ends = [one for one in MANNERS.finditer(text, tail) if one.end() >= len(text)]
    return ends[-1].span() if ends and ends[-1].start() and not text[ends[-1].start() - 1].isalnum() else None


def marked(word: str) -> bool:
    """Whether a word is a number or an identifier: one character of it is as good as all."""
    return not word.isalpha() and any(char.isdigit() or char in "_." for char in word)


def _spelt(word: str) -> str:
    """A word as it is compared; two with a space between, or none, for one that stands for so many."""
    if word[0] == "v" and word[1:2].isdigit():
        return word[1:]
    if word in WHOLE:
        return WHOLE[word]
    if word in NUMBERS:
        return NUMBERS[word]
    if word[0].isdigit():
        return re.sub(r",(?=\d{3}\b)", "", word)
    if "'" in word:
        if SHORT.match(word):
            return f"{word[:-2]} is"
        for end, by in ENDS.items():
            if word.endswith(end) and len(word) > len(end):
                return f"{word[: -len(end)]} {by}"
        return word.removesuffix("'s").replace("'", "")
    return word
