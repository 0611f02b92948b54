"""The vectors of one scope in memory: which are nearest, in microseconds, whether there are a hundred or half a million.

Where they are many, the signs of their numbers choose who is compared: 32 bytes a row are read in place of 256.
"""

from collections.abc import Sequence, Set
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from services.cache.forms import ANY, Form, mark
from services.cache.payload import DIMENSIONS
from services.cache.screen import ABOUT
from services.cache.store import Vector

MOST_ROWS = 500_000
"""Of one scope: past that the newest takes the place of the one that has been there longest."""
FIRST_ROWS = 64
WORDS = DIMENSIONS // 64
FEW = 256
"""Up to so many all are compared."""
CHOSEN, SHARE = 256, 128
"""Of more, about so many whose signs are most equal, or one in so many where that is more. Of real questions the nearest was among them
98 times in 100, and 99.3 where it was nearer than 0.8."""
PART = 8
"""One in so many rows is few enough to be picked out of all."""
MARGIN = ABOUT
"""By how much a likeness may be told too low."""
SAMPLE, LONGEST_STEP = 1024, 64
"""Where the signs part the chosen from the others is read off a sample: of so many at least, one in so many at most."""

Signs = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]
Number = TypeVar("Number", bound="np.generic[Any]")


class Near(NamedTuple):
    """A row that is like what is asked."""

    id: str
    cosine: float
    """About."""
    form: Form


class Rows:
    """Each row as 256 numbers of 8 bits with a scale, and their signs: 0.3 KB. What they tell is right to about 0.002. Beside it the
    form of the text, as far as that is known, and its mark."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._ids: list[str] = []
        self._forms: list[Form] = []
        self._rows = np.zeros((FIRST_ROWS, DIMENSIONS), np.int8)
        self._scales = np.zeros(FIRST_ROWS, np.float32)
        self._signs: Signs = np.zeros((WORDS, FIRST_ROWS), np.uint64)
        self._marks = np.full(FIRST_ROWS, ANY, np.uint64)
        self._next = 0
        """Whose place is taken next, once there is no room."""

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, one: str) -> bool:
        return one in self._place

    def add(self, one: str, vector: Vector, form: Form = b"") -> None:
        """Puts a vector in, or another one in its place."""
        place = self._place.get(one)
        if place is None:
            place = self._place[one] = self._room(one)
        self._forms[place], self._marks[place] = form, mark(form)
        scale = float(np.abs(vector).max()) / 127 or 1.0
        self._rows[place] = np.rint(vector / scale)
        self._scales[place] = scale
        self._signs[:, place] = _signs(vector)

    def learn(self, one: str, form: Form) -> None:
        """Takes in the form of a text, where its vector is there and the form is not."""
        if (place := self._place.get(one)) is not None and not self._forms[place]:
            self._forms[place], self._marks[place] = form, mark(form)

    def discard(self, ids: Set[str]) -> None:
        """Takes out those of `ids` that are there: the last ones take their places."""
        for one in self._place.keys() & ids:
            place, moved, form = self._place.pop(one), self._ids.pop(), self._forms.pop()
            last = len(self._ids)
            if place != last:
                self._ids[place], self._place[moved], self._forms[place] = moved, place, form
                self._rows[place], self._scales[place] = self._rows[last], self._scales[last]
                self._signs[:, place], self._marks[place] = self._signs[:, last], self._marks[last]

    def nearest(self, vector: Vector, most: int, least: float) -> list[Near]:
        """Up to `most` whose cosine to `vector` may be `least` or more, about the nearest first."""
        count = len(self._ids)
        return self._compared(None if count <= FEW else _alike(self._signs[:, :count], vector), vector, most, least)

    def sifted(self, sought: Sequence[int], vector: Vector, most: int, least: float) -> list[Near] | None:
        """As [nearest][Rows.nearest], among those alone whose mark holds one of the masks; None where that is not sooner told."""
        count = len(self._ids)
        if count <= FEW or not sought:
            return None
        marks, found = self._marks[:count], np.zeros(count, np.bool_)
        for mask in sought:
            found |= marks & np.uint64(mask) == mask
        chosen = found.nonzero()[0]
        if len(chosen) > FEW:
            if len(chosen) * PART > count:
                return None
            chosen = chosen[_alike(self._signs.take(chosen, 1), vector)]
        return self._compared(chosen, vector, most, least) if len(chosen) else []

    def _compared(self, places: Places | None, vector: Vector, most: int, least: float) -> list[Near]:
        """Of the rows at `places`, None for all."""
        if places is None:
            count = len(self._ids)
            rows, scales = self._rows[:count], self._scales[:count]
        else:
            rows, scales = self._rows.take(places, 0), self._scales.take(places)
        likeness = rows.astype(np.float32) @ vector * scales
        best = (-likeness).argsort()[:most]
        at = best if places is None else places[best]
        found = zip(at.tolist(), likeness[best].tolist(), strict=True)
        ids, forms, least = self._ids, self._forms, least - MARGIN
        return [Near(ids[place], cosine, forms[place]) for place, cosine in found if cosine >= least]

    def _room(self, one: str) -> int:
        """A place for a new row."""
        count = len(self._ids)
        if count >= MOST_ROWS:
            place, self._next = self._next % count, self._next + 1
            del self._place[self._ids[place]]
            self._ids[place] = one
            return place
        if count == len(self._rows):  # doubles, so that a row costs the same however many there are
            self._rows, self._scales, self._marks = _twice(self._rows), _twice(self._scales), _twice(self._marks)
            self._signs = _twice(self._signs, 1)
        self._ids.append(one)
        self._forms.append(b"")
        return count


def _twice(array: npt.NDArray[Number], axis: int = 0) -> npt.NDArray[Number]:
    """With as much room again, which takes no memory before it is used."""
    shape = list(array.shape)
    shape[axis] *= 2
    made: npt.NDArray[Number] = np.zeros(shape, array.dtype)
    made[tuple(map(slice, array.shape))] = array
    return made


def _alike(signs: Signs, vector: Vector) -> Places:
    """Places of the rows with the most signs equal to the vector's."""
    count = signs.shape[1]
    unequal = np.add.reduce(np.bitwise_count(signs ^ _signs(vector)[:, None]), 0, np.uint8)
    wanted = max(CHOSEN, count // SHARE)
    sample = unequal[:: max(1, min(LONGEST_STEP, count // SAMPLE))].copy()
    nth = min(len(sample) - 1, wanted * len(sample) // count)
    sample.partition(nth)
    chosen: Places = (unequal <= sample[nth]).nonzero()[0]
    if len(chosen) > 2 * wanted:  # many are equally alike
        chosen = chosen[unequal[chosen].argpartition(wanted)[:wanted]]
    return chosen


def _signs(vector: Vector) -> Signs:
    """(WORDS,): a bit for each number, set where it is above zero."""
    packed: Signs = np.packbits(vector > 0).view(np.uint64)
    return packed
