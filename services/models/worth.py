"""What each sentence is worth to a question, from words and static vectors. Pure.

Words are compared by their beginnings, so that endings do not matter, and weigh by how rare they are in the text
(inverse document frequency, Spärck Jones 1972). A sentence that leans on the one before ("It ...", "A night there ...")
shares that one's worth, and brings it along. The weights were chosen on half of the questions that
`python -m benchmarks.compression` asks of documents; words turned out to say more than vectors.
"""

import math
import re
from collections import Counter

import numpy as np
import numpy.typing as npt

from services.models.sentences import Sentence

Vectors = npt.NDArray[np.float32]

WORDS = re.compile(r"[^\W_]+")
STEM = 5
"""Letters that say which word it is; a number counts whole."""
LEANS = frozenset(
    "it its they their them he him his she her this that these those there here such both each one ones former latter".split()
)
LEANS_WITHIN = 7
"""Words from the start of a sentence in which one of those makes it lean."""
EMPTY = frozenset(
    "a an the of for at by as is are was were be been am to in on with and or so do does did have has had what which who whom whose"
    " when where why how much many long often i you we me my your our will would can could should shall may might must not no".split()
)
RULES = re.compile(r"must|never|always|do not|don't|required|mandatory|important|warning|only if|except")
MARKS = re.compile(r"\d\w*|(?<=[\w,;:)] )[A-Z][\w&-]+")
"""Numbers, and words that are written as names."""
LIKENESS, SHARED, RULE, TELLING, FIRST = 0.3, 1.0, 0.05, 0.06, 0.05
FROM_BEFORE, TO_BEFORE = 0.1, 0.6
"""What a sentence that leans takes from the one before, and how much of its own that one gets."""
PASSAGE, BEST = 0.3, 3
"""What a sentence takes from the best of its text, and how many those are."""


def worth(parts: list[Sentence], query: str, likeness: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    """For each of `parts`, in their order; `likeness` (n,) is each one's cosine with the query, where it is known."""
    texts = [one.text.lower() for one in parts]
    words = [[word[:STEM] if word.isalpha() else word for word in WORDS.findall(text)] for text in texts]
    made = SHARED * _shared(words, query)
    if likeness is not None:
        made += LIKENESS * np.maximum(likeness, 0)
    for n, one in enumerate(parts):
        if RULES.search(texts[n]):
            made[n] += RULE
        if MARKS.search(one.text):
            made[n] += TELLING
        if n == 0 or parts[n - 1].passage != one.passage:
            made[n] += FIRST
    return _leaning(parts, words, made + PASSAGE * _passages(parts, made))


def _shared(words: list[list[str]], query: str) -> npt.NDArray[np.float64]:
    """The share of the query's words that each sentence holds, 0 to 1, the rarer the heavier."""
    wanted = {word[:STEM] if word.isalpha() else word for word in WORDS.findall(query.lower()) if word not in EMPTY}
    found = Counter(word for one in words for word in set(one) & wanted)
    weights = {word: math.log(1 + len(words) / (1 + found[word])) for word in wanted}
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[word] for word in wanted.intersection(one)) / total for one in words], np.float64)


def _passages(parts: list[Sentence], made: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each sentence what the best of its text are worth: an answer stands where the talk is of the question."""
    best: dict[int, list[float]] = {}
    for one, value in zip(parts, made, strict=True):
        best.setdefault(one.passage, []).append(float(value))
    means = {passage: float(np.mean(sorted(values)[-BEST:])) for passage, values in best.items()}
    return np.array([means[one.passage] for one in parts])


def _leaning(parts: list[Sentence], words: list[list[str]], made: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    leant = [n for n in range(1, len(parts)) if parts[n].passage == parts[n - 1].passage and leans(words[n])]
    for n in leant:
        made[n] += FROM_BEFORE * made[n - 1]
    for n in reversed(leant):  # whoever needs the one before brings it along
        made[n - 1] = max(made[n - 1], TO_BEFORE * made[n])
    return made


def leans(words: list[str]) -> bool:
    """Whether a sentence of these words cannot be understood without the one before."""
    return not LEANS.isdisjoint(words[:LEANS_WITHIN])
