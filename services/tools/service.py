"""Translates messages to servers and back: whose tool it is, and who may reach it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tollway.tools.v1 import tools_pb2 as pb
from tollway.tools.v1.tools_pb2_grpc import ToolsServiceServicer

from services.runtime import channels, identity
from services.runtime.errors import Failure
from services.runtime.mcp import server_of
from services.tools import faults
from services.tools.servers import Served

PAGE = 1000
LONGEST_S = 3600.0
"""Of a call without a deadline; its server's own limit is shorter."""


@dataclass(slots=True)
class ToolsService(ToolsServiceServicer):
    servers: Mapping[str, Served]

    async def ListTools(self, request: pb.ListToolsRequest, context: object) -> pb.ListToolsResponse:
        reached = self._of(request.server)
        tools = {name: tool for one in reached for name, tool in one.tools.items()}
        page, more = _page(tools, request.page_token, request.page_size)
        made = pb.ListToolsResponse(tools=[tools[name] for name in page], next_page_token=more)
        if not request.page_token:
            made.servers.extend(_told(one) for one in reached)
            made.withheld.extend(withheld for one in reached for _, withheld in sorted(one.withheld.items()))
        return made

    async def GetTool(self, request: pb.GetToolRequest, context: object) -> pb.GetToolResponse:
        return pb.GetToolResponse(tool=self._server(request.name).tool(request.name))

    async def CallTool(self, request: pb.CallToolRequest, context: object) -> pb.CallToolResponse:
        result = await self._server(request.name).call(request.name, request.arguments_json, _left_s())
        return pb.CallToolResponse(result=result)

    async def ListPrompts(self, request: pb.ListPromptsRequest, context: object) -> pb.ListPromptsResponse:
        found = {name: prompt for one in self._of(request.server) for name, prompt in one.prompts.items()}
        page, more = _page(found, request.page_token, request.page_size)
        return pb.ListPromptsResponse(prompts=[found[name] for name in page], next_page_token=more)

    async def DescribePrompt(self, request: pb.DescribePromptRequest, context: object) -> pb.DescribePromptResponse:
        return pb.DescribePromptResponse(prompt=self._prompts(request.name).described(request.name))

    async def GetPrompt(self, request: pb.GetPromptRequest, context: object) -> pb.GetPromptResponse:
        return await self._prompts(request.name).prompt(request.name, request.arguments, _left_s())

    async def ListResources(self, request: pb.ListResourcesRequest, context: object) -> pb.ListResourcesResponse:
        found = {
            f"{one.name} {uri}": entry
            for one in self._of(request.server)
            for uri, entry in (one.templates if request.templates else one.resources).items()
        }
        page, more = _page(found, request.page_token, request.page_size)
        return pb.ListResourcesResponse(resources=[found[key] for key in page], next_page_token=more)

    async def DescribeResource(
        self, request: pb.DescribeResourceRequest, context: object
    ) -> pb.DescribeResourceResponse:
        one = self._keeper(request.server, request.uri)
        listed = one.resources.get(request.uri)
        entry = listed or pb.ResourceEntry(server=one.name, uri=request.uri, trusted=one.settings.trusted)
        return pb.DescribeResourceResponse(resource=entry, listed=listed is not None)

    async def ReadResource(self, request: pb.ReadResourceRequest, context: object) -> pb.ReadResourceResponse:
        one = self._keeper(request.server, request.uri)
        return pb.ReadResourceResponse(contents=await one.document(request.uri, _left_s()))

    def _of(self, server: str) -> list[Served]:
        return [one for one in self._reached() if server in ("", one.name)]

    def _prompts(self, prompt: str) -> Served:
        """
        Raises:
            PromptUnknown: of a server that there is not, or not for the caller.
        """
        return self._whose(prompt, faults.PromptUnknown(prompt=prompt))

    def _keeper(self, server: str, uri: str) -> Served:
        """Whose document it is.

        Raises:
            ResourceUnknown: there is no such server, or none is named and not exactly one lists it.
        """
        open_ = [one for one in self._of(server) if one.settings.resources]
        if server:
            if not open_:
                raise faults.ResourceUnknown(why=f"no server {server} offers resources")
            return open_[0]
        keepers = [one for one in open_ if uri in one.resources]
        if len(keepers) != 1:
            raise faults.ResourceUnknown(why=f"{len(keepers) or 'no'} servers list this address: say whose it is")
        return keepers[0]

    def _reached(self) -> list[Served]:
        """The servers that the caller may reach, by name."""
        caller = identity.caller()
        return [one for _, one in sorted(self.servers.items()) if caller.admin or one.settings.open_to(caller.account)]

    def _server(self, tool: str) -> Served:
        """
        Raises:
            ToolUnknown: of a server that there is not, or not for the caller.
        """
        return self._whose(tool, faults.ToolUnknown(tool=tool))

    def _whose(self, name: str, unknown: Failure) -> Served:
        server = server_of(name)
        found = next((one for one in self._reached() if one.name == server), None)
        if found is None:
            raise unknown
        return found


def _page(keys: Iterable[str], after: str, size: int) -> tuple[list[str], str]:
    """Those of a page, in order, and the token of the next; '' after the last."""
    left, most = sorted(key for key in keys if key > after), size or PAGE
    return left[:most], left[most - 1] if len(left) > most else ""


def _left_s() -> float:
    until = channels.DEADLINE.get()
    return LONGEST_S if until is None else max(until - time.monotonic(), 0.0)


def _told(one: Served) -> pb.Server:
    return pb.Server(
        name=one.name,
        available=not one.reason,
        reason=one.reason,
        protocol=one.speaking.version,
        tools=len(one.tools),
    )
