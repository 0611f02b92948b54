"""Words as numbers say what words say, and no look-up is given up that could have found something."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.cache import screen
from services.cache.forms import MOST_WORDS, WIDTH, Hopes, form, read, renumbered
from services.cache.plain import alike, plain
from services.cache.screen import Screen, facts, gist

SCREEN = Screen()
WORDS = st.sampled_from(
    "please what is the a capital capitol of france cancel cancle order 4711 4712 k-20-ff my not really don't v2 {x} how do i reset"
    " passwrod password my_var 1,000 thousand euros €".split()
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
COSINES = st.floats(0.62, 1.0)


@given(TEXTS, TEXTS, COSINES)
def test_numbers_tell_what_words_tell(a: str, b: str, cosine: float) -> None:
    ours, theirs = read(form(a)), read(form(b))
    assert len(ours.plain) == WIDTH * len(plain(a)) and (ours.plain == theirs.plain) == (plain(a) == plain(b))
    assert facts(ours.gist, theirs.gist, cosine) == facts(gist(a), gist(b), cosine)
    assert renumbered(ours, theirs) == screen.renumbered(gist(a), gist(b))


@given(TEXTS, st.lists(st.tuples(TEXTS, COSINES), max_size=8), st.floats(-0.005, 0.005))
def test_what_may_be_proven_is_hoped_for(text: str, others: list[tuple[str, float]], off: float) -> None:
    """Cosines of rows are right to about that much."""
    provable = any(SCREEN.plausible(text, others)) or any(alike(plain(text), plain(one)) for one, _ in others)
    hopes = Hopes(SCREEN, text)
    hoped = hopes([(form(one), cosine + off) for one, cosine in others])
    assert hoped or not provable
    assert hopes.dashed == (not hoped)


def test_most_of_what_is_near_is_not_hoped_for() -> None:
    asked = (
        "Which river flows through the old town of Lima, and how long is it?",
        "What did the council of Trent decide about printing?",
        "How many moons of Jupiter were known in 1900?",
        "Who wrote the first grammar of the Basque language?",
        "When were seat belts made mandatory in Sweden?",
        "How do I put a new chain on the bicycle of a child?",
    )
    assert not any(Hopes(SCREEN, a)([(form(b), 0.65)]) for a, b in itertools.permutations(asked, 2))
    assert all(Hopes(SCREEN, a)([(form(b), 0.65) for b in asked]) for a in asked)


def test_a_text_of_many_words_or_an_unknown_one_is_read() -> None:
    long = " ".join(f"word{n}" for n in range(MOST_WORDS + 1))
    assert form(long) == b"" and Hopes(SCREEN, long)([(form("other"), 0.7)])
    assert Hopes(SCREEN, "capital of France")([(form("reset my password"), 0.62), (b"", 0.62)])
