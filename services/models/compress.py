"""Shortens text by leaving out whole sentences: query-aware, extractive, within a budget of tokens.

A sentence is worth its static vector's likeness to the query, the share of the query's rare words that it
holds, and a little for its place (the first of a passage introduces it). Sentences are taken greedily by
worth a token, less what they repeat of those already taken (maximal marginal relevance, Carbonell and
Goldstein 1998). Code blocks and list heads stay whole. What is kept stays in its order.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SENTENCES = re.compile(r"```.*?```|[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)|[.!?\n]+|[^.!?\n]+[.!?]", re.DOTALL)
WORDS = re.compile(r"\w+")
REPEATED = 0.95
"""Likeness from which a sentence says what another has said."""

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sentence:
    passage: int
    text: str
    tokens: int


def sentences(passage: int, text: str, count: "object") -> list[Sentence]:
    """`text` cut into sentences that join to exactly itself."""
    assert callable(count)
    cut, last, made = SENTENCES.finditer(text), 0, []
    for found in cut:
        if found.start() > last:
            made.append(text[last : found.start()])
        made.append(found.group())
        last = found.end()
    if last < len(text):
        made.append(text[last:])
    return [Sentence(passage, one, max(1, count(one))) for one in made]


def chosen(parts: list[Sentence], vectors: Vectors, query: str, query_vector: Vectors, budget: int) -> list[bool]:
    """Which sentences stay. `vectors` (n, d) are of unit length; so is `query_vector` (d,), or it is zeros."""
    if sum(one.tokens for one in parts) <= budget:
        return [True] * len(parts)
    likeness = vectors @ query_vector
    worth = likeness + 0.9 * _shared(parts, query)
    first: set[int] = set()
    for n, one in enumerate(parts):
        if one.passage not in first and one.text.strip():
            worth[n] += 0.08
            first.add(one.passage)
    kept, left = [False] * len(parts), budget
    nearest = np.full(len(parts), -1.0, np.float32)
    order = np.argsort(-worth, kind="stable")
    for n in order:
        if parts[n].tokens > left or nearest[n] > REPEATED or not parts[n].text.strip():
            continue
        kept[n], left = True, left - parts[n].tokens
        nearest = np.maximum(nearest, vectors @ vectors[n])
    if not any(kept):
        # Not one sentence fits: the most telling one is better than nothing.
        kept[int(order[0])] = True
    return kept


def _shared(parts: list[Sentence], query: str) -> Vectors:
    """For each sentence the weight of the query's words it holds, rarer words weighing more, 0 to 1."""
    words = [set(WORDS.findall(one.text.lower())) for one in parts]
    wanted = set(WORDS.findall(query.lower()))
    weights = {word: np.log(1 + len(parts) / (1 + sum(word in one for one in words))) for word in wanted}
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[word] for word in wanted & one) / total for one in words], np.float32)
