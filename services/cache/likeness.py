"""Cheap facts about two texts that tell near misses from rewordings. Pure."""

import re
from collections.abc import Callable, Set
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
Similar = Callable[[list[str], list[str]], npt.NDArray[np.float32]]
"""For each of the first words its likeness to the nearest of the others, (n,)."""

WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[€$£¥%+#<>=]")
NUMBERS = {
    w: str(n) for n, w in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor without cannot can't won't don't doesn't didn't isn't aren't wasn't weren't"
    " shouldn't couldn't wouldn't haven't hasn't hadn't mustn't n't unable fail fails failed except nicht kein keine nie".split()
)
PIVOTS = frozenset(
    "more less most least fewer greater smaller larger higher lower before after first last next previous all some any every each"
    " only always sometimes often rarely min max minimum maximum above below over under increase decrease increasing decreasing"
    " up down left right in out on off into from to with without and or enable disable add remove buy sell open close start stop"
    " best worst good bad fast slow cheap expensive hot cold new old early late same different true false legal illegal safe unsafe"
    " possible impossible import export push pull send receive borrow lend win lose pass fail accept reject increase lower raise"
    " male female man woman men women boys girls north south east west day week month year hour minute second daily weekly monthly"
    " was will were had should must may might did"
    " celsius fahrenheit kilometers miles km kg pounds dollars euros usd eur gbp meters feet inches liters gallons".split()
)  # fmt: skip
QUESTIONS = ("how many", "how much", "how long", "how old", "how far", "how often", "how", "what", "why", "who", "whom", "whose",
             "where", "when", "which", "is", "are", "can", "does", "do", "did", "should", "will")  # fmt: skip
STOP = frozenset(
    "a an the of for at by as it its this that these those i me my you your we our he she they them his her their please could would"
    " can do does did is are was were be been am to in on with and or so just really actually kindly hi hello hey thanks thank tell"
    " explain know want need there here if then about also me us some any what's how's".split()
)
NAMES = (
    "cosine", "static", "longer", "jaccard", "only_a", "only_b", "far_a", "far_b", "rarest_a", "rarest_b", "numbers", "negation",
    "pivots", "names", "question", "order", "bigrams", "characters", "typos", "contained", "short", "code",
)  # fmt: skip


def words(text: str) -> list[str]:
    low = text.lower().replace("’", "'")
    return [NUMBERS.get(word, word) for word in WORDS.findall(low)]


def facts(a: str, b: str, cosine: float, static: float, similar: Similar) -> Vector:
    """(len(NAMES),) facts about the pair; the order of `a` and `b` does not matter."""
    aw, bw = words(a), words(b)
    aset, bset = set(aw), set(bw)
    ac, bc = [w for w in aw if w not in STOP], [w for w in bw if w not in STOP]
    only_a, only_b = _left(ac, bset), _left(bc, aset)
    only_a, only_b, typos = _typos(only_a, only_b)
    near_a = similar(only_a, bc) if only_a and bc else np.ones(0, np.float32)
    near_b = similar(only_b, ac) if only_b and ac else np.ones(0, np.float32)
    shared = len(set(ac) & set(bc))
    union = len(set(ac) | set(bc)) or 1
    digits_a, digits_b = sorted(w for w in aw if _number(w)), sorted(w for w in bw if _number(w))
    names_a, names_b = _names(a), _names(b)
    common_a, common_b = [w for w in aw if w in bset], [w for w in bw if w in aset]
    far = sorted((float((1 - near_a).sum()), float((1 - near_b).sum())))
    rare = sorted((float((1 - near_a).max(initial=0)), float((1 - near_b).max(initial=0))))
    left = sorted((len(only_a), len(only_b)))
    return np.array(
        [
            cosine,
            static,
            abs(np.log((len(aw) + 1) / (len(bw) + 1))),
            shared / union,
            min(left[0], 6),
            min(left[1], 6),
            min(far[0], 4.0),
            min(far[1], 4.0),
            rare[0],
            rare[1],
            min(len(set(digits_a) ^ set(digits_b)) + (digits_a != digits_b), 4),
            abs(sum(w in NEGATIONS for w in aw) % 2 - sum(w in NEGATIONS for w in bw) % 2),
            min(len((aset ^ bset) & PIVOTS), 5),
            min(len(names_a ^ names_b), 4),
            float(_question(a) != _question(b)),
            1.0 - SequenceMatcher(None, common_a, common_b, autojunk=False).ratio(),
            _jaccard(set(pairwise(aw)), set(pairwise(bw))),
            _jaccard(_trigrams(a), _trigrams(b)),
            min(typos, 3),
            float(not only_a or not only_b),
            float(min(len(ac), len(bc)) <= 3),
            float(_code(a) != _code(b)),
        ],
        np.float32,
    )


def unmatched(a: str, b: str) -> set[str]:
    """Words whose nearest in the other text `facts` will want to know, and the words to compare them with."""
    aw, bw = words(a), words(b)
    aset, bset = set(aw), set(bw)
    only = [w for w in aw if w not in bset and w not in STOP] or [w for w in bw if w not in aset and w not in STOP]
    return {w for w in aw + bw if w not in STOP} if only or aset != bset else set()


def _left(mine: list[str], theirs: set[str]) -> list[str]:
    return [
        word for word in dict.fromkeys(mine) if word not in theirs and _stem(word) not in {_stem(w) for w in theirs}
    ]


def _stem(word: str) -> str:
    for end in ("ing", "ies", "ed", "es", "s", "ly"):
        if word.endswith(end) and len(word) - len(end) >= 3 and word not in PIVOTS:
            return word[: -len(end)]
    return word


def _typos(a: list[str], b: list[str]) -> tuple[list[str], list[str], int]:
    """Drops pairs of words that one slip of the finger apart; how many there were."""
    a, b, count = list(a), list(b), 0
    for word in list(a):
        for other in b:
            if _slip(word, other):
                a.remove(word)
                b.remove(other)
                count += 1
                break
    return a, b, count


def _slip(a: str, b: str) -> bool:
    if min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 1 or _number(a) or _number(b) or a in PIVOTS or b in PIVOTS:
        return False
    if len(a) == len(b):
        differ = [n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
        swapped = (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and a[differ[0]] == b[differ[1]]
            and a[differ[1]] == b[differ[0]]
        )
        return swapped or (len(differ) == 1 and len(a) >= 6)
    short, long = sorted((a, b), key=len)
    return any(long[:n] + long[n + 1 :] == short for n in range(len(long)))


def _number(word: str) -> bool:
    return any(char.isdigit() for char in word)


def _names(text: str) -> set[str]:
    """Words in capitals past the first of a sentence, in lower case."""
    found = re.finditer(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w+#.]*|\b[A-Z]{2,}\b", text)
    return {one.group().lower().rstrip(".") for one in found} - STOP - {"i", "what", "how", "why"}


def _question(text: str) -> str:
    low = " ".join(words(text)[:6])
    return next((word for word in QUESTIONS if re.search(rf"\b{word}\b", low)), "")


def _code(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\b\w+(?:[_.:]\w+)+\b|\b[a-z]+[A-Z]\w+\b|\w+\(\)", text))


def _trigrams(text: str) -> set[str]:
    low = f" {' '.join(words(text))} "
    return {low[n : n + 3] for n in range(len(low) - 2)}


def _jaccard(a: Set[object], b: Set[object]) -> float:
    return len(a & b) / (len(a | b) or 1)
