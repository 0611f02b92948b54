"""Pictures through the whole mesh, as OpenAI's SDK asks for them: guarded, held in advance, paid for by what they came to."""

import base64
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.mesh.client import Answer, sent
from tests.mesh.running import Mesh
from tests.support.waiting import eventually

PROMPT = "A toll bridge at dusk, in oils."


async def asked(mesh: Mesh, key: str = "", **body: Any) -> Answer:
    said = {"model": "painter", "prompt": PROMPT, **body}
    return await sent(mesh, said, path="/v1/images/generations", key=key or mesh.key)


async def edited(mesh: Mesh, parts: dict[str, bytes]) -> Answer:
    said = [
        b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="x.png"' if name == "image" else b"", value)
        for name, value in parts.items()
    ]
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    return await sent(mesh, raw=b"".join(said) + b"--edge--\r\n", path="/v1/images/edits", headers=kind)


async def test_the_sdk_gets_pictures(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.images.generate(model="painter", prompt=PROMPT, n=2, size="1536x1024", output_compression=80)
    assert made.data is not None and made.usage is not None
    assert [base64.b64decode(one.b64_json or "") for one in made.data] == [b"picture 0", b"picture 1"]
    assert (made.usage.input_tokens, made.usage.output_tokens) == (12, 544)
    assert (made.size, made.output_format, made.quality) == ("1536x1024", "png", "low")
    got = mesh.provider.asked("painter")[-1]
    assert got == {"model": "painter", "prompt": PROMPT, "n": 2, "size": "1536x1024", "output_compression": 80}


async def test_the_sdk_changes_pictures(client: AsyncOpenAI, mesh: Mesh) -> None:
    made = await client.images.edit(
        model="painter",
        image=[("a.png", b"first", "image/png"), ("b.webp", b"second", "image/webp")],
        mask=("mask.png", b"mask", "image/png"),
        prompt=f"{PROMPT} It is for olga@example.com. {'The river is grey and the road is empty. ' * 100}",
        input_fidelity="high",
        n=2,
        size="1024x1024",
        output_compression=80,
    )
    assert made.data is not None and made.usage is not None
    assert [base64.b64decode(one.b64_json or "") for one in made.data] == [b"picture 0", b"picture 1"]
    assert (made.usage.input_tokens, made.usage.input_tokens_details.image_tokens) == (312, 300)
    got = mesh.provider.asked("painter")[-1]
    assert got["files"] == [
        ("image[]", "a.png", "image/png", "first"),
        ("image[]", "b.webp", "image/webp", "second"),
        ("mask", "mask.png", "image/png", "mask"),
    ]
    assert (got["n"], got["size"], got["input_fidelity"], got["output_compression"]) == ("2", "1024x1024", "high", "80")
    assert got["prompt"].startswith(PROMPT) and "example.com" not in got["prompt"]
    await client.images.edit(model="painter", image=("one.png", b"one", "image/png"), prompt=PROMPT)
    assert mesh.provider.asked("painter")[-1]["files"] == [("image", "one.png", "image/png", "one")]


async def test_what_pictures_can_be_read_as_is_held(mesh: Mesh) -> None:
    made = await edited(mesh, {"image": b"x", "prompt": b"At dusk", "model": b"painter"})
    assert made.status == 200, made.raw
    assert float(made.headers["x-tollway-cost-max"]) >= (8192 + 2 * 1000) / 1e6


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ({"prompt": b"x"}, "image"),
        ({"image": b"x"}, "prompt"),
        ({"image": b"", "prompt": b"x"}, "image"),
        ({"image": b"x", "prompt": b"x", "n": b"eleven"}, "n"),
        ({"image": b"x", "prompt": b"x", "n": b"11"}, "n"),
        ({"image": b"x", "prompt": b"x", "stream": b"true"}, "stream"),
        ({"image": b"x", "prompt": b"x", "style": b"x" * 33}, "style"),
        ({"image": b"x", "prompt": b"x", "frames": b"2"}, "frames"),
    ],
)
async def test_a_mistake_in_a_form_is_told_by_its_field(mesh: Mesh, parts: dict[str, bytes], param: str) -> None:
    refused = await edited(mesh, parts)
    assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.raw


async def test_without_a_model_the_one_that_makes_pictures_is_asked(client: AsyncOpenAI) -> None:
    made = await client.images.generate(prompt=PROMPT)
    assert made.data is not None and len(made.data) == 1


async def test_the_most_is_held_and_what_it_came_to_is_charged(mesh: Mesh) -> None:
    key, reader = mesh.new_key("gallery/app"), mesh.new_key("ops", "--admin")
    made = await asked(mesh, key, n=2, prompt=f"{PROMPT} For heidi@example.com.")
    assert made.status == 200, made.raw
    assert made.headers["x-tollway-masked"] == "EMAIL" and "example.com" not in str(mesh.provider.asked("painter"))
    # Two dollars a million tokens out: 2,000 of them at most, and 544 in the end.
    assert 0.004 <= float(made.headers["x-tollway-cost-max"]) < 0.0045

    async def charged() -> bool:
        usage = await sent(mesh, path="/tollway/v1/usage?account=gallery", method="GET", key=reader)
        return [one["cost_usd"] for one in usage.json["data"]] == [pytest.approx((12 + 2 * 544) / 1e6)]

    await eventually(charged)


async def test_a_budget_that_the_most_would_pass_refuses(mesh: Mesh) -> None:
    key = mesh.new_key("frugal/app")
    assert mesh.tollway("budgets", "set", "frugal", "0.0041usd", "--per=total").returncode == 0
    before = len(mesh.provider.asked("painter"))
    refused = await asked(mesh, key, n=3)
    assert refused.status == 429 and len(mesh.provider.asked("painter")) == before


async def test_models_that_make_pictures_are_not_asked_to_chat(mesh: Mesh) -> None:
    refused = await asked(mesh, model="echo")
    assert (refused.status, refused.code) == (400, "unsupported_by_model")


async def test_a_key_without_the_scope_gets_none(mesh: Mesh) -> None:
    refused = await asked(mesh, mesh.new_key("narrow/pictures", "--scope=embeddings"))
    assert (refused.status, refused.code) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"size": "x" * 33}, "size"),
        ({"stream": True}, "stream"),
        ({"response_format": "gif"}, "response_format"),
        ({"partial_images": 2}, "partial_images"),
    ],
)
async def test_a_mistake_is_told_by_its_field(mesh: Mesh, body: dict[str, Any], param: str) -> None:
    refused = await asked(mesh, **body)
    assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.raw


async def test_a_refusal_reaches_the_sdk(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.images.generate(model="unheard-of", prompt=PROMPT)
