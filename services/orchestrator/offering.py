"""Prompts and documents of MCP servers, on the road that tools take: judged, inspected, paid for."""

from dataclasses import dataclass

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.tools.v1 import tools_pb2

from services.orchestrator.failures import AddressMasked, ArgumentsBlocked
from services.orchestrator.peers import Peers
from services.orchestrator.tooling import Tooling
from services.runtime import identity

PROMPTS, RESOURCES = "prompts/get", "resources/read"
"""What the ledger's entries call what was asked for."""


@dataclass(frozen=True, slots=True)
class Offering:
    tooling: Tooling

    async def prompts(self, request: pb.ListPromptsRequest) -> pb.ListPromptsResponse:
        """
        Raises:
            AioRpcError: what guard or tools say.
        """
        peers = await self._peers()
        asked = tools_pb2.ListPromptsRequest(
            server=request.server, page_size=request.page_size, page_token=request.page_token
        )
        found = await peers.tools.ListPrompts(asked)
        offered = await self.tooling.offered(found.prompts)
        return pb.ListPromptsResponse(prompts=offered, next_page_token=found.next_page_token)

    async def prompt(self, request: pb.GetPromptRequest) -> pb.GetPromptResponse:
        """
        Raises:
            ToolNotAllowed, ToolWithheld, ArgumentsBlocked, ResultBlocked
            AioRpcError: what guard, ledger or tools say.
        """
        peers = await self._peers()
        prompt = (await peers.tools.DescribePrompt(tools_pb2.DescribePromptRequest(name=request.name))).prompt
        self.tooling.admit(prompt.server)
        await self.tooling.unless_withheld(prompt)
        road = self.tooling.begun(prompt.server)
        given = orjson.dumps(dict(request.arguments)).decode()
        masked, sealed = await self.tooling.inspected(pb.CallToolRequest(name=prompt.name, arguments_json=given), road)
        arguments = orjson.loads(given if prompt.trusted else masked)
        async with self.tooling.paid(prompt.server, f"{prompt.server}__{PROMPTS}", road):
            made = await peers.tools.GetPrompt(tools_pb2.GetPromptRequest(name=prompt.name, arguments=arguments))
        texts = tools_pb2.Result(contents=[one.content for one in made.messages])
        if made.description:
            texts.contents.add(text=made.description)
        shown = await self.tooling.shown(
            texts, prompt.name, sealed, road, trusted=prompt.trusted, origin=guard_pb2.ORIGIN_USER
        )
        messages = [
            tools_pb2.PromptMessage(role=one.role, content=content)
            for one, content in zip(made.messages, shown.contents, strict=False)
        ]
        description = shown.contents[-1].text if made.description else ""
        return pb.GetPromptResponse(description=description, messages=messages, road=road)

    async def resources(self, request: pb.ListResourcesRequest) -> pb.ListResourcesResponse:
        """
        Raises:
            AioRpcError: what guard or tools say.
        """
        peers = await self._peers()
        asked = tools_pb2.ListResourcesRequest(
            server=request.server,
            templates=request.templates,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = await peers.tools.ListResources(asked)
        offered = await self.tooling.offered(found.resources)
        return pb.ListResourcesResponse(resources=offered, next_page_token=found.next_page_token)

    async def document(self, request: pb.ReadResourceRequest) -> pb.ReadResourceResponse:
        """
        Raises:
            ToolNotAllowed, ArgumentsBlocked, AddressMasked, ResultBlocked
            AioRpcError: what guard, ledger or tools say.
        """
        peers = await self._peers()
        asked = tools_pb2.DescribeResourceRequest(server=request.server, uri=request.uri)
        found = await peers.tools.DescribeResource(asked)
        server, trusted = found.resource.server, found.resource.trusted
        self.tooling.admit(server)
        road = self.tooling.begun(server)
        if not found.listed:
            await self._made_up(request.uri, trusted)
        async with self.tooling.paid(server, f"{server}__{RESOURCES}", road):
            made = await peers.tools.ReadResource(tools_pb2.ReadResourceRequest(server=server, uri=request.uri))
        texts = tools_pb2.Result(contents=[tools_pb2.Content(resource=one) for one in made.contents])
        shown = await self.tooling.shown(texts, f"{server}: a resource", b"", road, trusted=trusted)
        return pb.ReadResourceResponse(contents=[one.resource for one in shown.contents], server=server, road=road)

    async def _made_up(self, uri: str, trusted: bool) -> None:
        """An address that the caller has made: a placeholder in it would lead elsewhere, so nothing in it is masked.

        Raises:
            ArgumentsBlocked, AddressMasked
        """
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=uri)])
        seen = await self.tooling.road.inspected(guard_pb2.InspectPromptRequest(messages=[message]))
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise ArgumentsBlocked(rule=seen.verdict.rule)
        if seen.masked and not trusted:
            raise AddressMasked

    async def _peers(self) -> Peers:
        """
        Raises:
            ScopeMissing
            AioRpcError: the tools service is away.
        """
        identity.scoped("tools")
        await self.tooling.road.peers.reach("tools", self.tooling.road.waits.restart_s)
        return self.tooling.road.peers
