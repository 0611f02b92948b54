"""Answers on whose way tools are called: the model is asked, what it asks for is called and told to it, until it answers.

Each time that a model is asked is a request of its own, with its own hold, guard and cache; each call goes a tool's whole road.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.tools.v1 import tools_pb2

from services.orchestrator import results
from services.orchestrator.failures import NoTools, ToolsAndChoices
from services.orchestrator.tooling import Tooling
from services.runtime import mcp
from services.runtime.errors import Failure
from services.runtime.status import info_of

CALLS = 16
"""Where nobody says how many there may be."""
MOST_TOOLS = 128
"""That are shown to a model: providers take no more."""
LEDGER = "ledger.tollway"
"""Whose refusals end the request: another call would be refused as well."""
EVERY = mcp.named(mcp.EVERY, mcp.EVERY)
ENOUGH = "no further calls are allowed"

Complete = Callable[[pb.CompleteRequest], Awaitable[pb.CompleteResponse]]
Stream = Callable[[pb.StreamCompleteRequest], AsyncGenerator[pb.StreamCompleteResponse, None]]


@dataclass(slots=True)
class Work:
    """One answer under way."""

    conversation: chat.ChatRequest
    """As it is asked next."""
    options: pb.Options
    tools: Mapping[str, tools_pb2.Tool]
    """That may be called, by their names in the mesh."""
    left: int
    """Calls."""
    rounds: int = 0
    steps: list[chat.ToolStep] = field(default_factory=list)
    usage: chat.Usage = field(default_factory=chat.Usage)
    cost: int = 0
    held: int = 0

    def wanted(self, said: chat.Message) -> list[chat.ToolCall]:
        """The calls that are ours to make; none where the caller has one to make first."""
        ours = [one for one in said.tool_calls if one.name in self.tools]
        return ours if len(ours) == len(said.tool_calls) else []

    def asked(self) -> pb.CompleteRequest:
        """The next request. A further one has a key of its own: it is other work."""
        made = pb.CompleteRequest(chat=self.conversation, options=self.options)
        if self.rounds and made.options.idempotency_key:
            made.options.idempotency_key = f"{made.options.idempotency_key}/{self.rounds}"
        return made

    def answered(self, completion: chat.ChatCompletion, road: pb.Road) -> chat.Message:
        """Counts what a round has come to; what the model said."""
        for one in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "web_searches"):
            setattr(self.usage, one, getattr(self.usage, one) + getattr(completion.usage, one))
        self.usage.estimated |= completion.usage.estimated
        self.cost += road.cost_nano_usd
        self.held += road.held_nano_usd
        self.options.sealed_map = road.sealed_map or self.options.sealed_map
        return completion.choices[0].message if completion.choices else chat.Message()

    def told(self, said: chat.Message, steps: Sequence[chat.ToolStep]) -> None:
        """Goes on from what the model said, and from what came of it."""
        self.conversation.messages.add(
            role=chat.ROLE_ASSISTANT, parts=said.parts, tool_calls=said.tool_calls, thoughts=said.thoughts
        )
        for one in steps:
            message = self.conversation.messages.add(role=chat.ROLE_TOOL, tool_call_id=one.id, failed=one.failed)
            message.parts.add(text=one.output)
        self.rounds += 1
        if self.conversation.tool_choice.mode != chat.ToolChoice.MODE_AUTO:  # it has called what it had to
            self.conversation.tool_choice.Clear()
        if self.left <= 0:
            self.conversation.tool_choice.mode = chat.ToolChoice.MODE_NONE

    def finish(self, road: pb.Road) -> None:
        """Makes the last round's road that of the whole."""
        road.held_nano_usd = self.held
        if road.HasField("cost_nano_usd"):
            road.cost_nano_usd = self.cost


@dataclass(frozen=True, slots=True)
class Agent:
    tooling: Tooling

    async def complete(self, request: pb.CompleteRequest, once: Complete) -> pb.CompleteResponse:
        """
        Raises:
            NoTools, ToolsAndChoices
            AioRpcError, Failure: what a model's road says, or the ledger of a call.
        """
        work = await self._begun(request.chat, request.options)
        while True:
            made = await once(work.asked())
            said = work.answered(made.completion, made.road)
            if not (calls := work.wanted(said)):
                said.steps.extend(work.steps)
                made.completion.usage.MergeFrom(work.usage)
                work.finish(made.road)
                return made
            work.told(said, await self._called(work, calls))

    async def stream(
        self, request: pb.StreamCompleteRequest, once: Stream
    ) -> AsyncGenerator[pb.StreamCompleteResponse, None]:
        """The pieces of every round as one answer, its steps where they were made. Calls that are the caller's to make come at the end, each whole.

        Raises:
            As [complete][].
        """
        work, whole, begun = await self._begun(request.chat, request.options), chat.ChatCompletion(), False
        while True:
            asked = work.asked()
            round_ = once(pb.StreamCompleteRequest(chat=asked.chat, options=asked.options, whole=True))
            last = pb.StreamCompleteResponse()
            async with aclosing(round_) as pieces:
                async for piece in pieces:
                    if piece.HasField("completion"):
                        last = piece
                    elif not piece.HasField("road"):
                        if _shown(piece.chunk):
                            yield piece
                    elif not begun:
                        begun = True
                        yield piece
            said = work.answered(last.completion, last.road)
            _grow(whole, last.completion)
            if not (calls := work.wanted(said)):
                break
            steps = await self._called(work, calls)
            work.told(said, steps)
            yield pb.StreamCompleteResponse(chunk=_framed(last.chunk, chat.ChoiceDelta(steps=steps)))
        if ending := _ending(last):
            yield ending
        last.chunk.usage.MergeFrom(work.usage)
        work.finish(last.road)
        last.ClearField("completion")
        if request.whole and whole.choices:
            whole.choices[0].message.steps.extend(work.steps)
            whole.usage.CopyFrom(work.usage)
            last.completion.CopyFrom(whole)
        yield last

    async def _begun(self, asked: chat.ChatRequest, options: pb.Options) -> Work:
        if asked.n > 1:
            raise ToolsAndChoices
        own, offered = {one.name for one in asked.tools}, await self._offered(options.tools)
        tools = {name: one for name, one in offered.items() if name not in own}
        work = Work(chat.ChatRequest(), pb.Options(), tools, options.tools.most_calls or CALLS)
        work.conversation.CopyFrom(asked)
        work.options.CopyFrom(options)
        work.options.ClearField("tools")
        for name, one in tools.items():
            work.conversation.tools.add(name=name, description=one.description, parameters_json=one.input_schema_json)
        return work

    async def _offered(self, wanted: pb.ToolUse) -> Mapping[str, tools_pb2.Tool]:
        found: dict[str, tools_pb2.Tool] = {}
        for server in wanted.servers or ("",):
            token = ""
            while True:
                page = await self.tooling.offer(pb.ListToolsRequest(server=server, page_token=token))
                found |= {one.name: one for one in page.tools if _among(one, wanted.tools)}
                if not (token := page.next_page_token):
                    break
        if not found:
            raise NoTools(servers=", ".join(wanted.servers) or "all of them")
        return dict(sorted(found.items())[:MOST_TOOLS])

    async def _called(self, work: Work, calls: Sequence[chat.ToolCall]) -> list[chat.ToolStep]:
        """What came of the calls, which are made at the same time."""
        allowed, work.left = max(work.left, 0), work.left - len(calls)
        found = await asyncio.gather(*(self._step(work, one) for one in calls[:allowed]), return_exceptions=True)
        for one in found:  # once none of them is under way any more
            if isinstance(one, BaseException):
                raise one
        made = [one for one in found if isinstance(one, chat.ToolStep)]
        made += [_step(work, one, ENOUGH, failed=True) for one in calls[allowed:]]
        work.steps += made
        return made

    async def _step(self, work: Work, call: chat.ToolCall) -> chat.ToolStep:
        request = pb.CallToolRequest(name=call.name, arguments_json=call.arguments, sealed_map=work.options.sealed_map)
        try:
            made = await self.tooling.call(request)
        except grpc.aio.AioRpcError as error:
            if info_of(error).domain == LEDGER:
                raise
            return _step(work, call, error.details() or error.code().name, failed=True)
        except Failure as failure:
            return _step(work, call, str(failure), failed=True)
        return _step(work, call, results.told(made.result), failed=made.result.failed)


def _among(tool: tools_pb2.Tool, wanted: Collection[str]) -> bool:
    return not wanted or any(name in wanted for name in (tool.name, mcp.named(tool.server, mcp.EVERY), EVERY))


def _step(work: Work, call: chat.ToolCall, output: str, *, failed: bool) -> chat.ToolStep:
    server = work.tools[call.name].server
    name = mcp.own_name(call.name, server)
    return chat.ToolStep(id=call.id, server=server, name=name, arguments=call.arguments, output=output, failed=failed)


def _shown(chunk: chat.ChatChunk) -> bool:
    """Takes from a piece what is told in the end; whether anything is left of it."""
    for delta in chunk.choices:
        del delta.tool_calls[:]
        delta.ClearField("finish_reason")
    return any(delta.ListFields() for delta in chunk.choices)


def _ending(last: pb.StreamCompleteResponse) -> pb.StreamCompleteResponse | None:
    """The caller's calls, and why it ended."""
    if not last.completion.choices:
        return None
    choice = last.completion.choices[0]
    delta = chat.ChoiceDelta(finish_reason=choice.finish_reason)
    for n, call in enumerate(choice.message.tool_calls):
        delta.tool_calls.add(index=n, id=call.id, name=call.name, arguments=call.arguments, signature=call.signature)
    return pb.StreamCompleteResponse(chunk=_framed(last.chunk, delta))


def _framed(chunk: chat.ChatChunk, delta: chat.ChoiceDelta) -> chat.ChatChunk:
    return chat.ChatChunk(id=chunk.id, model=chunk.model, created=chunk.created, choices=[delta])


def _grow(whole: chat.ChatCompletion, made: chat.ChatCompletion) -> None:
    """Adds what a round said to the answer that all of them make."""
    if not (whole.choices and made.choices):
        whole.MergeFrom(made)
        return
    message, said = whole.choices[0].message, made.choices[0].message
    message.parts.extend(said.parts)
    message.reasoning += said.reasoning
    message.thoughts.extend(said.thoughts)
    del message.tool_calls[:]
    message.tool_calls.extend(said.tool_calls)
    whole.choices[0].finish_reason = made.choices[0].finish_reason
