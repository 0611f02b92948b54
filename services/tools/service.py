"""Translates messages to servers and back: whose tool it is, and who may reach it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tollway.tools.v1 import tools_pb2 as pb
from tollway.tools.v1.tools_pb2_grpc import ToolsServiceServicer

from services.runtime import channels, identity
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
        reached = [one for one in self._reached() if request.server in ("", one.name)]
        tools = {name: tool for one in reached for name, tool in one.tools.items()}
        names = sorted(name for name in tools if name > request.page_token)
        most = request.page_size or PAGE
        page = names[:most]
        made = pb.ListToolsResponse(
            tools=[tools[name] for name in page], next_page_token=page[-1] if len(names) > most else ""
        )
        if not request.page_token:
            made.servers.extend(_told(one) for one in reached)
            made.withheld.extend(withheld for one in reached for _, withheld in sorted(one.withheld.items()))
        return made

    async def GetTool(self, request: pb.GetToolRequest, context: object) -> pb.GetToolResponse:
        return pb.GetToolResponse(tool=self._server(request.name).tool(request.name))

    async def CallTool(self, request: pb.CallToolRequest, context: object) -> pb.CallToolResponse:
        until = channels.DEADLINE.get()
        left = LONGEST_S if until is None else max(until - time.monotonic(), 0.0)
        result = await self._server(request.name).call(request.name, request.arguments_json, left)
        return pb.CallToolResponse(result=result)

    def _reached(self) -> list[Served]:
        """The servers that the caller may reach, by name."""
        caller = identity.caller()
        return [one for _, one in sorted(self.servers.items()) if caller.admin or one.settings.open_to(caller.account)]

    def _server(self, tool: str) -> Served:
        """
        Raises:
            ToolUnknown: of a server that there is not, or not for the caller.
        """
        name = server_of(tool)
        found = next((one for one in self._reached() if one.name == name), None)
        if found is None:
            raise faults.ToolUnknown(tool=tool)
        return found


def _told(one: Served) -> pb.Server:
    return pb.Server(
        name=one.name,
        available=not one.reason,
        reason=one.reason,
        protocol=one.speaking.version,
        tools=len(one.tools),
    )
