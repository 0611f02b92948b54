"""OpenAI's chat wire: OpenAI itself, Azure, vLLM, Ollama, TGI, Groq, Mistral, Together, llama.cpp and more."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2

from services.models import faults
from services.models.counting import Counter
from services.models.wires import drawn, heard, http, realtime, searching, text, voiced
from services.models.wires.adapter import Drawn, Embedded, Heard, Moderated, Reranked, Session, Target, Voiced, Wanted
from services.models.wires.billed import kinds, tier
from services.models.wires.clouds import Door
from services.models.wires.form import Form
from services.models.wires.http import Posting, Signer
from services.models.wires.openai_request import written
from services.models.wires.openai_stream import Reading
from services.runtime.errors import Failure

AZURE, ENTRA = "azure", "entra"
PATH = "chat/completions"
FINISHES = {
    "stop": chat.FINISH_REASON_STOP,
    "length": chat.FINISH_REASON_LENGTH,
    "tool_calls": chat.FINISH_REASON_TOOL_CALLS,
    "function_call": chat.FINISH_REASON_TOOL_CALLS,
    "content_filter": chat.FINISH_REASON_CONTENT_FILTER,
}


@dataclass(slots=True)
class OpenAI:
    http: aiohttp.ClientSession
    count: Counter
    door: Door = field(default_factory=lambda: Door("services.models.wires.entra"))

    async def complete(self, target: Target, request: chat.ChatRequest) -> chat.ChatCompletion:
        raw = text.wanted(target, request)
        asked = (text.written if raw else written)(target, request, stream=False)
        async with self.posted(target, text.PATH if raw else PATH, asked) as response:
            body = await http.parsed(target, response)
        made = http.shaped(target, _whole if raw else completion, body, target.name)
        if not made.choices:
            raise faults.ProviderBroke(model=target.name, why="its answer has no choices")
        if not body.get("usage"):
            made.usage.CopyFrom(self.count.usage(request, made))
        # Over this wire a model searches once, and does not tell.
        made.usage.web_searches = int(request.HasField("web_search"))
        return made

    async def stream(self, target: Target, request: chat.ChatRequest) -> AsyncGenerator[chat.ChatChunk, None]:
        raw = text.wanted(target, request)
        body = (text.written if raw else written)(target, request, stream=True)
        reading, done = Reading(self.count.delta), False
        async with self.posted(target, text.PATH if raw else PATH, body) as response:
            async for together in http.read_together(target, response):
                said = [data for data in together if data.strip() != b"[DONE]"]
                # And on to the end of the body: then the connection can be used again.
                done |= len(said) < len(together)
                came, failure = _read(target, said, _piece if raw else chunk)
                for piece in reading.take(came):
                    yield piece
                if failure is not None:
                    raise failure
        if (not done and reading.end is None) or not reading.whole:
            raise faults.ProviderBroke(model=target.name, why="its stream was cut")
        last = reading.end or chat.ChatChunk(model=target.name)
        last.usage.CopyFrom(
            reading.usage
            or chat.Usage(input_tokens=self.count.prompt(request), output_tokens=reading.tokens, estimated=True)
        )
        last.usage.web_searches = int(request.HasField("web_search"))
        yield last

    async def embed(self, target: Target, texts: list[str], dimensions: int) -> Embedded:
        body: dict[str, Any] = {"model": target.model, "input": texts, "encoding_format": "float"}
        if dimensions:
            body["dimensions"] = dimensions
        async with self.posted(target, "embeddings", body) as response:
            found = await http.parsed(target, response)
        return http.shaped(target, _embedded, found, len(texts))

    async def rerank(self, target: Target, query: str, documents: list[str]) -> Reranked:
        body = {"model": target.model, "query": query, "documents": documents}
        async with self.posted(target, "rerank", body) as response:
            found = await http.parsed(target, response)
        counted = sum(self.count.text(text) for text in (query, *documents))
        return http.shaped(target, _reranked, found, len(documents), counted)

    async def moderate(self, target: Target, texts: list[str]) -> Moderated:
        async with self.posted(target, "moderations", {"model": target.model, "input": texts}) as response:
            found = await http.parsed(target, response)
        return http.shaped(target, _moderated, found, len(texts), sum(map(self.count.text, texts)))

    async def draw(self, target: Target, wanted: Wanted) -> Drawn:
        async with self.posted(target, drawn.path(wanted), drawn.asked(target, wanted)) as response:
            found = await http.parsed(target, response)
        counted, each = self.count.text(wanted.prompt), target.entry.image_tokens
        return http.shaped(target, drawn.read, found, counted, each)

    async def transcribe(self, target: Target, recording: models_pb2.Recording, most_s: int) -> Heard:
        async with self.posted(target, heard.path(recording), heard.asked(target, recording)) as response:
            found = await http.parsed(target, response)
        return http.shaped(target, heard.read, found, most_s, target.entry.second_tokens)

    async def speak(self, target: Target, text: str, options: models_pb2.SpeechOptions) -> AsyncGenerator[Voiced, None]:
        tokens = self.count.text(text) + self.count.text(options.instructions)
        most = voiced.most(tokens, len(text), target.entry.character_tokens)
        async with (
            self.posted(target, "audio/speech", voiced.asked(target, text, options)) as response,
            aclosing(voiced.read(target, response, options.format, most)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    def converse(self, target: Target, transcribes: bool) -> AbstractAsyncContextManager[Session]:
        newest = replace(
            target, entry=replace(target.entry, api_version="")
        )  # Azure's older paths speak a draft of the events
        return realtime.opened(self.http, target, address(newest, "realtime"), self._shown(target), transcribes)

    def posted(self, target: Target, path: str, body: dict[str, Any] | Form) -> Posting:
        return http.posted(self.http, target, address(target, path), self._shown(target), body)

    def _shown(self, target: Target) -> dict[str, str] | Signer:
        """Headers that prove who asks: a key, or on Azure a token of Entra's, which the word `entra` asks for."""
        if target.entry.provider != AZURE:
            return {"authorization": f"Bearer {target.secret}"} if target.secret else {}
        if target.secret == ENTRA or target.secret.lstrip().startswith("{"):
            return lambda _: self._token(target)
        return {"api-key": target.secret} if target.secret else {}

    async def _token(self, target: Target) -> dict[str, str]:
        return (await self.door.access(target)).headers


def address(target: Target, path: str) -> str:
    """Where `path` is found. Azure has one root for all, or, with a version, one for each deployment."""
    if target.entry.provider != AZURE:
        return f"{target.url}/{path}"
    if version := target.entry.api_version:
        return f"{target.url}/openai/deployments/{target.model}/{path}?api-version={version}"
    return f"{target.url}/openai/v1/{path}"


def _read(
    target: Target, events: list[bytes], read: Callable[[dict[str, Any], str], chat.ChatChunk]
) -> tuple[list[chat.ChatChunk], Failure | None]:
    """The pieces of events, and what the first that is none says."""
    came = list[chat.ChatChunk]()
    try:
        for data in events:
            found = http.event_object(target, data)
            if isinstance(found.get("error"), dict):
                return came, _broken(target, found)
            came.append(http.shaped(target, read, found, target.name))
    except Failure as failure:
        return came, failure
    return came, None


def _broken(target: Target, found: dict[str, Any]) -> Failure:
    code = found["error"].get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return http.refusal(target, status, {}, found)


def completion(body: dict[str, Any], model: str) -> chat.ChatCompletion:
    """A `chat.completion` object as our message."""
    made = chat.ChatCompletion(
        id=str(body.get("id") or ""), model=model, system_fingerprint=body.get("system_fingerprint") or ""
    )
    made.created.FromSeconds(int(body.get("created") or time.time()))
    for one in body["choices"]:
        said = one["message"]
        choice = made.choices.add(index=one.get("index") or 0, finish_reason=_finish(one) or chat.FINISH_REASON_STOP)
        message = choice.message
        message.role = chat.ROLE_ASSISTANT
        if (content := said.get("content")) is not None:
            message.parts.add(text=content)
        if said.get("refusal") is not None:
            message.refusal = said["refusal"]
        message.reasoning = said.get("reasoning_content") or said.get("reasoning") or ""
        for call in said.get("tool_calls") or ():
            function = call["function"]
            message.tool_calls.add(
                id=call.get("id") or "", name=function["name"], arguments=function.get("arguments") or "",
                signature=_signature(call),
            )  # fmt: skip
        message.citations.extend(searching.cited(said.get("annotations")))
        choice.logprobs.extend(_logprobs(one.get("logprobs")))
    if body.get("usage") is not None:
        made.usage.CopyFrom(_usage(body))
    return made


def _whole(body: dict[str, Any], model: str) -> chat.ChatCompletion:
    return completion(text.in_chat(body), model)


def _piece(body: dict[str, Any], model: str) -> chat.ChatChunk:
    return chunk(text.in_chat(body), model)


def chunk(body: dict[str, Any], model: str) -> chat.ChatChunk:
    """A `chat.completion.chunk` object as our message."""
    made = chat.ChatChunk(
        id=str(body.get("id") or ""), model=model, system_fingerprint=body.get("system_fingerprint") or ""
    )
    made.created.FromSeconds(int(body.get("created") or time.time()))
    for one in body.get("choices") or ():
        delta = one.get("delta") or {}
        choice = made.choices.add(
            index=one.get("index") or 0,
            content=delta.get("content") or "",
            refusal=delta.get("refusal") or "",
            reasoning=delta.get("reasoning_content") or delta.get("reasoning") or "",
            finish_reason=_finish(one),
        )
        if delta.get("role"):
            choice.role = chat.ROLE_ASSISTANT
        for n, call in enumerate(delta.get("tool_calls") or ()):
            function = call.get("function") or {}
            choice.tool_calls.add(
                index=call.get("index", n), id=call.get("id") or "", name=function.get("name") or "",
                arguments=function.get("arguments") or "", signature=_signature(call),
            )  # fmt: skip
        choice.citations.extend(searching.cited(delta.get("annotations")))
        choice.logprobs.extend(_logprobs(one.get("logprobs")))
    if body.get("usage"):
        made.usage.CopyFrom(_usage(body))
    return made


def _signature(call: dict[str, Any]) -> str:
    """As Google's OpenAI-compatible interface has it."""
    return str(((call.get("extra_content") or {}).get("google") or {}).get("thought_signature") or "")


def _finish(one: dict[str, Any]) -> "chat.FinishReason.ValueType":
    said = one.get("finish_reason")
    return FINISHES.get(said, chat.FINISH_REASON_STOP) if said else chat.FINISH_REASON_UNSPECIFIED


def _usage(body: dict[str, Any]) -> chat.Usage:
    used = body["usage"]
    prompt, written_ = used.get("prompt_tokens_details") or {}, used.get("completion_tokens_details") or {}
    return chat.Usage(
        input_tokens=used.get("prompt_tokens") or 0,
        output_tokens=used.get("completion_tokens") or 0,
        cached_input_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=written_.get("reasoning_tokens") or 0,
        kinds=kinds(
            cache_write_tokens=prompt.get("cache_write_tokens"),
            audio_input_tokens=prompt.get("audio_tokens"),
            image_input_tokens=prompt.get("image_tokens"),
            audio_output_tokens=written_.get("audio_tokens"),
            image_output_tokens=written_.get("image_tokens"),
        ),
        service_tier=tier(body.get("service_tier")),
    )


def _logprobs(found: dict[str, Any] | None) -> list[chat.TokenLogprob]:
    return [_token(entry) for entry in (found or {}).get("content") or ()]


def _token(entry: dict[str, Any]) -> chat.TokenLogprob:
    return chat.TokenLogprob(
        token=entry["token"],
        logprob=entry["logprob"],
        utf8=bytes(entry.get("bytes") or entry["token"].encode()),
        top=[_token(other) for other in entry.get("top_logprobs") or ()],
    )


def _reranked(body: dict[str, Any], texts: int, counted: int) -> Reranked:
    """Jina and vLLM tell tokens, Cohere tells searches."""
    scores = sorted(
        ((int(one["index"]), float(one["relevance_score"])) for one in body["results"]), key=lambda one: -one[1]
    )
    if sorted(index for index, _ in scores) != list(range(texts)):
        raise ValueError
    return Reranked(scores, int((body.get("usage") or {}).get("total_tokens") or counted))


def _moderated(body: dict[str, Any], texts: int, counted: int) -> Moderated:
    """Mistral tells tokens, OpenAI does not."""
    found = [
        {name: (bool(flagged), float(one["category_scores"][name])) for name, flagged in one["categories"].items()}
        for one in body["results"]
    ]
    if len(found) != texts:
        raise ValueError
    return Moderated(found, int((body.get("usage") or {}).get("total_tokens") or counted))


def _embedded(body: dict[str, Any], wanted: int) -> Embedded:
    rows = sorted(body["data"], key=lambda row: row.get("index", 0))
    if len(rows) != wanted:
        raise ValueError
    return Embedded([row["embedding"] for row in rows], (body.get("usage") or {}).get("prompt_tokens") or 0)
