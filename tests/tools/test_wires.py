"""Servers that misbehave, over HTTP and over pipes: each fault has its own word, and what was not done is done again."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from services.runtime.errors import Failure
from services.runtime.http import session
from services.runtime.mcp import HANDSHAKE, as_header
from services.runtime.secrets import Secrets
from services.runtime.settings import BadSettings
from services.tools import faults
from services.tools.arguments import Schema
from services.tools.catalogue import Server, checked
from services.tools.offered import offered
from services.tools.servers import Served
from services.tools.speaking import Speaking
from services.tools.wires import http as wire
from services.tools.wires.http import Http
from services.tools.wires.pipe import Pipe
from tests.support.waiting import until

TOOL = {"name": "say", "inputSchema": {"type": "object"}}
TEXT = {"content": [{"type": "text", "text": "said"}]}
Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Peer:
    """A server of the handshake's time, that answers calls as `answer` does."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.session = "s1"
        self.answer: Answer = self.said
        self.pages: list[list[dict[str, Any]]] = [[TOOL]]
        self.hold: Callable[[web.Request, dict[str, Any]], Awaitable[None]] | None = None
        """Awaited before anything is answered."""
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        message = await request.json()
        self.heard.append(message)
        method = message.get("method", "")
        if self.hold is not None:
            await self.hold(request, message)
        if method == "initialize":
            result = {"protocolVersion": HANDSHAKE[0], "capabilities": {}, "serverInfo": {"name": "p", "version": "1"}}
            return reply(message, result, {"mcp-session-id": self.session})
        if method == "server/discover":
            return web.json_response({"detail": "no session"}, status=400)
        if request.headers.get("mcp-session-id") != self.session:
            return web.Response(status=404)
        if "id" not in message or "method" not in message:
            return web.Response(status=202)
        if method == "tools/list":
            page = int(message["params"].get("cursor", 0))
            more = {"nextCursor": str(page + 1)} if page + 1 < len(self.pages) else {}
            return reply(message, {"tools": self.pages[page], **more})
        return await self.answer(request, message)

    async def said(self, request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        return reply(message, TEXT)

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [one for one in self.heard if one.get("method") == method]


def reply(message: dict[str, Any], result: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made, application = Peer(), web.Application()
    application.router.add_post("/mcp", made.handle)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def served(peer: Peer, **settings: Any) -> AsyncIterator[Served]:
    async with session() as http:
        one = Http("peer", peer.url, http, Secrets(http))
        made = Served("peer", Server(peer.url, **settings), Speaking("peer", one))
        try:
            await made.read()
            yield made
        finally:
            await one.close()


def status(code: int, **headers: str) -> Answer:
    async def answer(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


def body(text: str, kind: str = "application/json") -> Answer:
    async def answer(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=text.replace("ID", str(message["id"])), content_type=kind)

    return answer


async def silent(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError("nobody waits")


async def large(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
    return reply(message, {"content": [{"type": "text", "text": "x" * 3000}]})


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (status(401), faults.ServerDenied, "(401)"),
        (status(403), faults.ServerDenied, "(403)"),
        (status(429, retry_after="7"), faults.ServerBusy, "(429)"),
        (status(503, retry_after="soon"), faults.ServerBusy, "(503)"),
        (status(503), faults.ServerBroke, "status 503"),
        (status(302, location="http://elsewhere.example/"), faults.ServerBroke, "a redirect, 302"),
        (body("hello", "text/html"), faults.ServerBroke, "it answers 200 with text/html"),
        (body("{"), faults.ServerBroke, "not JSON"),
        (body('{"jsonrpc": "2.0", "id": 0, "result": {}}'), faults.ServerBroke, "something else"),
        (body('{"jsonrpc": "2.0", "id": ID}'), faults.ServerBroke, "neither a result nor an error"),
        (body('{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "dance"}]}}'), faults.ServerBroke, "another shape"),
        (body('{"jsonrpc": "2.0", "id": ID, "result": {"content": 3}}'), faults.ServerBroke, "another shape"),
        (body('{"jsonrpc": "2.0", "id": ID, "result": {"resultType": "input_required"}}'), faults.ToolAsks, "ask a person"),
        (body('data: {"jsonrpc": "2.0", "id": 0, "resu\n\n', "text/event-stream"), faults.ServerBroke, "not JSON"),
        (body('id: 1\n\ndata:\n\n: ping\n\n', "text/event-stream"), faults.ServerBroke, "before it is whole"),
        (silent, faults.ServerSlow, "within 0.3 s"),
        (large, faults.ServerBroke, "more than 2000 bytes"),
    ],
)  # fmt: skip
async def test_each_fault_has_its_word(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, answer: Answer, fault: type[Failure], words: str
) -> None:
    async with served(peer) as one:
        monkeypatch.setattr(wire, "LARGEST_ANSWER", 2000)
        peer.answer = answer
        with pytest.raises(fault) as caught:
            await one.call("peer__say", "", 0.3 if answer is silent else 5.0)
        assert words in str(caught.value)
        if "429" in words:
            assert caught.value.retry_after_s == 7
        peer.answer = peer.said
        assert (await one.call("peer__say", "", 5.0)).contents[0].text == "said"


async def test_a_server_that_has_forgotten_us_is_asked_again(peer: Peer) -> None:
    async with served(peer) as one:
        peer.session = "s2"
        results = await asyncio.gather(*(one.call("peer__say", "", 5.0) for _ in range(4)))
        assert all(made.contents[0].text == "said" for made in results)
        assert len(peer.asked("initialize")) == 2, "four callers introduce us once"


async def test_who_hears_late_that_we_are_forgotten_undoes_no_introduction(peer: Peer) -> None:
    introduced, stale = asyncio.Event(), list[int]()

    async def hold(request: web.Request, message: dict[str, Any]) -> None:
        if message.get("method") == "notifications/initialized":
            introduced.set()
            await asyncio.sleep(0.1)  # for as long as the other needs to hear
        elif request.headers.get("mcp-session-id") == "s1":
            stale.append(message["id"])
            if len(stale) == 2:
                await introduced.wait()

    async with served(peer) as one:
        peer.session, peer.hold = "s2", hold
        results = await asyncio.gather(*(one.call("peer__say", "", 5.0) for _ in range(2)))
        assert [made.contents[0].text for made in results] == ["said", "said"]
        assert len(stale) == 2 and len(peer.asked("initialize")) == 2


async def test_a_server_may_ask_while_it_answers(peer: Peer) -> None:
    """We are there, and can do nothing for it."""

    async def asking(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for one in (
            {"jsonrpc": "2.0", "id": "a", "method": "ping"},
            {"jsonrpc": "2.0", "id": "b", "method": "sampling/createMessage", "params": {}},
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}},
            {"jsonrpc": "2.0", "id": message["id"], "result": TEXT},
        ):
            await response.write(f"event: message\r\ndata: {json.dumps(one)}\r\n\r\n".encode())
        return response

    async with served(peer) as one:
        peer.answer = asking
        assert (await one.call("peer__say", "", 5.0)).contents[0].text == "said"
        await until(lambda: len([one for one in peer.heard if "method" not in one]) == 2)
        told = {one["id"]: one for one in peer.heard if "method" not in one}
        assert told["a"]["result"] == {} and told["b"]["error"]["code"] == -32601


async def test_who_leaves_is_told_to_the_server(peer: Peer) -> None:
    async with served(peer) as one:
        peer.answer = silent
        call = asyncio.ensure_future(one.call("peer__say", "", 30.0))
        await until(lambda: peer.asked("tools/call"))
        call.cancel()
        await until(lambda: peer.asked("notifications/cancelled"))
        assert peer.asked("notifications/cancelled")[0]["params"]["requestId"] == peer.asked("tools/call")[0]["id"]


async def test_who_is_denied_calls_nothing_off(peer: Peer) -> None:
    """The same request may be made again with another token, and would be called off."""
    async with served(peer) as one:
        peer.answer = status(401)
        with pytest.raises(faults.ServerDenied):
            await one.call("peer__say", "", 5.0)
        assert not one.speaking.wire._aside  # type: ignore[attr-defined]
        assert not peer.asked("notifications/cancelled")


async def test_an_error_of_the_protocol_is_a_result_that_failed(peer: Peer) -> None:
    async with served(peer) as one:
        peer.answer = body('{"jsonrpc": "2.0", "id": ID, "error": {"code": -32602, "message": "no such city"}}')
        made = await one.call("peer__say", "{}", 5.0)
        assert made.failed and made.contents[0].text == "no such city"


async def test_tools_come_in_pages_without_end(peer: Peer) -> None:
    peer.pages = [[{**TOOL, "name": f"t{n}"}] for n in range(150)]
    async with served(peer) as one:
        assert len(one.tools) == 100
    peer.pages = [[{"name": "say"}]]
    with pytest.raises(faults.ServerBroke, match="another shape"):
        async with served(peer):
            pass


async def test_it_is_asked_again_until_it_answers(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.tools.servers.FIRST_AGAIN_S", 0.02)
    async with session() as http:
        one = Http("peer", "http://127.0.0.1:9/mcp", http, Secrets(http))
        made = Served("peer", Server("x", refresh_s=0.05), Speaking("peer", one))
        task = asyncio.create_task(made.follow())
        await until(lambda: "cannot be reached" in made.reason)
        with pytest.raises(faults.ServerAway):
            made.tool("peer__say")
        one.url = peer.url
        await until(lambda: made.told)
        peer.pages = [[TOOL, {**TOOL, "name": "more"}]]
        await until(lambda: "peer__more" in made.tools)
        one.url = "http://127.0.0.1:9/mcp"
        await until(lambda: made.reason != "")
        assert made.tool("peer__say").name == "peer__say", "what it said last stays"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.close()


ENDLESS = "import sys\nfor _ in sys.stdin: print('x' * 4096, end='', flush=True)\n"
STRAY = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print("a stray line", flush=True)
    if asked.get("method") == "initialize":
        said = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    elif asked.get("method") == "server/discover":
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "what?"}}), flush=True)
        print(json.dumps({"jsonrpc": "2.0", "id": "mine", "method": "ping"}), flush=True)
        continue
    elif asked.get("method") == "tools/list":
        said = {"tools": [{"name": "say", "inputSchema": {"type": "object"}}]}
    elif asked.get("method") == "tools/call":
        said = {"content": [{"type": "text", "text": "said"}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": said}), flush=True)
"""


@asynccontextmanager
async def piped(*command: str) -> AsyncIterator[Served]:
    async with session() as http:
        pipe = Pipe("p", command, Secrets(http))
        try:
            yield Served("p", Server(command=command), Speaking("p", pipe))
        finally:
            await pipe.close()


async def test_lines_that_are_no_messages_are_passed_over() -> None:
    async with piped(sys.executable, "-c", STRAY) as one:
        await one.read()
        assert one.speaking.version == "2025-06-18"
        assert (await one.call("p__say", "", 5.0)).contents[0].text == "said"


@pytest.mark.parametrize(
    ("command", "fault", "words"),
    [
        (("/no/such/program",), faults.ServerAway, "No such file"),
        ((sys.executable, "-c", "pass"), faults.ServerAway, "it has just ended"),
        ((sys.executable, "-c", ENDLESS), faults.ServerAway, "it has just ended"),
    ],
)
async def test_a_command_that_is_no_server(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], fault: type[Failure], words: str
) -> None:
    monkeypatch.setattr("services.tools.wires.pipe.LARGEST_LINE", 1000)
    async with piped(*command) as one:
        with pytest.raises(fault, match=words):
            await one.read()


def test_settings_that_cannot_be_meant_so() -> None:
    with pytest.raises(BadSettings) as caught:
        checked(
            {
                "Bad Name": Server("http://x"),
                "two__parts": Server("http://x"),
                "both": Server("http://x", ("y",)),
                "none": Server(),
                "odd": Server("ftp://x"),
                "never": Server("http://x", call_s=0),
            }
        )
    said = str(caught.value)
    for name in ("Bad Name", "two__parts", "both", "none", "odd.url", "never"):
        assert f"tools.servers.{name}:" in said
    assert checked({"a_b-c": Server("http://x")})


def test_what_is_offered() -> None:
    told = [
        {"name": "a", "inputSchema": {"type": "object"}, "annotations": {"title": "A", "readOnlyHint": True}},
        {"name": "b", "inputSchema": {}, "description": "x" * 300_000},
        {"name": "c d", "inputSchema": {}},
        {"name": "e", "inputSchema": {}},
    ]
    tools, withheld = offered("s", Server("u", hidden=("e",)), told)
    assert list(tools) == ["s__a"] and tools["s__a"].title == "A" and tools["s__a"].hints.read_only
    assert set(withheld) == {"s__b", "s__c d"}
    again, _ = offered("s", Server("u", trusted=True), [{**told[0], "icons": []}])
    assert again["s__a"].digest == tools["s__a"].digest, "what it is to us is not what it says"
    changed, _ = offered("s", Server("u"), [{**told[0], "description": "now it does more"}])
    assert changed["s__a"].digest != tools["s__a"].digest
    with pytest.raises(LookupError):
        offered("s", Server("u"), [{"name": "x"}])


def test_arguments_that_a_server_wants_as_headers() -> None:
    nested = {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}}
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"},
              "deep": nested, "dry": {"type": "boolean", "x-mcp-header": "Dry"}, "bad": {"x-mcp-header": "a b"}}}  # fmt: skip
    tools, _ = offered("s", Server("u"), [{"name": "t", "inputSchema": schema}])
    one = Schema(tools["s__t"])
    found = one.headers({"region": "eu", "deep": {"zone": "grün"}, "dry": True, "bad": "x"})
    assert found == {"mcp-param-region": "eu", "mcp-param-zone": as_header("grün"), "mcp-param-dry": "true"}
    assert as_header("grün") == "=?base64?Z3LDvG4=?=" and as_header(" a") != " a" and as_header("a b") == "a b"
    assert one.headers({}) == {} and one.headers({"deep": 3}) == {}


def test_a_schema_that_is_none_holds_nothing_back() -> None:
    tools, _ = offered("s", Server("u"), [{"name": "t", "inputSchema": {"type": "nonsense"}}])
    assert Schema(tools["s__t"]).parsed('{"a": 1}') == {"a": 1}
