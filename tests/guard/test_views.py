"""Other readings of a text: they know their way back, and names are looked for again where they differ."""

from hypothesis import given
from hypothesis import strategies as st

from services.guard.views import View, views
from tests.guard.test_detector import found, types

DISGUISES = st.text(st.sampled_from("ab 1–аѕ\u200b\u00a0\\u0041%41&amp;"), max_size=40)
FILLER = "The committee met on a rainy day and talked about bees. " * 300


@given(DISGUISES)
def test_each_character_of_a_reading_knows_where_it_comes_from(text: str) -> None:
    for view in views(text):
        for n in range(len(view.text)):
            start, end = view.span(n, n + 1)
            assert 0 <= start <= end <= len(text)
            if view.origin is not None and text[start] == view.text[n]:
                assert end > start
        assert all(0 <= one <= len(view.text) for one in view.changes) and list(view.changes) == sorted(view.changes)


@given(DISGUISES)
def test_a_reading_differs_only_at_its_changes(text: str) -> None:
    for view in views(text)[1:2]:
        if view.origin is None or len(view.text) != len(text):
            continue
        differ = [n for n, (a, b) in enumerate(zip(view.text, text, strict=True)) if a != b]
        assert set(differ) <= {at + n for at in view.changes for n in range(8)}


def test_stretches_around_changes_run_into_each_other_and_end_with_the_text() -> None:
    view = View("x" * 1000, None, changes=(5, 300, 350, 999))
    assert view.around(100) == [(0, 105), (200, 450), (899, 1000)]
    assert View("x" * 10, None).around(3) == []


def test_a_name_in_disguise_is_found_anywhere_in_a_long_text() -> None:
    disguised = "Jоhаnnеs Müllеr"  # some of its letters are Cyrillic
    for text in (
        f"{FILLER}Please call {disguised} back. {FILLER}",
        f"Please call {disguised} back. {FILLER}",
        f"{FILLER} call {disguised}",
    ):
        assert any(kind == "PERSON" and span in disguised for kind, span in found(text)), found(text)


def test_a_dash_makes_no_names_of_what_is_none() -> None:
    plain = f"{FILLER}It rained – as it does – and nobody minded. {FILLER}"
    assert found(plain) == found(plain.replace("–", "-"))


def test_a_key_whose_frame_is_in_disguise_is_found_whole() -> None:
    body = "MIIEpAIBAAKCAQEA0m59l2u9iDnMbrXHfqkO" * 30
    assert "SECRET" in types(f"–––––BEGIN RSA PRIVATE KEY–––––\n{body}\n–––––END RSA PRIVATE KEY–––––")
