"""Texts judged by categories of harm through the whole mesh, as OpenAI's SDK asks for it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import ModerationTextInputParam

from tests.mesh.client import Answer, sent
from tests.mesh.running import Mesh

THREAT, KIND = "I will find you and hurt you.", "Otters sleep on their backs."


async def asked(mesh: Mesh, key: str = "", **body: Any) -> Answer:
    return await sent(mesh, {"model": "censor", "input": THREAT, **body}, path="/v1/moderations", key=key or mesh.key)


async def test_the_sdk_is_told_what_is_said_of_each_text(client: AsyncOpenAI) -> None:
    made = await client.moderations.create(model="censor", input=[THREAT, KIND])
    assert [one.flagged for one in made.results] == [True, False] and made.model == "censor"
    first = made.results[0]
    assert first.categories.violence and first.categories.harassment_threatening and not first.categories.self_harm
    assert first.category_scores.violence == pytest.approx(0.8)
    assert first.category_applied_input_types.violence == ["text"]


async def test_texts_may_come_as_parts(client: AsyncOpenAI) -> None:
    parts = [ModerationTextInputParam(type="text", text=THREAT)]
    made = await client.moderations.create(model="censor", input=parts)
    assert [one.flagged for one in made.results] == [True]


async def test_without_a_model_the_one_that_moderates_is_asked(client: AsyncOpenAI) -> None:
    made = await client.moderations.create(input=KIND)
    assert made.model == "censor" and not made.results[0].flagged


async def test_private_data_stays_here(mesh: Mesh) -> None:
    made = await asked(mesh, input=f"{THREAT} Yours, grace@example.com")
    assert made.status == 200, made.raw
    assert made.headers["x-tollway-masked"] == "EMAIL" and float(made.headers["x-tollway-cost-max"]) > 0
    assert "example.com" not in str(mesh.provider.asked("censor"))


async def test_models_that_moderate_are_not_asked_to_chat(mesh: Mesh) -> None:
    refused = await asked(mesh, model="echo")
    assert (refused.status, refused.code) == (400, "unsupported_by_model")


async def test_a_key_may_ask_for_its_own_models_alone(mesh: Mesh) -> None:
    key = mesh.new_key("narrow/moderation", "--model=echo")
    assert (await asked(mesh, key)).code == "model_not_allowed"
    refused = await sent(mesh, {"input": KIND}, path="/v1/moderations", key=key)
    assert (refused.status, refused.code) == (404, "model_not_found") and "moderation" in str(refused.raw)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x", ""]}, "input[1]"),
        ({"input": [{"type": "text", "text": ""}]}, "input[0].text"),
        ({"input": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]}, "input[0].type"),
        ({"input": 7}, "input"),
        ({"threshold": 0.5}, "threshold"),
    ],
)
async def test_a_mistake_is_told_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    refused = await asked(mesh, **body)
    assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.raw


async def test_a_refusal_reaches_the_sdk(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.moderations.create(model="unheard-of", input=KIND)
