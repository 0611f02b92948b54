"""Servers that take no key for good: tokens are had where the settings say, shared by calls, and had anew in time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from services.runtime.errors import Failure
from services.runtime.http import session
from services.runtime.secrets import Secrets
from services.runtime.settings import BadSettings, read
from services.tools import faults
from services.tools.catalogue import Server, checked
from services.tools.oauth import OAuth, Tokens, places, safe
from services.tools.servers import Served
from services.tools.speaking import Speaking
from services.tools.wires.http import Http
from tests.peers import toolbox
from tests.peers.issuer import Issuer, issuer

ID, SECRET = "the mesh:1", "s3cret/+ of % ours"
RESOURCE = "https://tools.example/mcp"


@pytest.fixture
async def here() -> AsyncIterator[Issuer]:
    async with issuer() as made:
        made.clients[ID] = SECRET
        yield made


@asynccontextmanager
async def tokens(settings: OAuth, **more: Any) -> AsyncIterator[Tokens]:
    async with session() as http:
        yield Tokens("tickets", RESOURCE, settings, http, Secrets(http, {"OURS": SECRET, "WE": ID}), **more)


def known(here: Issuer, **more: Any) -> OAuth:
    return OAuth("env:WE", "env:OURS", **{"issuer": here.url, **more})


async def test_a_token_is_asked_for_as_the_standard_has_it_and_used_until_shortly_before_its_end(here: Issuer) -> None:
    clock = [100.0]
    async with tokens(known(here, scopes=("read", "call")), now=lambda: clock[0]) as one:
        assert await asyncio.gather(*(one.token() for _ in range(10))) == ["opaque"] * 10
        (asked,) = here.asked
        assert asked == {
            "grant_type": "client_credentials", "resource": RESOURCE, "scope": "read call", "client_id": ID, "client_secret": SECRET,
            "shown": "basic",
        }  # fmt: skip
        clock[0] += 3500
        await one.token()
        assert len(here.asked) == 1
        here.gives["access_token"] = "next"
        clock[0] += 60
        assert await one.token() == "next" and len(here.asked) == 2


@pytest.mark.parametrize(("ends", "unused_after"), [(None, 300), (5, 10), ("soon", 300)])
async def test_a_token_that_tells_no_end_or_an_early_one(here: Issuer, ends: Any, unused_after: float) -> None:
    clock = [0.0]
    here.gives["expires_in"] = ends
    async with tokens(known(here), now=lambda: clock[0]) as one:
        await one.token()
        clock[0] = unused_after - 1
        await one.token()
        assert len(here.asked) == 1
        clock[0] = unused_after
        await one.token()
        assert len(here.asked) == 2


async def test_what_an_issuer_wants_otherwise(here: Issuer) -> None:
    here.tells = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
    more = {"audience": "tickets", "resource": ""}
    async with tokens(known(here, parameters=more)) as one:
        await one.token()
    assert here.asked == [
        {"grant_type": "client_credentials", "audience": "tickets", "client_id": ID, "client_secret": SECRET}
    ]
    async with tokens(known(here, issuer="", token_url=f"{here.url}/token")) as one:
        await one.token()
    assert here.asked[-1]["shown"] == "basic"


async def test_a_refusal_says_why_and_quotes_nobody(here: Issuer) -> None:
    async with tokens(known(here)) as one:
        for word, why in (("invalid_scope", "invalid_scope"), (f"it was {SECRET}", "status 400")):
            here.refuses = word
            with pytest.raises(faults.TokenRefused) as refused:
                await one.token()
            assert str(refused.value) == f"the authorization server of tickets gives us no token: {why}"
        here.refuses = ""
        here.gives = {"access_token": "bound", "token_type": "DPoP"}
        with pytest.raises(faults.TokenRefused):
            await one.token()
        here.gives = {"access_token": "opaque"}
        assert await one.token() == "opaque", "and the next one is asked for again"
    assert SECRET not in repr(one) and "opaque" not in repr(one)


async def test_an_issuer_that_is_away_is_asked_again(here: Issuer) -> None:
    here.away = True
    async with tokens(known(here)) as one:
        with pytest.raises(faults.TokenAway):
            await one.token()
        here.away = False
        assert await one.token() == "opaque"
    async with tokens(OAuth(ID, "x", token_url="http://127.0.0.1:9/token")) as one:
        with pytest.raises(faults.TokenAway):
            await one.token()


@pytest.mark.parametrize(
    "tells",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"token_endpoint": None},
    ],
)
async def test_a_secret_goes_nowhere_else(here: Issuer, tells: dict[str, Any]) -> None:
    here.tells = tells
    async with tokens(known(here)) as one:
        with pytest.raises(faults.TokenRefused):
            await one.token()
    assert not here.asked


async def test_a_redirect_is_not_followed(here: Issuer) -> None:
    async def away(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{here.url}/token")

    application = web.Application()
    application.router.add_post("/token", away)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with tokens(OAuth(ID, "env:OURS", token_url=f"http://127.0.0.1:{runner.addresses[0][1]}/token")) as one:
            with pytest.raises(faults.TokenRefused):
                await one.token()
    finally:
        await runner.cleanup()
    assert not here.asked


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, str]]:
    with toolbox.running() as (new, _), toolbox.running(handshake=True) as (old, _):
        yield {"new": new, "old": old}


@asynccontextmanager
async def served(url: str, settings: OAuth) -> AsyncIterator[Served]:
    async with session() as http:
        secrets = Secrets(http, {"OURS": SECRET, "WE": ID})
        wire = Http(
            "box", url, http, secrets, headers={"x-team": "search"}, tokens=Tokens("box", url, settings, http, secrets)
        )
        try:
            yield Served("box", Server(url), Speaking("box", wire))
        finally:
            await wire.close()


async def test_a_call_waits_for_its_token_no_longer_than_for_its_answer(here: Issuer, boxes: dict[str, str]) -> None:
    here.gives["access_token"] = toolbox.SECRET
    async with served(boxes["new"], known(here)) as one:
        await one.read()
        one.speaking.wire.tokens._token = ""  # type: ignore[attr-defined]
        here.waits_s = 30.0
        with pytest.raises(faults.ServerSlow):
            await one.call("box__echo", '{"text": "a boat"}', 0.3)
        here.waits_s = 0.0
        assert (await one.call("box__echo", '{"text": "a boat"}', 5.0)).contents[0].text == "Heard: a boat"


@pytest.mark.parametrize("server", ["new", "old"])
async def test_a_token_that_a_server_takes_no_more_is_replaced_once(
    here: Issuer, boxes: dict[str, str], server: str
) -> None:
    here.gives["access_token"] = toolbox.SECRET
    async with served(boxes[server], known(here)) as one:
        await one.read()
        assert {asked["resource"] for asked in here.asked} == {boxes[server]} and len(here.asked) == 1
        made = await one.call("box__echo", '{"text": "a boat"}', 5.0)
        assert made.contents[0].text == "Heard: a boat" and len(here.asked) == 1
        tokens = one.speaking.wire.tokens  # type: ignore[attr-defined]
        tokens._token = "withdrawn"
        made = await one.call("box__echo", '{"text": "another boat"}', 5.0)
        assert made.contents[0].text == "Heard: another boat" and len(here.asked) == 2
        here.gives["access_token"] = "wrong"
        tokens._token = "withdrawn"
        with pytest.raises(Failure) as failed:
            await one.call("box__echo", '{"text": "a raft"}', 5.0)
        assert isinstance(failed.value, faults.ServerDenied) and len(here.asked) == 3, "once, and no more"


def test_settings() -> None:
    given = {
        "url": RESOURCE, "oauth": {"client_id": "a", "client_secret": "env:B", "issuer": "https://login.example", "scopes": ["c"]},
    }  # fmt: skip
    one = read(Server, given, "tools.servers.x")
    assert checked({"x": one}) and one.oauth == OAuth("a", "env:B", "https://login.example", scopes=("c",))
    good = OAuth("a", "s", token_url="http://127.0.0.1:8080/token")
    for server, fault in (
        (Server(command=("x",), oauth=good), "is for a server with a url"),
        (Server(RESOURCE, key="k", oauth=good), "in place of its key"),
        (Server(RESOURCE, oauth=OAuth(issuer="https://login.example")), "client_id: missing"),
        (Server(RESOURCE, oauth=OAuth("a", "s")), "either issuer or token_url"),
        (
            Server(RESOURCE, oauth=OAuth("a", "s", "https://x.example", "https://x.example/token")),
            "either issuer or token_url",
        ),
        (Server(RESOURCE, oauth=OAuth("a", issuer="https://x.example")), "client_secret is missing"),
        (Server(RESOURCE, oauth=OAuth("a", "s", "http://login.example")), "over https alone"),
    ):
        with pytest.raises(BadSettings, match=fault):
            checked({"x": server})


def test_where_an_issuer_tells_of_itself() -> None:
    assert places("https://login.example/acme/") == (
        "https://login.example/.well-known/oauth-authorization-server/acme",
        "https://login.example/acme/.well-known/openid-configuration",
    )
    assert (
        safe("http://localhost:9/x")
        and safe("http://[::1]/x")
        and not safe("http://127.0.0.1.example/x")
        and not safe("ftp://localhost")
    )
