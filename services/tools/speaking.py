"""A server, spoken to: the revision of the protocol is settled once, and again when the server has forgotten us."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.runtime.mcp import HANDSHAKE, MODERN, NO_METHOD
from services.tools import faults
from services.tools.wires import messages
from services.tools.wires.messages import Message
from services.tools.wires.wire import Wire

PROBED_S = 5.0
"""How long a server may think about a method that it may not know."""
NOTHING_SAID = messages.failure(None, NO_METHOD, "nothing")


class Refused(Exception):
    """The server answers with an error of the protocol's."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code)
        self.code, self.words = code, words


@dataclass(slots=True)
class Speaking:
    name: str
    """The server's, in the mesh."""
    wire: Wire
    version: str = ""
    """What both speak; empty until that is settled."""
    able: Mapping[str, Any] = field(default_factory=dict)
    """What it says that it has: its capabilities."""
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _forgotten: int = 0
    """Times that the server has forgotten us."""

    async def ask(
        self, method: str, params: Mapping[str, Any], within_s: float, about: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """The result of a request. `about` are headers that the newest revision wants beside the method's.

        Raises:
            Refused: the server's own error.
            Failure: one of `faults`.
        """
        for _ in range(2):
            version = await self._settled(within_s)
            forgotten = self._forgotten
            try:
                return self._result(await self._asked(method, params, version, within_s, about or {}))
            except faults.SessionOver:
                # Whoever hears it first introduces us anew; the others' news is of before that.
                if self._forgotten == forgotten:
                    self._forgotten += 1
                    self.version = ""
                    self.wire.forget()
        raise faults.ServerBroke(server=self.name, why="it forgets us at once")

    async def _asked(
        self, method: str, params: Mapping[str, Any], version: str, within_s: float, about: Mapping[str, str]
    ) -> Message:
        headers = {"mcp-method": method, **about} if version == MODERN else {}
        return await self.wire.ask(messages.request(method, params, version), version, within_s, headers)

    async def _settled(self, within_s: float) -> str:
        if self.version:
            return self.version
        async with self._settling:
            if not self.version:
                self.version = await self._modern(within_s) or await self._introduced(within_s)
            return self.version

    async def _modern(self, within_s: float) -> str:
        """The newest revision, where the server says that it speaks it."""
        try:
            said = await self._asked("server/discover", {}, MODERN, min(within_s, PROBED_S), {})
        except (faults.ServerSlow, faults.ServerBroke):  # it may not know what to make of it
            said = NOTHING_SAID
        result = said.get("result")
        offered = result.get("supportedVersions") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(offered, list) or MODERN not in offered:
            return ""
        self.able = _capabilities(result)
        return MODERN

    async def _introduced(self, within_s: float) -> str:
        try:
            result = self._result(await self.wire.ask(messages.introduction(), "", within_s, {}))
        except Refused as refusal:
            raise faults.ServerBroke(server=self.name, why=f"it does not let us in, {refusal.code}") from None
        except faults.SessionOver:
            raise faults.ServerBroke(server=self.name, why="it does not let us in") from None
        version = result.get("protocolVersion")
        if version not in HANDSHAKE:
            raise faults.ServerBroke(server=self.name, why="it speaks no revision of MCP that we do")
        self.able = _capabilities(result)
        await self.wire.tell(messages.notification("notifications/initialized"), version)
        return str(version)

    def _result(self, answer: Message) -> Mapping[str, Any]:
        if isinstance(result := answer.get("result"), dict):
            return result
        error = answer.get("error")
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            raise faults.ServerBroke(server=self.name, why="its answer is neither a result nor an error")
        raise Refused(error["code"], str(error.get("message", "")))


def _capabilities(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found = result.get("capabilities")
    return found if isinstance(found, dict) else {}
