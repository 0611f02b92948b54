"""One server as the mesh knows it: what it offers, asked for again and again, and its tools as they are called."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tollway.tools.v1 import tools_pb2 as pb

from services.runtime.errors import Failure
from services.runtime.mcp import as_header, own_name
from services.tools import contents, faults, offered
from services.tools.arguments import Schema
from services.tools.catalogue import Server
from services.tools.operations import operation
from services.tools.speaking import Refused, Speaking

log = logging.getLogger(__name__)

MOST_PAGES = 100
LISTED_S = 20.0
"""How long a page of tools may take."""
FIRST_AGAIN_S = 1.0
"""After a server could not be asked; twice as long each time, up to `refresh_s`."""


@dataclass(slots=True)
class Served:
    name: str
    settings: Server
    speaking: Speaking
    tools: Mapping[str, pb.Tool] = field(default_factory=dict)
    """By their names in the mesh."""
    withheld: Mapping[str, pb.Withheld] = field(default_factory=dict)
    told: bool = False
    """Whether it has ever said what it has."""
    reason: str = "it has not been asked yet"
    """Why it is not available; '' where it is."""
    under_way: int = 0
    _schemas: dict[str, Schema] = field(default_factory=dict)
    """By digest."""

    async def follow(self) -> None:
        """Asks what it has, until cancelled. What it said last stays while it is away."""
        again_s = FIRST_AGAIN_S
        while True:
            try:
                await self.read()
                again_s, wait_s = FIRST_AGAIN_S, self.settings.refresh_s
            except Failure as failure:
                if not self.reason:
                    log.warning("the MCP server %s: %s", self.name, failure.reason)
                self.reason = str(failure)
                wait_s, again_s = again_s, min(2 * again_s, self.settings.refresh_s)
            await asyncio.sleep(wait_s)

    async def read(self) -> None:
        """
        Raises:
            Failure: one of `faults`.
        """
        found: list[Any] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await self._page(cursor)
            found += page.get("tools") or ()
            if not (cursor := page.get("nextCursor") or ""):
                break
        try:
            self.tools, self.withheld = offered.offered(self.name, self.settings, found)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise faults.ServerBroke(server=self.name, why=f"tools of another shape, {type(error).__name__}") from None
        known = {one.digest for one in self.tools.values()}
        self._schemas = {digest: one for digest, one in self._schemas.items() if digest in known}
        self.told, self.reason = True, ""

    def tool(self, name: str) -> pb.Tool:
        """
        Raises:
            ServerAway: it has not said what it has.
            ToolChanged, ToolUnknown
        """
        if (found := self.tools.get(name)) is not None:
            return found
        if (withheld := self.withheld.get(name)) is not None:
            raise faults.ToolChanged(tool=name, why=withheld.reason)
        if not self.told:
            raise faults.ServerAway(server=self.name, why=self.reason)
        raise faults.ToolUnknown(tool=name)

    async def call(self, name: str, text: str, within_s: float) -> pb.Result:
        """Calls a tool with the arguments that `text` is.

        Raises:
            ArgumentsWrong, ServerFull, ToolAsks
            Failure: others of `faults`.
        """
        tool = self.tool(name)
        schema = self._schemas.get(tool.digest) or self._schemas.setdefault(tool.digest, Schema(tool))
        arguments = schema.parsed(text)
        if self.under_way >= self.settings.at_once:
            raise faults.ServerFull(server=self.name, limit=self.settings.at_once)
        self.under_way += 1
        try:
            own, headers = own_name(name, self.name), schema.headers(arguments)
            with operation(self.settings, own) as one:
                made = await self._called(tool, own, arguments, headers, min(within_s, self.settings.call_s))
                one.answered(made.failed)
                return made
        finally:
            self.under_way -= 1

    async def _called(
        self, tool: pb.Tool, own: str, arguments: Mapping[str, Any], headers: Mapping[str, str], within_s: float
    ) -> pb.Result:
        params = {"name": own, "arguments": arguments}
        try:
            said = await self.speaking.ask("tools/call", params, within_s, {"mcp-name": as_header(own), **headers})
        except Refused as refusal:
            return contents.refusal(refusal.words or f"error {refusal.code}")
        if said.get("resultType") == contents.ASKS:
            raise faults.ToolAsks(tool=tool.name)
        try:
            return contents.result(said)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise faults.ServerBroke(
                server=self.name, why=f"a result of another shape, {type(error).__name__}"
            ) from None

    async def _page(self, cursor: str) -> Mapping[str, Any]:
        try:
            return await self.speaking.ask("tools/list", {"cursor": cursor} if cursor else {}, LISTED_S)
        except Refused as refusal:
            raise faults.ServerBroke(server=self.name, why=f"it tells no tools, {refusal.code}") from None
