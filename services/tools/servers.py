"""One server as the mesh knows it: what it offers, asked for again and again, and its tools as they are called."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tollway.tools.v1 import tools_pb2 as pb

from services.runtime.errors import Failure
from services.runtime.mcp import NO_METHOD, as_header, own_name
from services.tools import contents, faults, offered, published
from services.tools.arguments import Schema
from services.tools.catalogue import Server
from services.tools.operations import operation
from services.tools.speaking import Refused, Speaking

T = TypeVar("T")
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
    prompts: Mapping[str, pb.Prompt] = field(default_factory=dict)
    """By their names in the mesh."""
    resources: Mapping[str, pb.ResourceEntry] = field(default_factory=dict)
    """By their addresses."""
    templates: Mapping[str, pb.ResourceEntry] = field(default_factory=dict)
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
        found = await self._listed("tools/list", "tools")
        name, trusted = self.name, self.settings.trusted
        self.tools, self.withheld = self._shaped(lambda: offered.offered(name, self.settings, found))
        if self.settings.prompts and "prompts" in self.speaking.able:
            told = await self._listed("prompts/list", "prompts")
            self.prompts = self._shaped(lambda: published.prompts(name, trusted, told))
        if self.settings.resources and "resources" in self.speaking.able:
            documents = await self._listed("resources/list", "resources")
            forms = await self._listed("resources/templates/list", "resourceTemplates")
            self.resources = self._shaped(lambda: published.resources(name, trusted, documents))
            self.templates = self._shaped(lambda: published.templates(name, trusted, forms))
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
        own, headers = own_name(name, self.name), schema.headers(arguments)
        with self._room(), operation(self.settings, own) as one:
            made = await self._called(tool, own, arguments, headers, min(within_s, self.settings.call_s))
            one.answered(made.failed)
            return made

    async def prompt(self, name: str, arguments: Mapping[str, str], within_s: float) -> pb.GetPromptResponse:
        """
        Raises:
            PromptUnknown, ServerFull, ServerRefused
            Failure: others of `faults`.
        """
        own = own_name(self.described(name).name, self.name)
        params = {"name": own, "arguments": dict(arguments)} if arguments else {"name": own}
        said = await self._asked("prompts/get", params, own, within_s)
        return self._shaped(lambda: published.messages(said))

    def described(self, name: str) -> pb.Prompt:
        """
        Raises:
            ServerAway: it has not said what it has.
            PromptUnknown
        """
        if (found := self.prompts.get(name)) is not None:
            return found
        if not self.told and self.settings.prompts:
            raise faults.ServerAway(server=self.name, why=self.reason)
        raise faults.PromptUnknown(prompt=name)

    async def document(self, uri: str, within_s: float) -> list[pb.Resource]:
        """
        Raises:
            ServerFull, ServerRefused
            Failure: others of `faults`.
        """
        said = await self._asked("resources/read", {"uri": uri}, uri, within_s)
        return self._shaped(lambda: [contents.resource(one) for one in said["contents"]])

    async def _asked(self, method: str, params: Mapping[str, Any], named: str, within_s: float) -> Mapping[str, Any]:
        with self._room(), operation(self.settings, "", method):
            try:
                within_s = min(within_s, self.settings.call_s)
                said = await self.speaking.ask(method, params, within_s, {"mcp-name": as_header(named)})
            except Refused as refusal:
                raise faults.ServerRefused(server=self.name, code=refusal.code) from None
        if said.get("resultType") == contents.ASKS:
            raise faults.ToolAsks(tool=f"{self.name}'s {method}")
        return said

    @contextmanager
    def _room(self) -> Iterator[None]:
        """
        Raises:
            ServerFull
        """
        if self.under_way >= self.settings.at_once:
            raise faults.ServerFull(server=self.name, limit=self.settings.at_once)
        self.under_way += 1
        try:
            yield
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
        return self._shaped(lambda: contents.result(said))

    async def _listed(self, method: str, what: str) -> list[Any]:
        """All that it has of a kind."""
        found: list[Any] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await self._page(method, cursor)
            found += page.get(what) or ()
            if not (cursor := page.get("nextCursor") or ""):
                break
        return found

    async def _page(self, method: str, cursor: str) -> Mapping[str, Any]:
        try:
            return await self.speaking.ask(method, {"cursor": cursor} if cursor else {}, LISTED_S)
        except Refused as refusal:
            if refusal.code == NO_METHOD and method != "tools/list":  # it has none of these
                return {}
            raise faults.ServerBroke(server=self.name, why=f"{method} is refused, {refusal.code}") from None

    def _shaped(self, read: Callable[[], T]) -> T:
        """What `read` makes of an answer; one of another shape is the server's fault."""
        try:
            return read()
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise faults.ServerBroke(
                server=self.name, why=f"an answer of another shape, {type(error).__name__}"
            ) from None
