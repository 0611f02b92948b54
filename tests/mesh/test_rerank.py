"""Texts ranked through the whole mesh: by a provider, and by the mesh's own encoder."""

from typing import Any

import pytest

from tests.mesh.client import Answer, sent
from tests.mesh.running import Mesh

TEXTS = [
    "The toll is nine crowns for a mule.",
    "Otters sleep on their backs and hold hands.",
    "A ferry across the river costs four crowns.",
]


async def asked(mesh: Mesh, model: str = "judge", query: str = "toll of a mule", **more: Any) -> Answer:
    return await sent(mesh, {"model": model, "query": query, "documents": TEXTS, **more}, path="/v1/rerank")


async def test_a_provider_ranks(mesh: Mesh) -> None:
    made = await asked(mesh, query="toll of a mule, asks ada@example.com", return_documents=True)
    assert made.status == 200, made.raw
    results = made.json["results"]
    assert [one["index"] for one in results] == [0, 2, 1] and results[0]["document"] == {"text": TEXTS[0]}
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True) and made.json["usage"]["total_tokens"] == 21
    assert made.headers["x-tollway-masked"] == "EMAIL" and float(made.headers["x-tollway-cost-max"]) > 0
    assert "example.com" not in str(mesh.provider.asked("judge"))


@pytest.mark.parametrize("model", ["minilm", "static", "bge-small"])
async def test_the_encoder_ranks(mesh: Mesh, model: str) -> None:
    listed = {one["id"] for one in (await sent(mesh, path="/v1/models", method="GET")).json["data"]}
    made = await asked(mesh, model, top_n=1)
    if model not in listed:
        assert (made.status, made.code) == (404, "model_not_found")
        return
    assert [one["index"] for one in made.json["results"]] == [0] and made.json["model"] == model
    assert "document" not in made.json["results"][0]


async def test_documents_may_be_objects_and_the_path_of_another_version(mesh: Mesh) -> None:
    body = {"model": "static", "query": "otters", "documents": [{"text": text} for text in TEXTS]}
    made = await sent(mesh, body, path="/v2/rerank")
    assert made.json["results"][0]["index"] == 1


async def test_a_model_that_chats_does_not_rank(mesh: Mesh) -> None:
    refused = await asked(mesh, "echo")
    assert (refused.status, refused.code) == (400, "unsupported_by_model")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["x", ""]}, "documents[1]"),
        ({"top_n": 0}, "top_n"),
        ({"rank_fields": ["a"]}, "rank_fields"),
    ],
)
async def test_a_mistake_is_told_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    refused = await asked(mesh, **body)
    assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.raw


async def test_a_key_without_the_scope_ranks_nothing(mesh: Mesh) -> None:
    key = mesh.new_key("narrow/ranks", "--scope=chat")
    body = {"model": "static", "query": "otters", "documents": TEXTS}
    refused = await sent(mesh, body, path="/v1/rerank", key=key)
    assert (refused.status, refused.code) == (403, "scope_missing")
