"""`/mcp`: tools, prompts and resources of every MCP server behind the mesh, to MCP's own clients; `/mcp/{server}`: those of one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.wire import answer
from services.edge.wire import mcp as wire
from services.edge.wire import mcp_published as published
from services.edge.wire.errors import Refusal, of_failure
from services.runtime.mcp import NO_METHOD

LONGEST_CURSOR = 4096
"""Of addresses."""
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Mcp:
    gateway: gateway_pb2_grpc.GatewayServiceStub

    def routes(self) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {wire.PATH: {"POST": self.answer}}

    def prefixes(self) -> dict[str, dict[str, Callable[[Exchange, Door], Any]]]:
        return {f"{wire.PATH}/": {"POST": self.answer}}

    async def answer(self, exchange: Exchange, door: Door) -> None:
        server = exchange.path.removeprefix(wire.PATH).strip("/")
        modern, number = False, wire.NOBODYS
        try:
            asked = wire.parsed(exchange.body)
            if not asked.answered:
                await exchange.answer(b"", status=202)
                return
            number = asked.number
            modern = wire.modern(asked, exchange.headers)
            said, headers = await self._answered(asked, server)
        except wire.Fault as fault:
            await exchange.answer(wire.error(fault, number), status=wire.status(fault, modern=modern))
            return
        await exchange.answer(wire.result(asked, said, modern=modern), headers)

    async def _answered(self, asked: wire.Message, server: str) -> tuple[dict[str, Any], Headers]:
        """
        Raises:
            Fault
        """
        match asked.method:
            case "initialize":
                return wire.welcome(asked), []
            case "server/discover":
                return wire.discovered(), []
            case "ping":
                return {}, []
            case method if method in wire.BEHIND:
                return await self._asked(asked, server)
        raise wire.Fault(NO_METHOD, "no such method here")

    async def _asked(self, asked: wire.Message, server: str) -> tuple[dict[str, Any], Headers]:
        """
        Raises:
            Fault
        """
        try:
            match asked.method:
                case "tools/call":
                    return await self._called(asked, server)
                case "tools/list":
                    tools = pb.ListToolsRequest(server=server, page_token=wire.cursor(asked))
                    return wire.listed(await self.gateway.ListTools(tools), server), []
                case "prompts/list":
                    prompts = pb.ListPromptsRequest(server=server, page_token=wire.cursor(asked))
                    return published.prompts(await self.gateway.ListPrompts(prompts), server), []
                case "prompts/get":
                    prompt = await self.gateway.GetPrompt(published.wanted(asked, server))
                    return published.prompt(prompt), answer.headers(prompt.road)
                case "resources/read":
                    found = await self.gateway.ReadResource(published.reading(asked, server))
                    return published.read(found, server), answer.headers(found.road)
            forms = asked.method == "resources/templates/list"
            after = wire.cursor(asked, LONGEST_CURSOR)
            listed = await self.gateway.ListResources(
                pb.ListResourcesRequest(server=server, templates=forms, page_token=after)
            )
            return (published.templates if forms else published.resources)(listed, server), []
        except (grpc.aio.AioRpcError, Refusal) as error:
            raise wire.of_refusal(of_failure(error)) from None

    async def _called(self, asked: wire.Message, server: str) -> tuple[dict[str, Any], Headers]:
        try:
            made = await self.gateway.CallTool(wire.call(asked, server))
        except grpc.aio.AioRpcError as error:
            if (refusal := of_failure(error)).code not in wire.TOLD_TO_MODELS:
                raise
            return wire.failed(refusal.message), []
        return wire.called(made.result), answer.headers(made.road)
