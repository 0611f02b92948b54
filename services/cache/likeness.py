"""Cheap facts about two texts that tell near misses from rewordings. Pure."""

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from services.cache.plain import marked, plain, slip, slipped, spoken, stem, synonyms

Vector = npt.NDArray[np.float32]
Similar = Callable[[list[str], list[str]], npt.NDArray[np.float32]]
"""The likeness of each of the first words to each of the others, (n, m)."""

NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor without hardly barely scarcely seldom unable fail fails failed except nicht kein keine nie".split()
)
PIVOTS = frozenset(
    "more less most least fewer greater smaller larger higher lower before after first last next previous all any every each"
    " only always sometimes often rarely min max minimum maximum above below over under increase decrease increasing decreasing"
    " up down left right in out on off into from to with without and or enable disable add remove buy sell open close start stop"
    " best worst good bad fast slow cheap expensive hot cold new old early late same different true false legal illegal safe unsafe"
    " possible impossible import export push pull send receive borrow lend win lose pass fail accept reject increase lower raise"
    " male female man woman men women boys girls north south east west day week month year hour minute second daily weekly monthly"
    " half whole both either several few dozens"
    " days weeks months years hours minutes seconds was will were had did should must may might going used"
    " celsius fahrenheit kilometers miles km kg pounds dollars euros usd eur gbp meters feet inches liters gallons".split()
)  # fmt: skip
OPPOSED = ("un", "im", "in", "il", "ir", "dis", "non", "mis")
PAST = frozenset("was were did had been".split())
TO_COME = frozenset("will shall would going gonna".split())
ASKED = ("how many", "how much", "how long", "how old", "how far", "how often", "how", "what", "why", "who", "whom", "whose",
         "where", "when", "which", "is", "are", "can", "does", "do", "did", "should", "will")  # fmt: skip
STOP = frozenset(
    "a an the of for at by as it its this that these those i me my you your we our he she they them his her please could would"
    " can do does did is are was were be been am to in on with and or so just really actually kindly hi hello hey thanks thank tell"
    " explain know want need there here if then about also us some any how what".split()
)
LEAST_RIVAL = 0.5
"""Nothing that is less like the question counts as another's answer to it."""
NAMES = (
    "cosine", "gap", "static", "longer", "jaccard", "only_a", "only_b", "far_a", "far_b", "rarest_a", "rarest_b", "numbers",
    "negation", "pivots", "names", "question", "order", "bigrams", "characters", "typos", "contained", "short", "code", "swapped",
    "synonyms", "unlike", "support", "agreeing", "times", "identifiers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """How a stored text compares with the question, and with the others that do."""

    cosine: float
    """Of MiniLM's vectors."""
    static: float
    """Of the static vectors."""
    gap: float
    """How much nearer it is than the nearest text with another answer."""
    support: float
    """How near the nearest other text with the same answer is, above [LEAST_RIVAL][]."""
    agreeing: float
    """Of the other candidates the share with the same answer."""


def standing(place: int, cosines: Sequence[float], statics: Sequence[float], answers: Sequence[object]) -> Standing:
    """Of the candidate at `place`."""
    own = cosines[place]
    rivals = [one for one, answer in zip(cosines, answers, strict=True) if answer != answers[place]]
    others = [one for n, one in enumerate(cosines) if answers[n] == answers[place] and n != place]
    return Standing(
        own,
        statics[place],
        own - max([LEAST_RIVAL, *rivals]),
        max([LEAST_RIVAL, *others]) - LEAST_RIVAL,
        len(others) / max(1, len(cosines) - 1),
    )


def facts(a: str, b: str, at: Standing, similar: Similar) -> Vector:
    """(len(NAMES),) facts about the pair; the order of `a` and `b` does not matter."""
    aw, bw = spoken(a), spoken(b)
    aset, bset = set(aw), set(bw)
    ac, bc = [w for w in aw if w not in STOP], [w for w in bw if w not in STOP]
    only_a, only_b = _left(ac, bset), _left(bc, aset)
    only_a, only_b, typos = _typos(only_a, only_b)
    near_a, near_b = _near(only_a, bc, similar), _near(only_b, ac, similar)
    told_a, told_b = (
        sum(any(synonyms(x, y) for y in theirs) for x in mine) for mine, theirs in ((only_a, bc), (only_b, ac))
    )
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
            at.cosine,
            at.gap,
            at.static,
            abs(np.log((len(aw) + 1) / (len(bw) + 1))),
            shared / union,
            min(left[0], 6),
            min(left[1], 6),
            min(far[0], 4.0),
            min(far[1], 4.0),
            rare[0],
            rare[1],
            min(len(set(digits_a) ^ set(digits_b)) + (digits_a != digits_b), 4),
            abs(sum(w in NEGATIONS for w in aw) % 2 - sum(w in NEGATIONS for w in bw) % 2) + _opposed(only_a, only_b),
            min(len((aset ^ bset) & PIVOTS), 5),
            min(len(names_a ^ names_b), 4),
            float(_question(aw) != _question(bw)),
            1.0 - SequenceMatcher(None, common_a, common_b, autojunk=False).ratio(),
            _jaccard(set(pairwise(aw)), set(pairwise(bw))),
            _jaccard(_trigrams(aw), _trigrams(bw)),
            min(typos, 3),
            float(not only_a or not only_b),
            float(min(len(ac), len(bc)) <= 3),
            float(_code(a) != _code(b)),
            float(left == [1, 1] and len(aw) == len(bw)),
            (told_a + told_b) / (sum(left) or 1),
            min(sum(left) - told_a - told_b, 6),
            at.support,
            at.agreeing,
            float(_times(aset) != _times(bset)),
            min(len({w for w in aset ^ bset if marked(w)}), 4),
        ],
        np.float32,
    )


def rearranged(a: str, b: str) -> bool:
    """Whether the two say the same words in another order: from here to there is not from there to here."""
    aw, bw = ([_stem(w) for w in plain(text)] for text in (a, b))
    return aw != bw and sorted(aw) == sorted(bw)


def unmatched(a: str, b: str) -> set[str]:
    """Words whose likeness `facts` will want to know."""
    aw, bw = spoken(a), spoken(b)
    aset, bset = set(aw), set(bw)
    only = [w for w in aw if w not in bset and w not in STOP] or [w for w in bw if w not in aset and w not in STOP]
    return {w for w in aw + bw if w not in STOP} if only or aset != bset else set()


def _left(mine: list[str], theirs: set[str]) -> list[str]:
    stems = {_stem(w) for w in theirs}
    return [word for word in dict.fromkeys(mine) if word not in theirs and _stem(word) not in stems]


def _stem(word: str) -> str:
    return word if word in PIVOTS else stem(word)


def _typos(a: list[str], b: list[str]) -> tuple[list[str], list[str], int]:
    """Drops pairs of words that are one slip of the finger apart; how many there were."""
    a, b, count = list(a), list(b), 0
    for word in list(a):
        for other in b:
            if slip(word, other) or _close(word, other):
                a.remove(word)
                b.remove(other)
                count += 1
                break
    return a, b, count


def _times(words: set[str]) -> tuple[bool, bool]:
    """Whether a text speaks of the past, and of what is to come."""
    return not words.isdisjoint(PAST), not words.isdisjoint(TO_COME)


def _near(mine: list[str], theirs: list[str], similar: Similar) -> Vector:
    """The likeness of each word to the nearest of theirs; (0,) where one side has none."""
    return similar(mine, theirs).max(axis=1) if mine and theirs else np.ones(0, np.float32)


def _opposed(a: list[str], b: list[str]) -> bool:
    """Whether a word of one stands in the other with `un`, `im` or the like before it."""
    return any(x == before + y or y == before + x for x in a for y in b for before in OPPOSED)


def _close(a: str, b: str) -> bool:
    return min(len(a), len(b)) >= 6 and a.isalpha() and b.isalpha() and slipped(a, b) and not {a, b} & PIVOTS


def _number(word: str) -> bool:
    return any(char.isdigit() for char in word)


def _names(text: str) -> set[str]:
    """Words in capitals past the first of a sentence, in lower case."""
    found = re.finditer(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w+#.]*|\b[A-Z]{2,}\b", text)
    return {one.group().lower().rstrip(".") for one in found} - STOP - {"i", "what", "how", "why"}


def _question(words: list[str]) -> str:
    low = " ".join(words[:6])
    return next((word for word in ASKED if re.search(rf"\b{word}\b", low)), "")


def _code(text: str) -> frozenset[str]:
    return frozenset(
        one.lower()
        for one in re.findall(r"\b\w+(?:[_.:]\w+)+\b|\b[a-z]+[A-Z]\w+\b|\b[A-Z][a-z]+[A-Z]\w+\b|\w+\(\)", text)
    )


def _trigrams(words: list[str]) -> set[str]:
    low = f" {' '.join(words)} "
    return {low[n : n + 3] for n in range(len(low) - 2)}


def _jaccard(a: Set[object], b: Set[object]) -> float:
    return len(a & b) / (len(a | b) or 1)
