"""Tools, on a road of their own: what they say of themselves is judged, arguments are inspected, calls paid for, results inspected."""

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.tools.v1 import tools_pb2

from services.orchestrator import results
from services.orchestrator.charging import charged
from services.orchestrator.failures import ArgumentsBlocked, ResultBlocked, ToolNotAllowed, ToolWithheld
from services.orchestrator.money import time_left
from services.orchestrator.road import Road
from services.runtime import identity, telemetry
from services.runtime.mcp import server_of
from services.runtime.remembered import Remembered

PROVIDER = "tools"
"""Who runs them, to the ledger; what a server's calls cost stands under `tools/SERVER`."""
JUDGED_S = 60.0
"""How long a judgement of what a tool says of itself holds: policies change."""
MOST_JUDGED = 20_000
MOST_BYTES = 256 << 10
"""Of what tools say of themselves, judged at once."""
Said = tools_pb2.Tool | tools_pb2.Prompt | tools_pb2.ResourceEntry
"""What a server says of what it has."""
S = TypeVar("S", tools_pb2.Tool, tools_pb2.Prompt, tools_pb2.ResourceEntry)


@dataclass(slots=True)
class Tooling:
    road: Road
    _judged: Remembered[tuple[str, str], tuple[float, str]] = field(default_factory=lambda: Remembered(MOST_JUDGED))
    """By tenant and digest: until when, and the rule that withholds the tool."""

    async def offer(self, request: pb.ListToolsRequest) -> pb.ListToolsResponse:
        """
        Raises:
            AioRpcError: what guard or tools say.
        """
        caller = identity.scoped("tools")
        await self.road.peers.reach("tools", self.road.waits.restart_s)
        asked = tools_pb2.ListToolsRequest(
            server=request.server, page_size=request.page_size, page_token=request.page_token
        )
        found = await self.road.peers.tools.ListTools(asked)
        ruled = await self._ruled(found.tools)
        made = pb.ListToolsResponse(
            tools=[one for one, rule in ruled if not rule],
            next_page_token=found.next_page_token,
            servers=[one for one in found.servers if _allowed(caller, one.name)],
            withheld=[one for one in found.withheld if _allowed(caller, server_of(one.name))],
        )
        for one, rule in ruled:
            if rule:
                made.withheld.add(name=one.name, reason=f"policy: {rule}", digest=one.digest)
        return made

    async def call(self, request: pb.CallToolRequest) -> pb.CallToolResponse:
        """
        Raises:
            ToolNotAllowed, ToolWithheld, ArgumentsBlocked, ResultBlocked
            AioRpcError: what guard, ledger or tools say.
        """
        identity.scoped("tools")
        await self.road.peers.reach("tools", self.road.waits.restart_s)
        tool = (await self.road.peers.tools.GetTool(tools_pb2.GetToolRequest(name=request.name))).tool
        self.admit(tool.server)
        await self.unless_withheld(tool)
        road = self.begun(tool.server)
        arguments, sealed = await self.inspected(request, road)
        async with self.paid(tool.server, tool.name, road):
            asked = tools_pb2.CallToolRequest(
                name=tool.name, arguments_json=request.arguments_json if tool.trusted else arguments
            )
            made = (await self.road.peers.tools.CallTool(asked)).result
        telemetry.note(gen_ai__tool__name=tool.name, tollway__tool__failed=made.failed)
        shown = await self.shown(made, tool.name, sealed, road, trusted=tool.trusted)
        return pb.CallToolResponse(result=shown, road=road)

    def admit(self, server: str) -> None:
        """
        Raises:
            ToolNotAllowed: the key may not reach the server.
        """
        if not _allowed(identity.caller(), server):
            raise ToolNotAllowed(model=_model(server))

    def begun(self, server: str) -> pb.Road:
        """
        Raises:
            BooksBehind
        """
        self.road.desk.room()
        trace = telemetry.current()
        return pb.Road(trace_id=trace.hex if trace else "", model=_model(server))

    @asynccontextmanager
    async def paid(self, server: str, what: str, road: pb.Road) -> AsyncIterator[None]:
        """Holds the price of a call for as long as the block lasts, and charges it where the block comes to its end.

        Raises:
            AioRpcError: what the ledger says.
        """
        attempt = ledger_pb2.Attempt(
            model=_model(server), provider=PROVIDER, provider_model=what, compute=time_left(), calls=1
        )
        async with charged(self.road, attempt, str(uuid.uuid4()), road) as one:
            yield
            one.usage = chat.Usage()

    async def unless_withheld(self, one: tools_pb2.Tool | tools_pb2.Prompt) -> None:
        """
        Raises:
            ToolWithheld: for what it says of itself.
        """
        (rule,) = await self.rules([one])
        if rule:
            raise ToolWithheld(tool=one.name, rule=rule)

    async def offered(self, told: Iterable[S]) -> list[S]:
        """Those of what servers have that the caller may reach, and that policy does not withhold."""
        return [one for one, rule in await self._ruled(told) if not rule]

    async def _ruled(self, told: Iterable[S]) -> list[tuple[S, str]]:
        """Those of what servers have that the caller may reach, each with the rule that withholds it; '' for none."""
        caller = identity.caller()
        reached = [one for one in told if _allowed(caller, one.server)]
        return list(zip(reached, await self.rules(reached), strict=True))

    async def rules(self, tools: Sequence[Said]) -> list[str]:
        """The rule that withholds each for what it says of itself; '' for none. What many say is judged at once, since hardly any
        attacks its reader."""
        tenant, now = identity.caller().tenant, time.monotonic()
        known = {
            one.digest: judged[1]
            for one in tools
            if (judged := self._judged.get((tenant, one.digest))) is not None and judged[0] > now
        }
        for together in _batches(one for one in tools if one.digest not in known):
            rule = await self._rule(together)
            for one in together:
                said = rule if len(together) == 1 or not rule else await self._rule([one])
                known[one.digest] = said
                self._judged.keep((tenant, one.digest), (now + JUDGED_S, said))
        return [known[one.digest] for one in tools]

    async def _rule(self, tools: Sequence[Said]) -> str:
        """Judged as users' texts are, which may instruct: that is what a description is for."""
        seen = await self.road.inspected(
            guard_pb2.InspectPromptRequest(messages=[results.said_of(one) for one in tools])
        )
        return seen.verdict.rule if seen.verdict.action == guard_pb2.ACTION_BLOCK else ""

    async def inspected(self, request: pb.CallToolRequest, road: pb.Road) -> tuple[str, bytes]:
        """The arguments as a server may see them that is not trusted, and what was masked in them."""
        call = chat.ToolCall(name=request.name, arguments=request.arguments_json)
        message = chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=[call])
        seen = await self.road.inspected(
            guard_pb2.InspectPromptRequest(messages=[message], sealed_map=request.sealed_map)
        )
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise ArgumentsBlocked(rule=seen.verdict.rule)
        road.findings.extend(seen.findings)
        sent = seen.messages[0].tool_calls[0].arguments if seen.masked else request.arguments_json
        return sent, seen.sealed_map

    async def shown(
        self, made: tools_pb2.Result, name: str, sealed: bytes, road: pb.Road, *, trusted: bool,
        origin: "guard_pb2.Origin.ValueType" = guard_pb2.ORIGIN_DOCUMENT,
    ) -> tools_pb2.Result:  # fmt: skip
        """The result as its caller may see it, with the caller's own values in it: a document that attacks nobody."""
        if (message := results.read(made)) is None:
            return made
        message.role = chat.ROLE_TOOL if origin == guard_pb2.ORIGIN_DOCUMENT else chat.ROLE_USER
        if not trusted:
            completion = chat.ChatCompletion(choices=[chat.Choice(message=message)])
            shown = await self.road.peers.guard.InspectAnswer(
                guard_pb2.InspectAnswerRequest(sealed_map=sealed, completion=completion)
            )
            road.findings.extend(shown.findings)
            message = shown.completion.choices[0].message
        seen = await self.road.inspected(guard_pb2.InspectPromptRequest(messages=[message], origin=origin))
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise ResultBlocked(tool=name, rule=seen.verdict.rule)
        return made if trusted else results.rewritten(made, message)


def _batches(tools: Iterable[Said]) -> Iterator[list[Said]]:
    """Those that the guard reads together: it takes so much text at once."""
    batch, size = list[Said](), 0
    for one in tools:
        if batch and size + one.ByteSize() > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.ByteSize()
    if batch:
        yield batch


def _model(server: str) -> str:
    return f"{PROVIDER}/{server}"


def _allowed(caller: identity.Caller, server: str) -> bool:
    """Whether the key may reach the server: one that names models names servers among them."""
    return caller.allows(_model(server))
