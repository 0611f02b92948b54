"""One mesh for all tests of this folder that only ask it things."""

from collections.abc import AsyncIterator, Iterator

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.mesh.running import BESIDE, Mesh, running
from tests.peers.collector import Collector, collector
from tests.peers.provider import provider
from tests.support.browsers import browser  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def spans() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="session")
def mesh(spans: Collector) -> Iterator[Mesh]:
    told = {
        "TOLLWAY_PROCESS__OTLP_ENDPOINT": spans.url,
        "TOLLWAY_MODELS__CATALOGUE__JUDGE__RERANK": "true",
        "TOLLWAY_MODELS__CATALOGUE__CENSOR__MODERATION": "true",
        "TOLLWAY_MODELS__CATALOGUE__PAINTER__IMAGE_TOKENS": "1000",
        "TOLLWAY_MODELS__CATALOGUE__SCRIBE__SECOND_TOKENS": "100",
        "TOLLWAY_MODELS__CATALOGUE__SPEAKER__CHARACTER_TOKENS": "10",
        "TOLLWAY_MODELS__CATALOGUE__READER__CHARACTER_TOKENS": "10",
        "TOLLWAY_MODELS__CATALOGUE__READER__SPEECH_EVENTS": "true",
        "TOLLWAY_MODELS__CATALOGUE__SEEKER__WIRE": "anthropic",
        "TOLLWAY_MODELS__CATALOGUE__SEEKER__WEB_SEARCH": "true",
    }
    with provider() as peer:
        more = [f"--model={name}=test:{name}@{peer.url}" for name in BESIDE]
        with running(peer, *more, **told) as made:
            yield made


@pytest.fixture
async def claude(mesh: Mesh) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=mesh.url, api_key=mesh.key, max_retries=0) as made:
        yield made


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key=mesh.key, max_retries=0) as made:
        yield made
