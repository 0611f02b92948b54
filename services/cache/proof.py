"""Proves that a stored answer fits a question: by its words alone where they are the same, else by the verifier."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.cache.forms import Hopes
from services.cache.likeness import NAMES, standing
from services.cache.plain import alike, plain
from services.cache.screen import Screen
from services.cache.store import Entry
from services.cache.verifier import Vector, Verifier

LEAST_COSINE = 0.7
"""Likeness by MiniLM below which nothing is worth judging."""
PLAINLY = 0.998
"""Chance that an entry fits whose plain form is that of the question."""
PROMISING = 0.4
"""Chance from which it is worth to hear what else is near: others with its answer may raise it, rivals lower it."""
MOST_WEIGHED = 3
"""Of the candidates that may fit, those nearest by MiniLM are told apart word by word; the others count as rivals."""
MOST_RIGHT = 2.0


@dataclass(slots=True)
class Judged:
    """A candidate, and how far it came."""

    entry: Entry
    static: float
    minilm: float = 0.0
    gap: float = 0.0
    chance: float = 0.0
    """Of its answer's being right."""
    outcome: str = "IMPLAUSIBLE"
    row: Vector | None = None

    def fits(self, threshold: float) -> bool:
        """Whether it is sure enough, for an entry with its history."""
        return self.chance >= threshold_of(self.entry, threshold)

    @property
    def facts(self) -> dict[str, float]:
        """What tells the two texts apart."""
        return {} if self.row is None else dict(zip(NAMES, map(float, self.row), strict=True))


@dataclass(frozen=True, slots=True)
class Prover:
    screen: Screen
    verifier: Verifier

    def hopes(self, text: str) -> Hopes:
        """Whether a look-up of `text` may find something."""
        return Hopes(self.screen, text)

    async def judged(self, text: str, near: Sequence[tuple[Entry, float]], threshold: float) -> list[Judged]:
        """Every candidate in the order of `near`; one that is to be served says so by its outcome."""
        found = [Judged(entry, static) for entry, static in near]
        own = plain(text)
        if same := [one for one in found if alike(own, plain(one.entry.text))]:
            latest = max(same, key=lambda one: one.entry.stored)
            latest.chance, latest.outcome = PLAINLY, "SAME_WORDS"
            if not latest.fits(threshold):
                latest.outcome = "UNSURE"
            return found
        passed = self.screen.plausible(text, [(one.entry.text, one.static) for one in found])
        able = [one for one, plausible in zip(found, passed, strict=True) if plausible]
        if not able:
            return found
        fair = [one for one in found if not self.screen.barred(text, one.entry.text)]
        if self.verifier.met([one.entry.text for one in found]):
            able, best = fair, await self._weighed(text, fair, found)
        else:
            best = await self._weighed(text, able, able)
            if best.chance >= PROMISING and len(able) < len(found):  # before anything is served its rivals are heard
                able, best = fair, await self._weighed(text, fair, found)
        for one in able:
            if one.outcome == "UNSURE" and one.fits(threshold):
                one.outcome = "OUTDONE"
        if best.fits(threshold):
            best.outcome = "SERVED"
        return found

    async def _weighed(self, text: str, able: list[Judged], among: list[Judged]) -> Judged:
        """Gives each of `able` its chance beside its rivals `among` them; the most probable."""
        vectors = await self.verifier.minilm([text, *(one.entry.text for one in among)])
        for one, other in zip(among, vectors[1:], strict=True):
            one.minilm = float(vectors[0] @ other)
        cosines, statics = [one.minilm for one in among], [one.static for one in among]
        answers = [one.entry.answer or one.entry.completion for one in among]
        place_of = {one.entry.id: place for place, one in enumerate(among)}
        nearest = sorted(able, key=lambda one: -one.minilm)
        for one in nearest:
            one.outcome, one.chance = "OUTDONE" if one.minilm >= LEAST_COSINE else "UNLIKE", 0.0
        asked = []
        for one in nearest[:MOST_WEIGHED]:
            if one.minilm >= LEAST_COSINE:
                at = standing(place_of[one.entry.id], cosines, statics, answers)
                one.gap = at.gap
                asked.append((one, at))
        if asked:
            rows, chances, turned = await self.verifier.judged(text, [(one.entry.text, at) for one, at in asked])
            for n, (one, _) in enumerate(asked):
                one.row, one.chance = rows[n], float(chances[n])
                one.outcome = "REARRANGED" if turned[n] else "UNSURE"
        return max(able, key=lambda one: one.chance)


def threshold_of(entry: Entry, threshold: float) -> float:
    """The threshold after feedback: hits that were wrong raise it for their entry, right ones lower it a little.

    The chance of error that is allowed, 1 - threshold, is scaled by (1 + right / 4) / (1 + 3 wrong) and by no
    more than two: an entry that misled twice must be all but certain (after vCache, Schroeder et al. 2025).
    """
    allowed = (1 - threshold) * min(1 + entry.right / 4, MOST_RIGHT) / (1 + 3 * entry.wrong)
    return 1 - allowed
