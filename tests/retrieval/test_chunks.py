"""Partitioning: nothing is lost, nothing is too large, structure is kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.chunks import LARGEST, chunks
from services.retrieval.fusion import fused
from tests.retrieval.test_store import passage
from tests.support.scale import sized

MARKDOWN = """# Tolls

Lorries pay nine crowns.

## Nights

The bridge closes at ten.

```
def toll(): return 9
```

| class | fee |
|---|---|
| car | 3 |
"""


def test_headings_stand_above_what_they_head() -> None:
    made = chunks(MARKDOWN, "Handbook", markdown=True)
    assert [one.header for one in made] == ["Handbook > Tolls", "Handbook > Tolls > Nights"]
    assert "def toll(): return 9\n```" in made[1].text and "| car | 3 |" in made[1].text
    assert all(MARKDOWN[one.start : one.end] == one.text for one in made)


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(f"This is sentence number {n} of the text." for n in range(100))
    made = chunks(text, "", markdown=False)
    assert len(made) > 3 and all(one.text.endswith(".") for one in made)


@settings(max_examples=sized(200, 5000), deadline=None)
@given(st.text(st.sampled_from("ab .\n#`|\t漢?!-"), max_size=4000), st.booleans())
def test_all_that_is_not_blank_is_in_some_passage(text: str, markdown: bool) -> None:
    made = chunks(text, "t", markdown=markdown)
    covered = set[int]()
    for one in made:
        assert text[one.start : one.end] == one.text and 0 < len(one.text) <= LARGEST
        covered.update(range(one.start, one.end))
    if not markdown:
        assert all(text[n].isspace() for n in set(range(len(text))) - covered)


def test_equal_passages_are_told_by_their_digest() -> None:
    a, b = chunks("Same words here.", "t", markdown=False), chunks("Same words here.", "t", markdown=False)
    assert a[0].digest == b[0].digest != chunks("Same words here.", "other", markdown=False)[0].digest


def test_fusion_prefers_what_several_ways_find_and_shows_twins_once() -> None:
    one, two, twin = passage("one", "d1"), passage("two", "d2"), passage("one", "d3")
    made = fused({"bm25": [(two, 9.0), (one, 8.0)], "static": [(one, 0.9), (twin, 0.9)], "dense": [(one, 0.8)]}, 5)
    assert [found.passage.text for found in made] == ["one", "two"]
    assert set(made[0].parts) == {"bm25", "static", "dense"}
