"""One mesh for all tests of this folder that only ask it things."""

from collections.abc import Iterator

import pytest

from tests.mesh.running import Mesh, running
from tests.peers.collector import Collector, collector
from tests.peers.provider import provider
from tests.support.browsers import browser  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def spans() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="session")
def mesh(spans: Collector) -> Iterator[Mesh]:
    with provider() as peer, running(peer, TOLLWAY_PROCESS__OTLP_ENDPOINT=spans.url) as made:
        yield made
