"""Servers that others wrote, as upstreams: llama.cpp's own on three wires, LiteLLM's proxy where it is installed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults, local
from services.models.catalogue import Catalogue, Entry
from services.models.pools import Asker
from services.models.ranking import Ranking, Told
from services.models.wires.every import wires_over
from services.runtime.http import session
from services.runtime.secrets import Secrets
from tests.models.upstream import counter

LITELLM = Path(".tools/peers/litellm/bin/litellm")


def asking(text: str, most: int) -> chat.ChatRequest:
    request = chat.ChatRequest(max_output_tokens=most, temperature=0.2)
    request.messages.add(role=chat.ROLE_USER).parts.add(text=text)
    return request


async def streamed(ranking: Ranking, request: chat.ChatRequest) -> tuple[str, chat.Usage]:
    text, usage = "", chat.Usage()
    async for piece in ranking.stream(["m"], request, Asker(), Told()):
        text += "".join(choice.content for choice in piece.choices)
        if piece.HasField("usage"):
            usage = piece.usage
    return text, usage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llama() -> AsyncIterator[aiohttp.ClientSession]:
    gguf = local.weights()
    assert gguf is not None
    async with local.running(gguf, 1) as (connector, child):
        async with asyncio.timeout(60):
            await child.ready.wait()
        async with session(connector) as http:
            yield http


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic"])
async def test_llama_cpp_speaks_three_of_the_wires(llama: aiohttp.ClientSession, wire: str) -> None:
    entry = Entry("local", wire=wire, base_url="http://llama/v1", provider="vllm", max_output_tokens=12)
    ranking = Ranking(Catalogue({"m": entry}), wires_over(llama, counter()), Secrets(llama))
    request = asking("Say hello.", 12)
    made = await ranking.complete(["m"], request, Asker(), Told())
    assert made.choices[0].message.parts[0].text and 0 < made.usage.output_tokens <= 12
    text, usage = await streamed(ranking, request)
    assert text and 0 < usage.output_tokens <= 12
    # llama.cpp now and then leaves out how a stream of Anthropic's begins.
    assert usage.input_tokens == made.usage.input_tokens or (usage.estimated and usage.input_tokens > 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_llama_cpp_goes_on_from_a_text(llama: aiohttp.ClientSession) -> None:
    entry = Entry("local", base_url="http://llama/v1", provider="vllm", max_output_tokens=12)
    ranking = Ranking(Catalogue({"m": entry}), wires_over(llama, counter()), Secrets(llama))
    request = asking("One, two, three, four, five, six,", 12)
    request.text_completion, request.temperature = True, 0.0
    made = await ranking.complete(["m"], request, Asker(), Told())
    said = made.choices[0].message.parts[0].text
    assert said.startswith(" seven") and made.choices[0].finish_reason == chat.FINISH_REASON_LENGTH
    text, usage = await streamed(ranking, request)
    assert text == said and usage.output_tokens == made.usage.output_tokens == 12
    chatted = await ranking.complete(["m"], asking("One, two, three, four, five, six,", 12), Asker(), Told())
    assert made.usage.input_tokens < chatted.usage.input_tokens, "no template stands around it"


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not LITELLM.exists():
        pytest.skip("LiteLLM is not installed: `make bench-peers` installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(json.dumps({"model_list": [
        {"model_name": "mock", "litellm_params": {"model": "openai/x", "api_key": "k", "mock_response": "It is sunny."}},
        {"model_name": "limited", "litellm_params": {"model": "openai/x", "api_key": "k", "mock_response": "litellm.RateLimitError"}},
    ], "general_settings": {"master_key": "sk-test"}}))  # fmt: skip
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(LITELLM), "--config", str(folder / "config.yaml"), "--port", str(port)],
            stdout=log, stderr=log, env=environ, start_new_session=True,
        )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def up(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                async with http.get(f"{url}/health/liveliness") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_litellm_as_a_provider(litellm: str, wire: str) -> None:
    async with session() as http:
        await up(http, litellm)
        entry = Entry("mock", wire=wire, base_url=f"{litellm}/v1", provider="vllm", key="sk-test")
        ranking = Ranking(Catalogue({"m": entry}), wires_over(http, counter()), Secrets(http))
        made = await ranking.complete(["m"], asking("Is it sunny?", 50), Asker(), Told())
        assert made.choices[0].message.parts[0].text == "It is sunny." and made.usage.output_tokens
        if wire == "openai":  # its mock does not stream on Anthropic's wire
            text, usage = await streamed(ranking, asking("Is it sunny?", 50))
            assert text == "It is sunny." and usage.output_tokens


@pytest.mark.timeout(120)
async def test_litellms_refusals(litellm: str) -> None:
    async with session() as http:
        await up(http, litellm)
        for name, fault in (("limited", faults.ProviderBusy), ("unheard-of", faults.ProviderRefused)):
            entry = Entry(name, base_url=f"{litellm}/v1", provider="vllm", key="sk-test")
            ranking = Ranking(Catalogue({"m": entry}), wires_over(http, counter()), Secrets(http))
            with pytest.raises(fault):
                await ranking.complete(["m"], asking("x", 5), Asker(), Told())
