"""`tollway tools`: what MCP servers offer, and calling it as an agent would."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.tools.v1 import tools_pb2

from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, pages, ran
from services.mesh.screen import err, fail, say, table
from services.runtime.mcp import own_name

T = TypeVar("T")
L = TypeVar("L", pb.ListToolsResponse, pb.ListPromptsResponse, pb.ListResourcesResponse)
Stub = gateway_pb2_grpc.GatewayServiceStub
Metadata = tuple[tuple[str, str], ...]
WITHIN_S = 120.0
LONGEST = 60

tools = typer.Typer(
    no_args_is_help=True, help="Tools of MCP servers: list, call, digests to pin; their prompts and documents."
)


@tools.command("list")
def list_tools(
    server: Annotated[str, typer.Argument(help="Of this server alone.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists the tools that a key may call, and what is withheld from it."""
    found = _read(state, key, server)
    if not found.servers:
        fail("there is no MCP server: name one with `tollway up --mcp NAME=URL`")
    rows = [(one.name, _does(one.hints), _short(one.title or one.description)) for one in found.tools]
    table(("tool", "does", "what it says"), rows)
    for one in found.servers:
        if not one.available:
            err.print(f"[red]✗[/red] {one.name}: {one.reason}", soft_wrap=True)
    for each in found.withheld:
        err.print(f"[yellow]![/yellow] {each.name} is withheld: {each.reason}", soft_wrap=True)


@tools.command("call")
def call(
    name: Annotated[str, typer.Argument(help="The tool, SERVER__TOOL.")],
    arguments: Annotated[str, typer.Argument(help="A JSON object.")] = "{}",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Calls a tool. What it returns goes to stdout, text by text; a tool that failed ends the command with 1."""
    asked = pb.CallToolRequest(name=name, arguments_json=arguments)
    made = _called(state, key, lambda stub, metadata: stub.CallTool(asked, metadata=metadata, timeout=WITHIN_S))
    for one in made.result.contents:
        say(_shown(one))
    if made.result.failed:
        raise typer.Exit(1)


@tools.command("prompts")
def prompts(
    server: Annotated[str, typer.Argument(help="Of this server alone.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists the prompts that servers have, and what each is made with: an argument without a question mark has to be given."""

    def ask(stub: Stub, metadata: Metadata, token: str) -> Awaitable[pb.ListPromptsResponse]:
        asked = pb.ListPromptsRequest(server=server, page_token=token)
        return stub.ListPrompts(asked, metadata=metadata, timeout=WITHIN_S)

    found = _paged(state, key, ask, pb.ListPromptsResponse())
    rows = [
        (
            one.name,
            " ".join(f"{each.name}{'' if each.required else '?'}" for each in one.arguments),
            _short(one.title or one.description),
        )
        for one in found.prompts
    ]
    table(("prompt", "made with", "what it says"), rows)


@tools.command("resources")
def resources(
    server: Annotated[str, typer.Argument(help="Of this server alone.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Lists the documents that servers hand out, and the forms of addresses of more."""

    def ask(templates: bool, stub: Stub, metadata: Metadata, token: str) -> Awaitable[pb.ListResourcesResponse]:
        asked = pb.ListResourcesRequest(server=server, templates=templates, page_token=token)
        return stub.ListResources(asked, metadata=metadata, timeout=WITHIN_S)

    found = pb.ListResourcesResponse()
    for templates in (False, True):
        found = _paged(state, key, partial(ask, templates), found)
    table(("server", "address", "kind", "what it says"), [
        (one.server, one.uri, one.mime_type, _short(one.title or one.description or one.name)) for one in found.resources
    ])  # fmt: skip


@tools.command("read")
def read(
    server: Annotated[str, typer.Argument(help="Whose document it is.")],
    uri: Annotated[str, typer.Argument(help="Its address, to its server.")],
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Reads a document of a server's, to stdout."""
    asked = pb.ReadResourceRequest(server=server, uri=uri)
    made = _called(state, key, lambda stub, metadata: stub.ReadResource(asked, metadata=metadata, timeout=WITHIN_S))
    for one in made.contents:
        say(_shown(tools_pb2.Content(resource=one)))


@tools.command("pins")
def pins(
    server: Annotated[str, typer.Argument(help="The server.")], key: Key = "", state: State = running.STATE
) -> None:
    """Prints the digests of a server's tools as they are now, for `tools.servers.NAME.pins`: what changes later is withheld."""
    found = _read(state, key, server)
    digests = {one.name: one.digest for one in found.tools} | {one.name: one.digest for one in found.withheld}
    for name in sorted(digests):
        say(f"{own_name(name, server)}: {digests[name]}")


def _read(state: Path, key: str, server: str) -> pb.ListToolsResponse:
    def ask(stub: Stub, metadata: Metadata, token: str) -> Awaitable[pb.ListToolsResponse]:
        asked = pb.ListToolsRequest(server=server, page_token=token)
        return stub.ListTools(asked, metadata=metadata, timeout=WITHIN_S)

    return _paged(state, key, ask, pb.ListToolsResponse())


def _paged(state: Path, key: str, ask: Callable[[Stub, Metadata, str], Awaitable[L]], whole: L) -> L:
    """All pages as one."""

    async def read(stub: Stub, metadata: Metadata) -> L:
        async for page in pages(lambda token: ask(stub, metadata, token)):
            whole.MergeFrom(page)
        return whole

    return _called(state, key, read)


def _called(
    state: Path,
    key: str,
    work: Callable[[Stub, Metadata], Awaitable[T]],
) -> T:
    async def run() -> T:
        async with running.running(state).channel("orchestrator") as channel:
            return await work(gateway_pb2_grpc.GatewayServiceStub(channel), running.bearing(key_of(state, key)))

    return ran(run())


def _does(hints: tools_pb2.Hints) -> str:
    if hints.read_only:
        return "reads"
    return "destroys" if hints.destructive else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _shown(one: tools_pb2.Content) -> str:
    match one.WhichOneof("content"):
        case "image":
            return f"[{one.image.mime_type}, {len(one.image.data)} bytes]"
        case "audio":
            return f"[{one.audio.mime_type}, {len(one.audio.data)} bytes]"
        case "resource":
            return one.resource.text or f"[{one.resource.uri}, {len(one.resource.data)} bytes]"
        case "link":
            return one.link.uri
    return one.text
