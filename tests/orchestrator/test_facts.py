"""What the orchestrator knows of the catalogue."""

from typing import Any

import pytest
from tollway.models.v1 import models_pb2

from services.orchestrator.facts import Models

OTHERS: list[dict[str, Any]] = [
    {"embeddings": True},
    {"rerank": True},
    {"moderation": True},
    {"image_tokens": 1000},
    {"second_tokens": 1},
]


@pytest.mark.parametrize("other", OTHERS)
def test_while_the_router_is_away_one_that_chats_answers(other: dict[str, Any]) -> None:
    models = [models_pb2.Model(name="b"), models_pb2.Model(name="a", **other), models_pb2.Model(name="c")]
    known: Any = {one.name: one for one in models}
    assert Models(None, known).first == "b"  # type: ignore[arg-type]
    assert Models(None, {"a": known["a"]}).first == ""  # type: ignore[arg-type]
