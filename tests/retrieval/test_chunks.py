"""Partitioning: nothing is lost, nothing is too large, structure is kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.chunks import LARGEST, Shape, chunks
from services.retrieval.ranking import Ranked, distinct, fused
from services.retrieval.store import Hit, Passage
from services.retrieval.tokens import count
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
    made = chunks(MARKDOWN, "Handbook", Shape.MARKDOWN)
    assert [one.header for one in made] == ["Handbook > Tolls", "Handbook > Tolls > Nights"]
    assert "def toll(): return 9\n```" in made[1].text and "| car | 3 |" in made[1].text
    assert all(MARKDOWN[one.start : one.end] == one.text for one in made)


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(f"This is sentence number {n} of the text." for n in range(100))
    made = chunks(text, "")
    assert len(made) > 3 and all(one.text.endswith(".") for one in made)


@settings(max_examples=sized(200, 5000))
@given(st.text(st.sampled_from("ab .\n#`|\t漢?!-"), max_size=4000), st.sampled_from(Shape))
def test_all_that_is_not_blank_is_in_some_passage(text: str, shape: Shape) -> None:
    made = chunks(text, "t", shape)
    covered = set[int]()
    for one in made:
        assert text[one.start : one.end] == one.text and 0 < count(one.text) <= LARGEST
        covered.update(range(one.start, one.end))
    if shape is not Shape.MARKDOWN:
        assert all(text[n].isspace() for n in set(range(len(text))) - covered)


def test_equal_passages_are_told_by_their_digest() -> None:
    a, b = chunks("Same words here.", "t"), chunks("Same words here.", "t")
    assert a[0].digest == b[0].digest != chunks("Same words here.", "other")[0].digest


def test_definitions_stand_above_code() -> None:
    text = "import os\n\n\n# What a crossing costs.\ndef toll(kind: str) -> int:\n    return 9\n\n\nclass Bridge:\n    open = True\n"
    made = chunks(text, "bridge.py", Shape.CODE)
    assert [one.header for one in made] == [
        "bridge.py",
        "bridge.py > def toll(kind: str) -> int",
        "bridge.py > class Bridge",
    ]
    assert made[1].text.startswith("# What a crossing costs.")


def test_a_passage_begins_where_the_topic_turns() -> None:
    text = "One about tolls.\n\nTwo about tolls.\n\nThree about moths."
    assert len(chunks(text, "")) == 1
    assert [one.text for one in chunks(text, "", apart={text.index("Three")})] == [
        "One about tolls.\n\nTwo about tolls.", "Three about moths.",
    ]  # fmt: skip


def test_scripts_without_spaces_are_counted_by_character() -> None:
    made = chunks("卡车的通行费是九克朗" * 100, "")
    assert len(made) > 4 and all(len(one.text) <= LARGEST for one in made)


def test_fusion_prefers_what_several_ways_find_and_shows_twins_once() -> None:
    one, two, twin = passage("one", "d1"), passage("two", "d2"), passage("one", "d3")

    def hits(*found: tuple[Passage, float]) -> list[Hit]:
        return [Hit(each.id, score, each) for each, score in found]

    scored = fused(
        {"bm25": hits((two, 9.0), (one, 8.0)), "static": hits((one, 0.9), (twin, 0.9)), "dense": hits((one, 0.8))}, 5
    )
    made = distinct([Ranked(each.passage, each.score, each.parts) for each in scored if each.passage], 5)
    assert [each.passage.text for each in made] == ["one", "two"]
    assert set(made[0].parts) == {"bm25", "static", "dense"} and made[0].also_in == ("d3",)
