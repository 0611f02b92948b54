"""Words as numbers say what words say, and no look-up is given up that could have found something."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.cache import screen
from services.cache.forms import ANY, MOST_WORDS, WIDTH, Hopes, facts, form, mark, read, renumbered, sought
from services.cache.plain import alike, plain
from services.cache.screen import Screen, gist

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
    words = frozenset(memoryview(ours.content).cast("Q").tolist())
    assert facts(ours, words, theirs, cosine) == screen.facts(gist(a), gist(b), cosine)
    assert renumbered(ours, theirs) == screen.renumbered(gist(a), gist(b))


@given(TEXTS, st.lists(st.tuples(TEXTS, COSINES), max_size=8), st.floats(-0.005, 0.005))
def test_what_may_be_proven_is_hoped_for(text: str, others: list[tuple[str, float]], off: float) -> None:
    """Cosines of rows are right to about that much."""
    provable = any(SCREEN.plausible(text, others)) or any(alike(plain(text), plain(one)) for one, _ in others)
    hopes = Hopes(SCREEN, text)
    hoped = hopes([(form(one), cosine + off) for one, cosine in others])
    assert hoped or not provable
    assert hopes.dashed == (not hoped)


@given(TEXTS, TEXTS)
def test_what_is_not_renumbered_is_sought(a: str, b: str) -> None:
    masks, other = sought(form(a)), mark(form(b))
    assert not masks or any(other & mask == mask for mask in masks) or renumbered(read(form(a)), read(form(b)))
    assert not (alike(plain(a), plain(b)) and renumbered(read(form(a)), read(form(b)))), (
        "a slip of the finger is in no number"
    )
    assert all(ANY & mask == mask for mask in masks), "a text whose form is not known may ask for anything"


def test_numbers_tell_most_apart() -> None:
    texts = [f"Explain tides in {n} words" for n in range(40, 900)]
    masks = sought(form(texts[0]))
    assert sum(any(mark(form(text)) & mask == mask for mask in masks) for text in texts) < len(texts) / 50
    assert sought(form("Explain tides")) == () and not sought(form("Add 1 2 3 4 5 6 7 8"))
    assert all(mark(form("Explain tides")) & mask == mask for mask in masks)
    (code,) = sought(form("Where is order 471122?"))
    assert mark(form("Where is my order?")) & code != code, "an order that is not named is another"


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
