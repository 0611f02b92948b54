"""A cheap model first, its answer judged here; the next one only when that will not do (FrugalGPT, Chen et al. 2023).

The checks are local and cheap: form, length, refusals, repetition, agreement of several answers. What passes them is
worth the chance that was predicted of the model, more when several answers agree. Pure.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.router.policy import CascadePolicy
from services.router.ranking import Ranked, healthy

REFUSES = re.compile(
    r"\b(?:I (?:can(?:no|')t|am unable to|am not able to|do not know|don't know|do not have|don't have|am not sure)"
    r"|I'm (?:not sure|unable|sorry)|as an AI|as a language model|no information|not enough information|cannot answer)\b",
    re.I,
)
NUMBERS = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
WORDS = re.compile(r"\w+")
BEGINNING = 200
"""Characters within which a refusal is one: later it is part of an answer."""
REPEATED, RUN = 0.5, 4
"""Share of runs of four words that may occur again in an answer of some length."""
AGREES = 0.6
"""Share of words that two answers must have in common, where neither ends in a number."""
CONFIDENCE = 0.5
"""How much of the remaining doubt the agreement of several answers takes away."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: what it says, and how it ended."""

    text: str
    calls: tuple[str, ...] = ()
    """Tools called."""
    cut_off: bool = False
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What form the request asked for."""

    json: bool = False
    required: tuple[str, ...] = ()
    """Names that the JSON object must have."""
    tool: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    good: bool
    score: float
    reason: str


def cheaper_first(candidates: Sequence[Ranked], policy: CascadePolicy) -> list[Ranked] | None:
    """`candidates` with the cheapest that is much cheaper before the one the rule chose; None where there is none."""
    chosen = candidates[0]
    cheap = [
        one
        for one in candidates[1:]
        if healthy(one.model) and one.cost <= policy.cheaper * chosen.cost and one.quality < chosen.quality
    ]
    if not cheap or not healthy(chosen.model):
        return None
    first = min(cheap, key=lambda one: (one.cost, -one.quality))
    tried = Ranked(first.model, first.quality, first.cost, "cascade")
    return [tried, *(one for one in candidates if one is not first)]


def judged(answers: Sequence[Answer], wanted: Wanted, chance: float, enough: float) -> Verdict:
    """Whether the first of `answers` will do; `chance` is what was predicted of its model."""
    first = answers[0]
    if reason := _fault(first, wanted):
        return Verdict(False, 0.0, reason)
    score = chance
    if len(answers) > 1:
        if not all(agree(first.text, other.text) for other in answers[1:]):
            return Verdict(False, round(chance * 0.5, 4), "disagrees")
        score = chance + CONFIDENCE * (1 - chance)
    return Verdict(score >= enough, round(score, 4), "good" if score >= enough else "unsure")


def _fault(answer: Answer, wanted: Wanted) -> str:
    """What is wrong with it, whatever it says."""
    if answer.filtered:
        return "filtered"
    if answer.cut_off:
        return "cut_off"
    if wanted.tool and not answer.calls:
        return "no_tool_call"
    if not answer.text.strip() and not answer.calls:
        return "empty"
    if wanted.json and not _is_json(answer.text, wanted.required):
        return "no_json"
    if REFUSES.search(answer.text[:BEGINNING]):
        return "refuses"
    return "repeats" if repeats(answer.text) else ""


def _is_json(text: str, required: Sequence[str]) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and all(name in found for name in required) if required else True


def repeats(text: str) -> bool:
    """Whether it goes round in circles, as small models do."""
    words = WORDS.findall(text.lower())
    if len(words) < 8 * RUN:
        return False
    runs = Counter(tuple(words[n : n + RUN]) for n in range(len(words) - RUN + 1))
    again = sum(count - 1 for count in runs.values())
    return again > REPEATED * runs.total()


def agree(one: str, other: str) -> bool:
    """Whether two answers say the same: their last numbers where both end in one, else most of their words."""
    ends = [NUMBERS.findall(text)[-1:] for text in (one, other)]
    if all(ends):
        return float(ends[0][0].replace(",", "")) == float(ends[1][0].replace(",", ""))
    words = [set(WORDS.findall(text.lower())) for text in (one, other)]
    union = words[0] | words[1]
    return not union or len(words[0] & words[1]) >= AGREES * len(union)
