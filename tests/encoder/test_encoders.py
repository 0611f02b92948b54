"""Both tiers: vectors of unit length that put like beside like, batches that change nothing."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.encoder.app import tokenizer
from services.encoder.static import StaticEncoder
from services.encoder.transformer import AT_ONCE, MINILM, SHORT, ModelMissing, QueueFull, Transformer
from services.runtime.remembered import LONGEST_WORD
from tests.support.encoders import minilm_session, static
from tests.support.scale import sized

NEAR = ("How do I reset my password?", "I forgot my password, how can I set a new one?")
FAR = "The recipe needs two cups of flour."


def test_static_vectors_put_like_beside_like() -> None:
    a, b, c = (static().encode(text) for text in (*NEAR, FAR))
    assert a.shape == (256,) and float(a @ a) == pytest.approx(1, abs=1e-5)
    assert a @ b > 0.6 > a @ c


@settings(max_examples=sized(200, 5000))
@given(st.text(max_size=300))
def test_any_text_has_a_static_vector(text: str) -> None:
    vector = static().encode(text)
    assert np.isfinite(vector).all() and float(vector @ vector) == pytest.approx(float(vector.any()), abs=1e-4)


def test_words_from_the_book_are_those_of_the_tokenizer() -> None:
    for text in ("Hello, world!", "don't stop", "C++ and C#", "e-mail: a@b.c", "3.14 is ~pi", "UPPER lower"):
        assert static()._ids(text) == tokenizer().encode(text, add_special_tokens=False).ids, text


def test_the_book_of_words_stays_small_and_learns_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.encoder.static.MOST_WORDS", 10)
    encoder = StaticEncoder(tokenizer())
    long = "a" * (LONGEST_WORD + 1)
    for n in range(25):
        assert (
            encoder._ids(f"order {n} {long}") == tokenizer().encode(f"order {n} {long}", add_special_tokens=False).ids
        )
        assert encoder._ids("order") and "order" in encoder._words and len(encoder._words) <= 10
    assert long not in encoder._words


def test_minilm_puts_like_beside_like_whatever_the_batch() -> None:
    together = minilm_session().run([*NEAR, FAR])
    alone = np.stack([minilm_session().run([text])[0] for text in (*NEAR, FAR)])
    assert together.shape == (3, 384) and np.abs((together * alone).sum(axis=1) - 1).max() < 0.02
    assert together[0] @ together[1] > 0.6 > together[0] @ together[2]


async def test_concurrent_calls_share_batches_and_repeats_cost_nothing() -> None:
    encoder, runs = Transformer(MINILM, tokenizer(), 1), []
    run = encoder.run
    encoder.run = lambda texts: runs.append(len(texts)) or run(texts)  # type: ignore[method-assign,func-returns-value]
    await asyncio.gather(*(encoder.encode([f"text {n}"]) for n in range(40)))
    assert sum(runs) == 40 and len(runs) <= 40 / AT_ONCE + 1
    await encoder.encode([f"text {n}" for n in range(40)])
    assert sum(runs) == 40
    encoder.close()


async def test_a_full_queue_refuses() -> None:
    encoder = Transformer(MINILM, tokenizer(), 1)
    with pytest.raises(QueueFull):
        await encoder.encode(["x"] * 5000)
    encoder.close()


async def test_a_question_waits_for_no_passage_and_a_passage_for_two_at_most() -> None:
    encoder, go_on, runs = Transformer(MINILM, tokenizer(), 1), threading.Event(), []
    run = encoder.run

    def held(texts: list[str]) -> Any:
        runs.append([len(text) for text in texts])
        if len(texts[0]) > SHORT:
            go_on.wait(10)
        return run(texts)

    encoder.run = held  # type: ignore[method-assign]
    long = [f"{n} " + "a long passage of a document " * 40 for n in range(8)]
    under_way = asyncio.gather(*(encoder.encode([text]) for text in long))
    while not runs:
        await asyncio.sleep(0)
    await encoder.encode(["a question"])
    assert runs[1:] == [[len("a question")]], "while the passage before it is still under way"
    go_on.set()
    await under_way
    assert max(len(texts) for texts in runs) <= 2
    encoder.close()


async def test_the_work_of_one_that_fails_is_told_to_all_of_its_group(tmp_path: Path) -> None:
    encoder = Transformer(replace(MINILM, file=tmp_path / "none.onnx"), tokenizer(), 1)
    found = await asyncio.gather(*(encoder.encode([f"text {n}"]) for n in range(20)), return_exceptions=True)
    assert {type(one) for one in found} == {ModelMissing}
    encoder.close()
