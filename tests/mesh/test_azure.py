"""Azure OpenAI's client, unchanged, pointed at the edge: deployments are models."""

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh

VERSION = "2024-10-21"


@pytest.fixture
async def azure(mesh: Mesh) -> AsyncIterator[AsyncAzureOpenAI]:
    async with AsyncAzureOpenAI(azure_endpoint=mesh.url, api_key=mesh.key, api_version=VERSION, max_retries=0) as made:
        yield made


async def test_it_asks_streams_and_embeds(azure: AsyncAzureOpenAI) -> None:
    made = await azure.chat.completions.create(model="echo", messages=[{"role": "user", "content": "from azure"}])
    assert made.choices[0].message.content == "You said: from azure"
    stream = await azure.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "streamed from azure"}], stream=True
    )
    said = "".join([one.delta.content or "" async for chunk in stream for one in chunk.choices])
    assert said == "You said: streamed from azure"
    embedded = await azure.embeddings.create(model="minilm", input=["one", "two"])
    assert [len(one.embedding) for one in embedded.data] == [384, 384]
    written = await azure.audio.transcriptions.create(model="scribe", file=("a.wav", b"RIFF"))
    assert written.text


async def test_what_has_no_deployment_is_found_too(azure: AsyncAzureOpenAI, mesh: Mesh) -> None:
    assert "echo" in [one.id async for one in await azure.models.list()]
    made = await azure.responses.create(model="echo", input="a response from azure")
    assert made.output_text == "You said: a response from azure"
    async with AsyncOpenAI(base_url=f"{mesh.url}/openai/v1/", api_key=mesh.key, max_retries=0) as later:
        again = await later.responses.create(model="echo", input="a later interface")
    assert again.output_text == "You said: a later interface"


async def test_the_deployment_counts_whatever_the_body_names(mesh: Mesh) -> None:
    async with AsyncAzureOpenAI(
        azure_endpoint=mesh.url, azure_deployment="echo", api_key=mesh.key, api_version=VERSION, max_retries=0
    ) as fixed:
        made = await fixed.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "which?"}])
    assert (made.model, made.choices[0].message.content) == ("echo", "You said: which?")
    body = asking("without a model")
    del body["model"]
    path = f"/openai/deployments/echo/chat/completions?api-version={VERSION}"
    answer = await sent(mesh, body, path=path, key="", headers={"api-key": mesh.key, "authorization": ""})
    assert (answer.status, answer.json["model"]) == (200, "echo"), answer.raw


async def test_refusals_are_typed_there_too(azure: AsyncAzureOpenAI, mesh: Mesh) -> None:
    with pytest.raises(openai.NotFoundError) as none:
        await azure.chat.completions.create(model="unheard-of", messages=[{"role": "user", "content": "x"}])
    assert none.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        await azure.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x"}], temperature=7)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.AuthenticationError):
        await azure.with_options(api_key="tw_wrong").models.list()
    answer = await sent(mesh, {}, path="/openai/deployments/echo/dances")
    assert answer.status == 404 and "/openai/deployments/echo/dances" in answer.json["error"]["message"]
    raw = await sent(mesh, raw=b"[1]", path="/openai/deployments/echo/chat/completions")
    assert raw.status == 400
