"""AWS Bedrock's Converse wire. Signing and the framing of streams are botocore's."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer, ParserError
from botocore.session import Session
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.counting import Counter
from services.models.thoughts import Sealing, Thoughts
from services.models.wires import http
from services.models.wires.adapter import Embedded, Target
from services.models.wires.bedrock_request import written
from services.models.wires.billed import kinds
from services.models.wires.http import Posting

FINISHES = {
    "end_turn": chat.FINISH_REASON_STOP,
    "stop_sequence": chat.FINISH_REASON_STOP,
    "tool_use": chat.FINISH_REASON_TOOL_CALLS,
    "max_tokens": chat.FINISH_REASON_LENGTH,
    "model_context_window_exceeded": chat.FINISH_REASON_LENGTH,
    "guardrail_intervened": chat.FINISH_REASON_CONTENT_FILTER,
    "content_filtered": chat.FINISH_REASON_CONTENT_FILTER,
}
STATUS_OF = {"throttlingException": 429, "validationException": 400, "serviceUnavailableException": 503}
SERVICE = "bedrock"
TITAN = "amazon.titan-embed"


@dataclass(slots=True)
class Bedrock:
    http: aiohttp.ClientSession
    count: Counter
    thoughts: Thoughts
    _session: Session | None = None

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        body = written(target, request, self.thoughts)
        async with self._posted(target, "converse", body) as response:
            found = await http.parsed(target, response)
        made: chat.ChatCompletion = http.shaped(target, completion, found, target.name, self._sealing(target))
        return made

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        reading, body = _Reading(target.name, self._sealing(target)), written(target, request, self.thoughts)
        async with self._posted(target, "converse-stream", body) as response:
            async for kind, event in _frames(target, response):
                if kind.endswith("Exception"):
                    raise http.refusal(target, STATUS_OF.get(kind, 500), {}, {"error": {"code": kind}})
                piece = http.shaped(target, lambda body, kind=kind: reading.piece(kind, body), event)
                if piece is not None:
                    yield piece
        if not reading.stopped:
            raise faults.ProviderBroke(model=target.name, why="its stream was cut")
        yield reading.end(self.count, request)

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        """Titan takes one text a call, Cohere's models many."""
        more = {"dimensions": dimensions} if dimensions else {}
        if TITAN in target.model:
            found = await asyncio.gather(*(self._invoked(target, {"inputText": text, **more}) for text in texts))
            return http.shaped(
                target,
                lambda bodies: Embedded(
                    [one["embedding"] for one in bodies], sum(one["inputTextTokenCount"] for one in bodies)
                ),
                found,
            )
        body = await self._invoked(target, {"texts": texts, "input_type": "search_document"})
        counted = sum(self.count.text(text) for text in texts)
        return http.shaped(target, lambda body: Embedded(body["embeddings"], counted), body)

    def _sealing(self, target: Target) -> Sealing:
        return partial(self.thoughts.sealed, target.model)

    async def _invoked(self, target: Target, body: dict[str, Any]) -> dict[str, Any]:
        async with self._posted(target, "invoke", body) as response:
            return await http.parsed(target, response)

    def _posted(self, target: Target, method: str, body: dict[str, Any]) -> Posting:
        url = f"{target.url or _endpoint(target)}/model/{quote(target.model, safe='')}/{method}"
        return http.posted(self.http, target, url, lambda data: self._signed(target, url, data), body)

    async def _signed(self, target: Target, url: str, data: bytes) -> dict[str, str]:
        """Headers that prove who asks: a Bedrock API key, or a signature by an AWS key.

        The secret is an API key, or `ACCESS_KEY:SECRET_KEY` with `:SESSION_TOKEN` where there is one; without any,
        botocore looks where AWS's own tools do (environment, profile, the machine's role).
        """
        if target.secret and ":" not in target.secret:
            return {"authorization": f"Bearer {target.secret}"}
        if target.secret:
            credentials: Any = Credentials(*target.secret.split(":", 2))
        else:
            credentials = await asyncio.to_thread(self._found)  # may ask the machine's metadata service
        if credentials is None:
            raise faults.ProviderDenied(model=target.name, status="no AWS credentials are found")
        request = AWSRequest("POST", url, data=data, headers={"content-type": "application/json"})
        SigV4Auth(credentials, SERVICE, target.place.region).add_auth(request)
        return dict(request.headers.items())

    def _found(self) -> Any:
        if self._session is None:
            self._session = Session()
        credentials = self._session.get_credentials()
        return None if credentials is None else credentials.get_frozen_credentials()


def _endpoint(target: Target) -> str:
    return f"https://bedrock-runtime.{target.place.region}.amazonaws.com"


async def _frames(target: Target, response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Events of an `application/vnd.amazon.eventstream`: their kind and their JSON."""
    buffer = EventStreamBuffer()
    async for piece in http.pieces(target, response):
        buffer.add_data(piece)
        try:
            for frame in buffer:
                named: Any = frame.headers
                kind = named.get(":exception-type") or named.get(":event-type") or ""
                yield kind, http.event_object(target, frame.payload or b"{}")
        except ParserError as error:
            raise faults.ProviderBroke(model=target.name, why=type(error).__name__) from None


def completion(body: dict[str, Any], model: str, sealed: Sealing) -> chat.ChatCompletion:
    """A `ConverseResponse` as our message."""
    made = chat.ChatCompletion(model=model)
    made.created.FromSeconds(int(time.time()))
    choice = made.choices.add(finish_reason=FINISHES.get(body["stopReason"], chat.FINISH_REASON_STOP))
    message = choice.message
    message.role = chat.ROLE_ASSISTANT
    text = ""
    for block in body["output"]["message"]["content"]:
        text += block.get("text") or ""
        if (call := block.get("toolUse")) is not None:
            arguments = orjson.dumps(call["input"]).decode()
            message.tool_calls.add(id=call["toolUseId"], name=call["name"], arguments=arguments)
        if (thought := block.get("reasoningContent")) is not None:
            said = thought.get("reasoningText") or {}
            message.reasoning += said.get("text") or ""
            message.thoughts.extend(_signed({**said, **thought}, sealed))
    if text:
        message.parts.add(text=text)
    made.usage.CopyFrom(_usage(body["usage"]))
    return made


@dataclass(slots=True)
class _Reading:
    """Converse's events one after the other, as our pieces."""

    model: str
    sealed: Sealing
    stopped: bool = False
    usage: chat.Usage | None = None
    written: int = 0
    _finish: "chat.FinishReason.ValueType" = chat.FINISH_REASON_STOP
    _calls: dict[int, int] = field(default_factory=dict)
    _thoughts: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    """Blocks that are being thought: each field in the pieces that it comes in."""

    def piece(self, kind: str, event: dict[str, Any]) -> chat.ChatChunk | None:
        made = chat.ChatChunk(model=self.model)
        made.created.FromSeconds(int(time.time()))
        match kind:
            case "messageStart":
                made.choices.add(role=chat.ROLE_ASSISTANT)
            case "contentBlockStart" if "toolUse" in event["start"]:
                call, n = event["start"]["toolUse"], len(self._calls)
                self._calls[event["contentBlockIndex"]] = n
                made.choices.add().tool_calls.add(index=n, id=call["toolUseId"], name=call["name"])
            case "contentBlockDelta":
                self._delta(made.choices.add(), event)
            case "contentBlockStop" if event["contentBlockIndex"] in self._thoughts:
                pieces = self._thoughts.pop(event["contentBlockIndex"])
                whole = _signed({name: "".join(said) for name, said in pieces.items()}, self.sealed)
                if not whole:
                    return None
                made.choices.add().thoughts.extend(whole)
            case "messageStop":
                self.stopped = True
                self._finish = FINISHES.get(event["stopReason"], chat.FINISH_REASON_STOP)
                return None
            case "metadata":
                self.usage = _usage(event["usage"])
                return None
            case _:
                return None
        return made

    def end(self, count: Counter, request: chat.ChatRequest) -> chat.ChatChunk:
        estimated = chat.Usage(input_tokens=0, output_tokens=self.written // 4, estimated=True)
        if self.usage is None:
            estimated.input_tokens = count.prompt(request)
        made = chat.ChatChunk(model=self.model, usage=self.usage or estimated)
        made.created.FromSeconds(int(time.time()))
        made.choices.add(finish_reason=self._finish)
        return made

    def _delta(self, choice: chat.ChoiceDelta, event: dict[str, Any]) -> None:
        delta = event["delta"]
        choice.content = delta.get("text") or ""
        if (thought := delta.get("reasoningContent")) is not None:
            choice.reasoning = thought.get("text") or ""
            fields = self._thoughts.setdefault(event["contentBlockIndex"], {})
            for name, said in thought.items():
                fields.setdefault(name, []).append(said)
        if (call := delta.get("toolUse")) is not None:
            choice.tool_calls.add(index=self._calls[event["contentBlockIndex"]], arguments=call["input"])
        self.written += len(choice.content) + len(choice.reasoning)


def _signed(thought: dict[str, Any], sealed: Sealing) -> list[str]:
    """A thought that its model wants back: as Anthropic has it, whose models these are."""
    if said := thought.get("redactedContent"):
        return [sealed({"type": "redacted_thinking", "data": said})]
    if signature := thought.get("signature"):
        return [sealed({"type": "thinking", "thinking": thought.get("text") or "", "signature": signature})]
    return []


def _usage(used: dict[str, Any]) -> chat.Usage:
    """Converse counts what its cache held apart from `inputTokens`; we count it in."""
    cached, made = used.get("cacheReadInputTokens") or 0, used.get("cacheWriteInputTokens") or 0
    return chat.Usage(
        input_tokens=used["inputTokens"] + cached + made,
        output_tokens=used["outputTokens"],
        cached_input_tokens=cached,
        kinds=kinds(cache_write_tokens=made),
    )
