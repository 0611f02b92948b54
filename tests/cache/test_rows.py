"""Vectors of one scope in memory: what goes in is found, what goes out is not, many are chosen from as few are."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache import rows
from services.cache.forms import form, mark, sought
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
    kept, forms = Rows(), [form(f"text {n}") for n in range(6)]
    for n in range(5):
        kept.add(str(n), unit(n), forms[n])
    kept.discard({"1"})
    kept.learn("2", forms[5])
    kept.add("0", unit(0))
    kept.learn("0", forms[5])
    kept.learn("never there", forms[1])
    kept.add("3", unit(3))
    assert {one.id: one.form for n in (0, 2, 3, 4) for one in kept.nearest(unit(n), 1, 0.9)} == {
        "0": forms[5], "2": forms[2], "3": b"", "4": forms[4],
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


def test_what_names_other_numbers_is_sifted_out() -> None:
    texts = [f"tides in {n} words" for n in range(4 * FEW)]
    kept, vector = Rows(), unit(1)
    for n, text in enumerate(texts):
        kept.add(str(n), near(vector, n, 0.9), form(text))
    kept.discard({"5", "6"})
    kept.add("bare", near(vector, 7, 0.9), form("tides in words"))
    kept.add("other", unit(8), form(texts[7]))
    kept.add("unknown", near(vector, 9, 0.9))
    kept.add("learnt", near(vector, 9, 0.9))
    kept.learn("learnt", form(texts[8]))
    assert kept.sifted((), vector, 8, 0.8) is None
    (mask,) = sought(form(texts[7]))
    held = {str(n) for n, text in enumerate(texts) if mark(form(text)) & mask == mask} - {"5", "6"}
    assert len(held) < 20, "a few others look as if they named it: hashes are another in each process"
    if mark(form(texts[8])) & mask == mask:
        held.add("learnt")
    found = kept.sifted([mask], vector, 50, 0.8)
    assert found is not None and set(ids(found)) == held | {"bare", "unknown"}
    kept.discard({"7", "bare", "unknown"})
    again = kept.sifted([mask], vector, 50, 0.8)
    assert again is not None and set(ids(again)) == held - {"7"}


@given(st.lists(st.integers(0, 30), min_size=FEW + 1, max_size=2 * FEW), st.integers(0, 30))
def test_whatever_could_be_meant_is_sifted_out_of_many_or_few(numbers: list[int], asked: int) -> None:
    """Some of them are near, each is there once, and rows have gone from among them."""
    kept, vector = Rows(), unit(1)
    for n, number in enumerate(numbers):
        kept.add(
            str(n), near(vector, n, 0.9 if n % 7 == 0 else 0.1), form(f"tides in {number} words" if number else "tides")
        )
    gone = {str(n) for n in range(0, len(numbers), 3)}
    kept.discard(gone)
    wanted = {str(n) for n, number in enumerate(numbers) if n % 7 == 0 and number in (0, asked)} - gone
    found = kept.sifted(sought(form(f"tides in {asked} words")), vector, len(numbers), 0.8)
    assert found is None or (wanted <= set(ids(found)) and len(ids(found)) == len(set(ids(found))))


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
