"""Vectors of one scope in memory: what goes in is found, what goes out is not, many are chosen from as few are."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache import rows
from services.cache.rows import FEW, MARGIN, Near, Rows


def unit(seed: int) -> Any:
    made = np.random.default_rng(seed).normal(size=256).astype(np.float32)
    return made / np.linalg.norm(made)


def near(vector: Any, seed: int, cosine: float = 0.8) -> Any:
    """A vector at so much likeness to another."""
    other = unit(seed)
    other -= (other @ vector) * vector
    return cosine * vector + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)


STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard"]), st.integers(0, 12), st.integers(0, 1000)), max_size=60)


def ids(found: list[Near]) -> list[str]:
    return [one.id for one in found]


def test_a_form_goes_where_its_row_goes() -> None:
    kept = Rows()
    for n in range(5):
        kept.add(str(n), unit(n), bytes([n]))
    kept.discard({"1"})
    kept.learn("2", b"more")
    kept.learn("never there", b"none")
    kept.add("3", unit(3))
    assert {one.id: one.form for n in (0, 2, 3, 4) for one in kept.nearest(unit(n), 1, 0.9)} == {
        "0": b"\0", "2": b"more", "3": b"", "4": b"\4",
    }  # fmt: skip


@given(STEPS)
def test_it_holds_what_was_added_and_not_taken_out(steps: list[tuple[str, int, int]]) -> None:
    kept, model = Rows(), dict[str, Any]()
    for what, one, seed in steps:
        if what == "add":
            model[str(one)] = unit(seed)
            kept.add(str(one), model[str(one)])
        else:
            model.pop(str(one), None)
            kept.discard({str(one), "never there"})
        assert len(kept) == len(model) and all(one in kept for one in model)
    for name, vector in model.items():
        likeness = {other: float(vector @ value) for other, value in model.items()}
        found = ids(kept.nearest(vector, len(model), -1.0))
        assert sorted(found) == sorted(model) and likeness[found[0]] > 1 - 2 * MARGIN
        assert all(likeness[a] >= likeness[b] - 2 * MARGIN for a, b in pairwise(found))
        assert set(ids(kept.nearest(vector, 20, 0.9))) >= {
            other for other, cosine in likeness.items() if cosine >= 0.9
        }, name


def test_what_is_told_of_a_likeness_is_within_the_margin() -> None:
    kept, vector = Rows(), unit(1)
    for n in range(FEW):
        kept.add(str(n), near(vector, n + 2, n / FEW))
    for least in (0.1, 0.5, 0.9):
        found = {int(one) for one in ids(kept.nearest(vector, FEW, least))}
        assert found >= {n for n in range(FEW) if n / FEW >= least}
        assert found <= {n for n in range(FEW) if n / FEW >= least - 2 * MARGIN}


@pytest.mark.parametrize("count", [FEW + 1, 3_000, 40_000])
def test_among_many_the_nearest_is_found(count: int) -> None:
    made = np.random.default_rng(3).normal(size=(count, 256)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    kept = Rows()
    for n, vector in enumerate(made):
        kept.add(str(n), vector)
    asked = range(0, count, count // 100)
    found = [kept.nearest(near(made[n], n), 8, 0.62) for n in asked]
    assert sum(ids(found[k])[:1] == [str(n)] for k, n in enumerate(asked)) >= 0.98 * len(asked)


def test_equal_vectors_are_no_more_than_others() -> None:
    kept, vector = Rows(), unit(1)
    for n in range(20 * FEW):
        kept.add(str(n), vector)
    assert len(kept.nearest(vector, 8, 0.9)) == 8


def test_past_the_most_the_newest_takes_the_longest_ones_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 10)
    kept = Rows()
    for n in range(25):
        kept.add(str(n), unit(n))
    assert len(kept) == 10 and [n for n in range(25) if str(n) in kept] == list(range(15, 25))
    assert ids(kept.nearest(unit(24), 1, 0.9)) == ["24"] and not kept.nearest(unit(3), 1, 0.9)
    kept.discard({"20"})
    kept.add("new", unit(99))
    assert len(kept) == 10 and ids(kept.nearest(unit(99), 1, 0.9)) == ["new"]
