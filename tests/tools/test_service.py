"""The tools service's contract over every transport, before real servers: of the newest revision, of those before it, and over pipes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from tollway.tools.v1 import tools_pb2 as pb
from tollway.tools.v1 import tools_pb2_grpc

from services.runtime.background import running
from services.runtime.http import session
from services.runtime.mcp import HANDSHAKE, MODERN
from services.runtime.secrets import Secrets
from services.runtime.server import Service
from services.tools.catalogue import Server
from services.tools.servers import Served
from services.tools.service import ToolsService
from services.tools.speaking import Speaking
from services.tools.wires.http import Http
from services.tools.wires.pipe import Pipe
from services.tools.wires.wire import Wire
from tests.peers import toolbox
from tests.support.callers import identity
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until

Code = grpc.StatusCode
HEADERS = {"x-team": "search"}
PIPE = (sys.executable, "-m", "tests.peers.toolbox", "pipe")
ROOT = Path(__file__).parents[2]
NAMES = ["add", "broken", "calls", "echo", "end", "environment", "poisoned", "record", "seen", "wait"]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with toolbox.running() as (new, _), toolbox.running(handshake=True) as (old, _):
        yield {"new": new, "old": old}


class Tools(Called):
    servers: dict[str, Served]


def settings(urls: dict[str, str]) -> dict[str, Server]:
    known = partial(Server, key=toolbox.SECRET, headers=HEADERS)
    return {
        "new": known(urls["new"], prompts=True, resources=True),
        "old": known(urls["old"], prompts=True, resources=True),
        "pipe": Server(
            command=PIPE,
            folder=str(ROOT),
            environment={"PYTHONPATH": f"{ROOT}:{ROOT}/gen", "TOKEN": "t"},
            prompts=True,
            resources=True,
        ),
        "few": known(urls["new"], tools=("add", "echo"), accounts=("acme",), trusted=True),
        "pinned": known(urls["new"], tools=("add", "echo"), pins={"add": "0" * 64}),
        "shut": Server(urls["new"], key="wrong"),
        "nowhere": Server("http://127.0.0.1:9/mcp"),
        "small": known(urls["new"], call_s=0.4, at_once=1),
    }


@pytest.fixture(params=TRANSPORTS)
async def tools(request: pytest.FixtureRequest, urls: dict[str, str]) -> AsyncIterator[Tools]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(session())
        secrets, servers = Secrets(http), dict[str, Served]()
        asked = request.node.callspec.params.get("server")  # a process takes a while to start
        for name, one in settings(urls).items():
            if name == "pipe" != asked:
                continue
            wire: Wire = (
                Http(name, one.url, http, secrets, one.key, one.headers)
                if one.url
                else Pipe(name, one.command, secrets, one.environment, one.folder)
            )
            stack.push_async_callback(wire.close)
            servers[name] = Served(name, one, Speaking(name, wire))
        register = partial(tools_pb2_grpc.add_ToolsServiceServicer_to_server, ToolsService(servers))
        served = Service("tollway.tools.v1.ToolsService", "tools.tollway", register, identity())
        await stack.enter_async_context(running(*(one.follow() for one in servers.values())))
        channel = await stack.enter_async_context(channel_to(served, request.param))
        await until(lambda: all(one.told for name, one in servers.items() if name not in ("shut", "nowhere")), 20.0)
        made = Tools(tools_pb2_grpc.ToolsServiceStub(channel))
        made.servers = servers
        yield made


def calling(name: str, **arguments: Any) -> pb.CallToolRequest:
    return pb.CallToolRequest(name=name, arguments_json=orjson.dumps(arguments).decode() if arguments else "")


async def said(tools: Tools, name: str, **arguments: Any) -> str:
    made = await tools.CallTool(calling(name, **arguments))
    return "".join(one.text for one in made.result.contents)


@pytest.mark.parametrize("server", ["pipe"])
async def test_lists_what_servers_have(tools: Tools, server: str) -> None:
    made = await tools.ListTools(pb.ListToolsRequest())
    names = [one.name for one in made.tools]
    assert names == sorted(names)
    for server in ("new", "old", "pipe"):
        assert [name.partition("__")[2] for name in names if name.startswith(f"{server}__")] == NAMES
    add = next(one for one in made.tools if one.name == "old__add")
    assert (add.server, add.description) == ("old", "Adds two numbers.") and len(add.digest) == 64 and not add.trusted
    assert add.hints.read_only and add.hints.idempotent and not add.hints.HasField("destructive")
    assert set(orjson.loads(add.input_schema_json)["properties"]) == {"a", "b"} and add.output_schema_json
    fare = {one.name: one for one in made.servers}
    assert (fare["new"].protocol, fare["pipe"].protocol, fare["old"].protocol) == (MODERN, MODERN, HANDSHAKE[0])
    assert fare["new"].available and fare["new"].tools == len(NAMES)
    assert "accept our key (401)" in fare["shut"].reason and "cannot be reached" in fare["nowhere"].reason


async def test_pages_and_one_server(tools: Tools) -> None:
    first = await tools.ListTools(pb.ListToolsRequest(server="new", page_size=6))
    assert [one.name for one in first.servers] == ["new"]
    rest = await tools.ListTools(pb.ListToolsRequest(server="new", page_size=6, page_token=first.next_page_token))
    assert [one.name for one in (*first.tools, *rest.tools)] == [f"new__{one}" for one in NAMES]
    assert not rest.next_page_token and not rest.servers


@pytest.mark.parametrize("server", ["new", "old", "pipe"])
async def test_calls(tools: Tools, server: str) -> None:
    made = await tools.CallTool(calling(f"{server}__add", a=2, b=3))
    assert made.result.contents[0].text == "5" and orjson.loads(made.result.structured_json) == {"result": 5}
    assert not made.result.failed
    assert await said(tools, f"{server}__echo", text="grüße") == "Heard: grüße"
    failed = await tools.CallTool(calling(f"{server}__broken"))
    assert failed.result.failed and failed.result.contents[0].text
    text, picture, sound = (await tools.CallTool(calling(f"{server}__seen"))).result.contents
    assert text.text == "a picture" and picture.image.mime_type == "image/png" and sound.audio.data[:4] == b"\x89PNG"


@pytest.mark.parametrize("server", ["new", "old", "pipe"])
async def test_a_slow_call_keeps_no_other_waiting_and_is_cut_when_its_caller_leaves(tools: Tools, server: str) -> None:
    mark = f"{tools.servers[server].speaking.version} {id(tools)}"
    slow = asyncio.ensure_future(tools.CallTool(calling(f"{server}__wait", seconds=30, mark=mark)))
    await until(lambda: tools.servers[server].under_way == 1)
    assert await asyncio.gather(*(said(tools, f"{server}__echo", text=str(n)) for n in range(5))) == [
        f"Heard: {n}" for n in range(5)
    ]
    slow.cancel()
    await until(lambda: tools.servers[server].under_way == 0)
    async with asyncio.timeout(10):
        while mark not in (await said(tools, f"{server}__calls", mark=mark)).partition(" | ")[2]:
            await asyncio.sleep(0.05)


async def test_arguments_are_held_against_the_schema(tools: Tools) -> None:
    wrong = calling("new__add", a="4111 1111 1111 1111", b=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tools.CallTool(wrong)
    told = caught.value.details() or ""
    assert "arguments.a" in told and "integer" in told and "4111" not in told
    assert await refused(tools.CallTool(calling("new__add", a=1))) == (Code.INVALID_ARGUMENT, "ARGUMENTS_WRONG")
    for text in ("[1]", "{", "1"):
        assert (
            await field_of(tools.CallTool(pb.CallToolRequest(name="new__add", arguments_json=text))) == "arguments_json"
        )
    assert await field_of(tools.CallTool(pb.CallToolRequest())) == "name"


async def test_only_what_is_allowed(tools: Tools) -> None:
    """Settings name tools and accounts; a key may have scopes."""
    own = await tools.ListTools(pb.ListToolsRequest(server="few"))
    assert [one.name for one in own.tools] == ["few__add", "few__echo"] and all(one.trusted for one in own.tools)
    assert not (await tools.by("other/app").ListTools(pb.ListToolsRequest(server="few"))).servers
    assert (await tools.by("root", admin=True).ListTools(pb.ListToolsRequest(server="few"))).servers
    for name in ("few__record", "nobody__add", "add", "few__"):
        assert await refused(tools.CallTool(calling(name))) == (Code.NOT_FOUND, "TOOL_UNKNOWN")
    assert await refused(tools.by("other/app").CallTool(calling("few__add", a=1, b=1))) == (
        Code.NOT_FOUND,
        "TOOL_UNKNOWN",
    )
    chatty = tools.by("acme/search", scopes=("chat",))
    assert await refused(chatty.ListTools(pb.ListToolsRequest())) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
    assert await refused(chatty.GetTool(pb.GetToolRequest(name="few__add"))) == (
        Code.PERMISSION_DENIED,
        "SCOPE_MISSING",
    )


async def test_what_has_changed_since_it_was_approved_is_not_offered(tools: Tools) -> None:
    made = await tools.ListTools(pb.ListToolsRequest(server="pinned"))
    assert [one.name for one in made.tools] == ["pinned__echo"]
    (withheld,) = made.withheld
    assert withheld.name == "pinned__add" and "approved" in withheld.reason
    assert await refused(tools.CallTool(calling("pinned__add", a=1, b=2))) == (Code.FAILED_PRECONDITION, "TOOL_CHANGED")
    one = tools.servers["pinned"]
    one.settings = Server(one.settings.url, key=toolbox.SECRET, headers=HEADERS, pins={"add": withheld.digest})
    await one.read()
    assert await said(tools, "pinned__add", a=1, b=2) == "3"
    told = (await tools.GetTool(pb.GetToolRequest(name="pinned__add"))).tool
    assert told.digest == withheld.digest


async def test_a_server_that_does_not_answer(tools: Tools) -> None:
    assert await refused(tools.CallTool(calling("nowhere__add"))) == (Code.UNAVAILABLE, "SERVER_AWAY")
    assert await refused(tools.GetTool(pb.GetToolRequest(name="shut__add"))) == (Code.UNAVAILABLE, "SERVER_AWAY")


async def test_a_server_bears_so_many_calls_for_so_long(tools: Tools) -> None:
    slow = asyncio.ensure_future(refused(tools.CallTool(calling("small__wait", seconds=30, mark="x"))))
    await until(lambda: tools.servers["small"].under_way == 1)
    full = await refused(tools.CallTool(calling("small__echo", text="x")))
    assert full == (Code.RESOURCE_EXHAUSTED, "SERVER_FULL")
    assert await slow == (Code.DEADLINE_EXCEEDED, "SERVER_SLOW")
    assert await said(tools, "small__echo", text="x") == "Heard: x"


@pytest.mark.parametrize("server", ["pipe"])
async def test_a_process_that_ends_is_started_again(tools: Tools, server: str) -> None:
    waiting = asyncio.ensure_future(refused(tools.CallTool(calling("pipe__wait", seconds=30, mark="x"))))
    await until(lambda: tools.servers["pipe"].under_way == 1)
    assert await refused(tools.CallTool(calling("pipe__end"))) == (Code.UNAVAILABLE, "SERVER_BROKE")
    assert await waiting == (Code.UNAVAILABLE, "SERVER_BROKE")
    await asyncio.sleep(1.0)
    assert await said(tools, "pipe__echo", text="again") == "Heard: again"


@pytest.mark.parametrize("server", ["pipe"])
async def test_a_process_gets_its_own_environment_alone(tools: Tools, server: str) -> None:
    names = (await said(tools, "pipe__environment")).split()
    assert {"PATH", "PYTHONPATH", "TOKEN"} <= set(names) and "PYTEST_CURRENT_TEST" not in names


@pytest.mark.parametrize("server", ["pipe"])
async def test_prompts_of_every_server_are_listed_and_made(tools: Tools, server: str) -> None:
    made = await tools.ListPrompts(pb.ListPromptsRequest(page_size=4))
    names = [one.name for one in made.prompts]
    rest = await tools.ListPrompts(pb.ListPromptsRequest(page_token=made.next_page_token))
    names += [one.name for one in rest.prompts]
    own = ["attacking", "letter", "poisoned_prompt"]
    assert (
        names == [f"{one}__{prompt}" for one in ("new", "old", "pipe") for prompt in own] and not rest.next_page_token
    )
    for one in ("new", "old", "pipe"):
        letter = (await tools.DescribePrompt(pb.DescribePromptRequest(name=f"{one}__letter"))).prompt
        assert (letter.server, letter.title, letter.description) == (one, "A letter", "Has a letter written.")
        assert {each.name: each.required for each in letter.arguments} == {"to": True, "about": False}
        assert len(letter.digest) == 64 and not letter.trusted
        asked = pb.GetPromptRequest(name=f"{one}__letter", arguments={"to": "Ada", "about": "bridges"})
        (message,) = (await tools.GetPrompt(asked)).messages
        assert (message.role, message.content.text) == ("user", "Write a letter to Ada about bridges.")
        wrong = pb.GetPromptRequest(name=f"{one}__letter")
        assert await refused(tools.GetPrompt(wrong)) == (Code.INVALID_ARGUMENT, "SERVER_REFUSED")


@pytest.mark.parametrize("server", ["pipe"])
async def test_documents_of_every_server_are_listed_and_read(tools: Tools, server: str) -> None:
    made = await tools.ListResources(pb.ListResourcesRequest(page_size=5))
    found = list(made.resources)
    rest = await tools.ListResources(pb.ListResourcesRequest(page_token=made.next_page_token))
    found += rest.resources
    uris = ["box://attack", "box://seal", "box://tolls"]
    assert [(one.server, one.uri) for one in found] == [(one, uri) for one in ("new", "old", "pipe") for uri in uris]
    tolls = found[2]
    assert (tolls.title, tolls.mime_type, tolls.description) == ("Tolls", "text/markdown", "What it costs to pass.")
    forms = (await tools.ListResources(pb.ListResourcesRequest(server="old", templates=True))).resources
    assert [(one.uri, one.template) for one in forms] == [("box://people/{name}", True)]
    for one in ("new", "old", "pipe"):
        (text,) = (await tools.ReadResource(pb.ReadResourceRequest(server=one, uri="box://tolls"))).contents
        assert text.text == "# Tolls\n\nNine crowns." and text.mime_type == "text/markdown"
        (seal,) = (await tools.ReadResource(pb.ReadResourceRequest(server=one, uri="box://seal"))).contents
        assert seal.data == b"\x89PNG"
        (ada,) = (await tools.ReadResource(pb.ReadResourceRequest(server=one, uri="box://people/Ada"))).contents
        assert ada.text == "Ada keeps the bridge."
        nowhere = pb.ReadResourceRequest(server=one, uri="box://nowhere/at/all")
        assert await refused(tools.ReadResource(nowhere)) == (Code.INVALID_ARGUMENT, "SERVER_REFUSED")


async def test_whose_an_address_is(tools: Tools) -> None:
    def where(uri: str, server: str = "") -> pb.DescribeResourceRequest:
        return pb.DescribeResourceRequest(server=server, uri=uri)

    listed = await tools.DescribeResource(where("box://tolls", "new"))
    assert listed.listed and listed.resource.title == "Tolls"
    made_up = await tools.DescribeResource(where("box://people/Ada", "new"))
    assert not made_up.listed and made_up.resource.uri == "box://people/Ada"
    unknown = (Code.NOT_FOUND, "RESOURCE_UNKNOWN")
    assert await refused(tools.DescribeResource(where("box://tolls"))) == unknown  # two servers list it
    assert await refused(tools.DescribeResource(where("box://people/Ada"))) == unknown
    assert await refused(tools.DescribeResource(where("box://tolls", "nobody"))) == unknown
    tools.servers["old"].resources = {}
    assert (await tools.DescribeResource(where("box://tolls"))).resource.server == "new"


async def test_what_settings_do_not_offer_is_not_there(tools: Tools) -> None:
    assert not (await tools.ListPrompts(pb.ListPromptsRequest(server="small"))).prompts
    assert not (await tools.ListResources(pb.ListResourcesRequest(server="small"))).resources
    named = pb.DescribePromptRequest(name="small__letter")
    assert await refused(tools.DescribePrompt(named)) == (Code.NOT_FOUND, "PROMPT_UNKNOWN")
    assert await refused(tools.GetPrompt(pb.GetPromptRequest(name="letter"))) == (Code.NOT_FOUND, "PROMPT_UNKNOWN")
    read = pb.ReadResourceRequest(server="small", uri="box://tolls")
    assert await refused(tools.ReadResource(read)) == (Code.NOT_FOUND, "RESOURCE_UNKNOWN")
    other = tools.by("other/app")
    assert not [one for one in (await other.ListPrompts(pb.ListPromptsRequest())).prompts if one.server == "few"]
    assert await refused(tools.by("other/app", scopes=("chat",)).ListPrompts(pb.ListPromptsRequest())) == (
        Code.PERMISSION_DENIED,
        "SCOPE_MISSING",
    )
