"""MCP over HTTP, as its revisions since 2025-03-26 have it: a POST for each message, answered by JSON or by server-sent events.

The protocol's own SDK keeps one session for all calls, and a connection that fails ends every call in it. Here each call is alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from services.runtime.http import EndlessEvent, Events
from services.runtime.mcp import MODERN, NO_METHOD
from services.runtime.secrets import Secrets
from services.tools import faults
from services.tools.oauth import Tokens
from services.tools.wires import messages
from services.tools.wires.messages import Message

LARGEST_ANSWER = 16 << 20
JSON, EVENTS = "application/json", "text/event-stream"
TELLS_S = 5.0
SESSION, VERSION = "mcp-session-id", "mcp-protocol-version"


@dataclass(slots=True)
class Http:
    name: str
    """The server's, in the mesh."""
    url: str
    http: aiohttp.ClientSession
    secrets: Secrets
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: Tokens | None = None
    """In place of a key."""
    _session: str = ""
    _aside: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, message: Message, version: str, within_s: float, about: dict[str, str]) -> Message:
        try:
            return await self._asked(message, version, within_s, about)
        except faults.ServerDenied as denied:
            if self.tokens is None or denied.facts["status"] != "401":
                raise
        # The token was withdrawn before its end, and nothing was done: another one is shown, once.
        return await self._asked(message, version, within_s, about)

    async def _asked(self, message: Message, version: str, within_s: float, about: dict[str, str]) -> Message:
        over = False
        try:
            async with self._posted(message, version, within_s, about) as response:
                found = await self._answer(response, message, version)
                over = True
                return found
        except faults.ServerDenied:
            over = True  # what is told of the request now would be of the next one, which has its number
            raise
        finally:
            # Before the last revision a server works on although nobody listens, until it is told.
            if not over and version and version != MODERN:
                gone = {"requestId": message["id"], "reason": "nobody waits"}
                self._later(self.tell(messages.notification("notifications/cancelled", gone), version))

    async def tell(self, message: Message, version: str) -> None:
        async with self._posted(message, version, TELLS_S, {}) as response:
            self._check(response)

    def forget(self) -> None:
        self._session = ""

    async def close(self) -> None:
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)

    @asynccontextmanager
    async def _posted(
        self, message: Message, version: str, within_s: float, about: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, and its body for as long as the block lasts; all of it within `within_s`."""
        headers = {"content-type": JSON, "accept": f"{JSON}, {EVENTS}", **about}
        if version:
            headers[VERSION] = version
        if self._session:
            headers[SESSION] = self._session
        for name, reference in self.headers.items():
            headers[name] = await self.secrets.read(reference)
        shown, response = "", None
        try:
            async with asyncio.timeout(within_s):
                if shown := await self._shown():
                    headers["authorization"] = f"Bearer {shown}"
                # A redirect is not followed: the key in the headers is meant for this address alone.
                response = await self.http.post(
                    self.url, data=orjson.dumps(message), headers=headers, allow_redirects=False
                )
                yield response
        except faults.ServerDenied:
            if self.tokens is not None:
                self.tokens.forget(shown)
            raise
        except TimeoutError:
            raise faults.ServerSlow(server=self.name, seconds=within_s) from None
        except aiohttp.ClientConnectorError as error:
            raise faults.ServerAway(server=self.name, why=type(error).__name__) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise faults.ServerBroke(server=self.name, why=type(error).__name__) from None
        finally:
            if (
                response is not None
            ):  # one read to its end goes back to the pool; any other is cut, which says that we leave
                response.release() if response.content.at_eof() else response.close()

    async def _shown(self) -> str:
        """What the server is to know us by; empty where it asks for nothing."""
        if self.tokens is not None:
            return await self.tokens.token()
        return await self.secrets.read(self.key) if self.key else ""

    async def _answer(self, response: aiohttp.ClientResponse, message: Message, version: str) -> Message:
        kind = response.content_type
        if response.status >= 300:
            return await self._refused(response, message)
        if session := response.headers.get(SESSION):
            self._session = session
        if kind == EVENTS:
            return await self._streamed(response, message["id"], version)
        if kind != JSON:
            raise self._broke(f"it answers {response.status} with {kind}")
        found = await self._whole(response)
        if not messages.answers(found, message["id"]):
            raise self._broke("its answer is to something else")
        return found  # type: ignore[no-any-return] # `answers` has looked

    async def _refused(self, response: aiohttp.ClientResponse, message: Message) -> Message:
        """A refusal in the protocol's own words, where it has them; by its status otherwise."""
        if response.status == 404 and SESSION in response.request_info.headers:
            raise faults.SessionOver
        self._check(response, worst=500)
        found: Any = None
        if response.content_type == JSON:
            with contextlib.suppress(faults.ServerBroke):
                found = await self._whole(response)
        if messages.answers(found, message["id"]) and "error" in found:
            return found  # type: ignore[no-any-return]
        return messages.failure(message["id"], NO_METHOD, f"status {response.status}")

    def _check(self, response: aiohttp.ClientResponse, worst: int = 400) -> None:
        """
        Raises:
            Failure: the status is of a fault that no request of ours could mend, or `worst` and above.
        """
        if response.status in (401, 403):
            raise faults.ServerDenied(server=self.name, status=response.status)
        if response.status == 429 or (response.status == 503 and "retry-after" in response.headers):
            wait = response.headers.get("retry-after", "")
            raise faults.ServerBusy(
                server=self.name, status=response.status, retry_after_s=float(wait) if wait.isdecimal() else None
            )
        if response.status >= worst:
            raise self._broke(f"status {response.status}")
        if 300 <= response.status < 400:
            raise self._broke(f"a redirect, {response.status}")

    async def _whole(self, response: aiohttp.ClientResponse) -> Any:
        raw = bytearray()
        async for piece in self._pieces(response):
            raw += piece
        return self._parsed(bytes(raw))

    async def _streamed(self, response: aiohttp.ClientResponse, number: int, version: str) -> Message:
        """The answer among events. What the server tells meanwhile is not heeded; what it asks is answered."""
        events = Events()
        async with aclosing(self._pieces(response)) as pieces:
            async for piece in pieces:
                try:
                    told = events.feed(piece)
                except EndlessEvent:
                    raise self._broke("an event without end") from None
                for one in told:
                    if not one:  # an event that only has an id
                        continue
                    found = self._parsed(one)
                    if messages.answers(found, number):
                        return found  # type: ignore[no-any-return]
                    if messages.asks(found):
                        self._later(self.tell(messages.reply(found), version))
        raise self._broke("its answer ends before it is whole")

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        read = 0
        async for piece in response.content.iter_any():
            read += len(piece)
            if read > LARGEST_ANSWER:
                raise self._broke(f"its answer has more than {LARGEST_ANSWER} bytes")
            yield piece

    def _parsed(self, raw: bytes) -> Any:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise self._broke("its answer is not JSON") from None

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            with contextlib.suppress(*GIVEN_UP):
                await work

        task = asyncio.create_task(done())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    def _broke(self, why: str) -> faults.ServerBroke:
        return faults.ServerBroke(server=self.name, why=why)


GIVEN_UP = (
    faults.ServerAway, faults.ServerBroke, faults.ServerBusy, faults.ServerDenied, faults.ServerSlow, faults.TokenAway,
    faults.TokenRefused,
)  # fmt: skip
"""What is said beside a call is said once."""
