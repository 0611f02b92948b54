"""Azure without an API key: a machine's own identity, and an application's secret, each asked for as Microsoft's own library does."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from services.mesh import certificates
from services.models import faults
from services.models.catalogue import Entry
from services.models.wires.adapter import Adapter, Target
from services.models.wires.every import wires_over
from services.runtime.http import session
from tests.models.upstream import Upstream, asked, counter, golden
from tests.models.upstream import upstream as serving

HEADER = "of-this-machine"
RESOURCE = "https://cognitiveservices.azure.com"
SECRET = "hunter2"


def to(url: str, secret: str) -> Target:
    entry = Entry("gpt-4o", provider="azure", base_url=url)
    return Target("m", entry, entry.places[0], secret)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving() as made:
        made.answer = golden("openai", "answer")
        yield made


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    async with session() as http:
        yield wires_over(http, counter())["openai"]


class Entra:
    """Its endpoint for machines and its endpoint for applications: a token for whoever proves to be known."""

    def __init__(self) -> None:
        self.given, self.seconds, self.url = 0, 3600, ""

    def token(self) -> str:
        self.given += 1
        return f"token-{self.given}"

    def key(self, secret: str = SECRET, authority: str = "") -> str:
        known = {"tenant_id": "house", "client_id": "mesh", "client_secret": secret}
        return json.dumps({**known, "authority": authority or self.url})


def handler(entra: Entra) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/msi/token":
                assert self.headers["x-identity-header"] == HEADER and parse_qs(query)["resource"] == [RESOURCE]
                ends = str(int(time.time()) + entra.seconds)
                return self._say({"access_token": entra.token(), "expires_on": ends, "token_type": "Bearer"})
            assert path == "/house/v2.0/.well-known/openid-configuration"
            paths = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
            found = {name: f"{entra.url}/house/oauth2/v2.0/{path}" for name, path in paths.items()}
            return self._say({**found, "issuer": f"{entra.url}/house/v2.0"})

        def do_POST(self) -> None:
            assert self.path == "/house/oauth2/v2.0/token"
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            if form["client_secret"] != [SECRET]:
                return self._say({"error": "invalid_client", "error_description": "not that one"}, 401)
            assert (form["grant_type"], form["scope"]) == (["client_credentials"], [f"{RESOURCE}/.default"])
            return self._say({"access_token": entra.token(), "expires_in": entra.seconds, "token_type": "Bearer"})

        def _say(self, body: dict[str, Any], status: int = 200) -> None:
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Keeps the tests' output to itself."""

    return Handler


@contextmanager
def served(entra: Entra, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """In threads of its own, as the library that asks has; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(entra))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    made = Entra()
    signed = certificates.authority(tmp_path).issue("entra", (), 1)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(signed.certificate, signed.key)
    with served(made) as plain, served(made, tls) as secured:
        made.url = f"https://localhost:{secured}"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", signed.authority)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{plain}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        yield made


def shown(upstream: Upstream) -> list[str]:
    return [got["headers"]["authorization"] for got in upstream.got]


async def test_a_machines_identity_has_one_token_until_it_expires(
    adapter: Adapter, upstream: Upstream, entra: Entra
) -> None:
    await asyncio.gather(*(adapter.complete(to(upstream.url, "entra"), asked("openai")) for _ in range(3)))
    assert shown(upstream) == ["Bearer token-1"] * 3 and entra.given == 1
    assert all("api-key" not in got["headers"] for got in upstream.got)


async def test_a_token_that_is_about_to_end_is_not_used_again(
    adapter: Adapter, upstream: Upstream, entra: Entra
) -> None:
    entra.seconds = 60
    for _ in range(2):
        await adapter.complete(to(upstream.url, "entra"), asked("openai"))
    assert shown(upstream) == ["Bearer token-1", "Bearer token-2"]


async def test_an_applications_secret(adapter: Adapter, upstream: Upstream, entra: Entra) -> None:
    for _ in range(2):
        await adapter.complete(to(upstream.url, entra.key()), asked("openai"))
    assert shown(upstream) == ["Bearer token-1"] * 2


async def test_who_is_not_let_in_is_told_so(adapter: Adapter, upstream: Upstream, entra: Entra) -> None:
    for fault, secret in (
        (faults.ProviderDenied, entra.key("wrong-one")),
        (faults.ProviderDenied, '{"tenant_id": "house"}'),
        (faults.ProviderDenied, '{"tenant_id"'),
        (faults.ProviderAway, entra.key(authority="https://localhost:1")),
    ):
        with pytest.raises(fault) as caught:
            await adapter.complete(to(upstream.url, secret), asked("openai"))
        assert not any(private in str(caught.value) for private in (SECRET, "wrong-one", "not that one"))
    assert not upstream.got
