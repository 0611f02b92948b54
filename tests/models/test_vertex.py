"""Vertex AI: each maker's wire at Google's addresses, as Google's and Anthropic's own clients write it, and who is let in."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from aiohttp import web
from anthropic import AsyncAnthropicVertex
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google import genai
from google.genai.types import HttpOptions
from google.oauth2.credentials import Credentials
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.wires import vertex
from services.models.wires.adapter import Adapter, Target
from services.models.wires.every import wires_over
from services.runtime.http import session
from tests.models.upstream import SECRET, Upstream, asked, counter, golden, streamed
from tests.models.upstream import stream as golden_stream

CLAUDE, LLAMA = "claude-sonnet-4-5@20250929", "meta/llama-3.3-70b-instruct-maas"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""Of every assertion, wherever it is brought."""
HOUSE = "/projects/house/locations/europe-west1"


def to(model: str, url: str, secret: str = SECRET, project: str = "house") -> Target:
    entry = Entry(model, provider="vertex", base_url=url, region="europe-west1", project=project)
    return Target("m", entry, entry.places[0], secret)


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    async with session() as http:
        yield wires_over(http, counter())["vertex"]


async def test_claude_stands_in_the_address(adapter: Adapter, upstream: Upstream) -> None:
    upstream.answer = golden("anthropic", "answer")
    made = await adapter.complete(to(CLAUDE, upstream.url), asked("anthropic"))
    assert made.choices[0].message.tool_calls[0].name == "look"
    upstream.answer = golden_stream("anthropic")
    assert (await streamed(adapter, to(CLAUDE, upstream.url), asked("anthropic")))[-1].HasField("usage")
    whole, stream = upstream.got
    body = {name: value for name, value in golden("anthropic", "request").items() if name != "model"}
    assert whole["body"] == {**body, "anthropic_version": "vertex-2023-10-16"}
    assert whole["path"] == f"{HOUSE}/publishers/anthropic/models/{CLAUDE}:rawPredict"
    assert stream["path"] == f"{HOUSE}/publishers/anthropic/models/{CLAUDE}:streamRawPredict"
    assert whole["headers"]["authorization"] == f"Bearer {SECRET}" and "x-api-key" not in whole["headers"]


def hello() -> chat.ChatRequest:
    said = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="Hello")])
    return chat.ChatRequest(messages=[said], max_output_tokens=9)


async def test_anthropics_own_client_writes_it_so(adapter: Adapter, upstream: Upstream) -> None:
    upstream.answer = golden("anthropic", "answer")
    said: Any = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    async with AsyncAnthropicVertex(
        region="europe-west1", project_id="house", access_token=SECRET, base_url=upstream.url
    ) as theirs:
        await theirs.messages.create(model=CLAUDE, max_tokens=9, messages=said)
    await adapter.complete(to(CLAUDE, upstream.url), hello())
    one, other = upstream.got
    versions = {one["body"].pop("anthropic_version"), other["body"].pop("anthropic_version")}
    assert (one["path"], one["body"]) == (other["path"], other["body"]) and "" not in versions
    assert one["headers"]["authorization"] == other["headers"]["authorization"]


async def test_googles_own_client_writes_it_so(adapter: Adapter, upstream: Upstream) -> None:
    upstream.answer = golden("gemini", "answer")
    theirs = genai.Client(
        vertexai=True,
        project="house",
        location="europe-west1",
        credentials=Credentials(token=SECRET),
        http_options=HttpOptions(base_url=upstream.url.removesuffix("/v1"), api_version="v1"),
    )
    await asyncio.to_thread(theirs.models.generate_content, model="gemini-2.5-flash", contents="Hello")
    await adapter.complete(to("gemini-2.5-flash", upstream.url), hello())
    one, other = upstream.got
    assert one["path"] == other["path"] and one["headers"]["authorization"] == other["headers"]["authorization"]


async def test_open_models_speak_openais_wire(adapter: Adapter, upstream: Upstream) -> None:
    upstream.answer = golden("openai", "answer")
    await adapter.complete(to(LLAMA, upstream.url), asked("openai"))
    (got,) = upstream.got
    assert got["path"] == f"{HOUSE}/endpoints/openapi/chat/completions" and got["body"]["model"] == LLAMA


async def test_texts_go_one_by_one_to_models_that_take_no_more(adapter: Adapter, upstream: Upstream) -> None:
    upstream.answer = {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 3}}}]}
    made = await adapter.embed(to("gemini-embedding-001", upstream.url), ["a", "b"], 64)
    assert (made.vectors, made.input_tokens) == ([[1.0], [1.0]], 6)
    assert sorted(got["body"]["instances"][0]["content"] for got in upstream.got) == ["a", "b"]
    assert all(got["body"]["parameters"] == {"outputDimensionality": 64} for got in upstream.got)
    with pytest.raises(faults.ProviderBroke):
        await adapter.embed(to("text-embedding-005", upstream.url), ["a", "b"], 0)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
    ],
)
def test_a_location_has_a_host(location: str, host: str) -> None:
    assert vertex.root(location) == f"https://{host}/v1"


class Tokens:
    """OAuth's token endpoint: it gives a token for each assertion that the account's own key has signed."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        self.given, self.seconds, self.url = 0, 3600, ""

    async def handle(self, request: web.Request) -> web.Response:
        form = parse_qs((await request.read()).decode())
        try:
            said = jwt.decode(form["assertion"][0], self.private.public_key(), ["RS256"], audience=AUDIENCE)
        except jwt.InvalidTokenError:
            return web.json_response({"error": "invalid_grant", "error_description": "hunter2"}, status=400)
        assert said["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        self.given += 1
        return web.json_response({"access_token": f"token-{self.given}", "expires_in": self.seconds})

    def account(self, key: rsa.RSAPrivateKey | None = None, url: str = "") -> str:
        """What Google hands out as a service account's key."""
        pem = (key or self.private).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "accounts-own",
                "private_key_id": "k1",
                "private_key": pem.decode(),
                "client_email": "mesh@accounts-own.iam.gserviceaccount.com",
                "token_uri": url or self.url,
            }
        )


@pytest.fixture
async def tokens() -> AsyncIterator[Tokens]:
    made, application = Tokens(), web.Application()
    application.router.add_post("/token", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield made
    await runner.cleanup()


def shown(upstream: Upstream) -> list[str]:
    return [got["headers"]["authorization"] for got in upstream.got]


async def test_a_service_account_has_one_token_until_it_expires(
    adapter: Adapter, upstream: Upstream, tokens: Tokens
) -> None:
    upstream.answer = golden("gemini", "answer")
    account = to("gemini-2.5-flash", upstream.url, tokens.account(), project="")
    await asyncio.gather(*(adapter.complete(account, asked("gemini")) for _ in range(3)))
    assert shown(upstream) == ["Bearer token-1"] * 3 and tokens.given == 1
    assert all(got["path"].startswith("/projects/accounts-own/") for got in upstream.got)
    tokens.seconds = 1  # too near its end to be used again
    other = to("gemini-2.5-flash", upstream.url, tokens.account() + " \n", project="billed")
    await adapter.complete(other, asked("gemini"))
    assert shown(upstream)[3:] == ["Bearer token-1"] and upstream.got[3]["path"].startswith("/projects/billed/")
    rotated = to("gemini-2.5-flash", upstream.url, tokens.account().replace('"k1"', '"k2"'), project="")
    for _ in range(2):
        await adapter.complete(rotated, asked("gemini"))
    assert shown(upstream)[4:] == ["Bearer token-2", "Bearer token-3"]


async def test_without_a_key_googles_usual_places_are_searched(
    adapter: Adapter, upstream: Upstream, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answer = golden("gemini", "answer")
    file = tmp_path / "account.json"
    file.write_text(tokens.account())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    await adapter.complete(to("gemini-2.5-flash", upstream.url, "", project=""), asked("gemini"))
    assert shown(upstream) == ["Bearer token-1"] and "/accounts-own/" in upstream.got[0]["path"]


async def test_who_is_not_let_in_is_told_so(adapter: Adapter, upstream: Upstream, tokens: Tokens) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    gone = "http://127.0.0.1:1/token"
    cases: list[tuple[Any, str, str]] = [
        (faults.ProviderDenied, tokens.account(stranger), ""),
        (faults.ProviderDenied, '{"type": "service_account"', ""),
        (faults.ProviderDenied, '{"type": "of no kind"}', "house"),
        (faults.ProviderDenied, "a-token", ""),
        (faults.ProviderAway, tokens.account(url=gone), "house"),
    ]
    for fault, secret, project in cases:
        with pytest.raises(fault) as caught:
            await adapter.complete(to("gemini-2.5-flash", upstream.url, secret, project), asked("gemini"))
        assert not any(private in str(caught.value) for private in ("hunter2", "PRIVATE", "a-token"))
    assert not upstream.got
