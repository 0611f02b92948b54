"""A provider on OpenAI's wire that records what it got and does what the model's name says.

`echo` repeats the last message, whole or word by word; `tools` calls the first tool; `busy` answers 429; `cut` and `cut-...` break their
stream off; `late` takes a second and a half; `slow` never answers, and notes when its caller leaves; `shapeless` answers
no OpenAI object; `coder` is what coding agents drive; `quiet` leaves usage out; `private` says an invented card number. `broken` and `broken-...` answer 500:
each test has one of its own, since a breaker opens after two such requests.
"""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.peers import claude, coder, talker

SIGNATURE = "c2lnbmVk"
PRIVATE = "Try the card 4111 1111 1111 1111 instead."


class Provider:
    """What was asked, in order; and how callers left."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.left = 0
        self.url = ""

    def asked(self, model: str = "") -> list[dict[str, Any]]:
        return [one for one in self.requests if not model or one["model"] == model]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        if body["model"].startswith("broken"):
            return web.json_response({"error": {"message": "hunter2 leaked", "type": "server"}}, status=500)
        match body["model"]:
            case "busy":
                return web.json_response(
                    {"error": {"message": "slow down", "type": "rate_limit"}}, status=429, headers={"retry-after": "7"}
                )
            case "shapeless":
                return web.json_response(["no", "object"])
            case "coder":
                return await coder.answer(request, body)
            case "slow":
                return await self._slow()
            case "late":
                await asyncio.sleep(1.5)
        return await self._streamed(request, body) if body.get("stream") else web.json_response(self._whole(body))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Goes on with the text's own last word, up to what comes after."""
        body = await request.json()
        self.requests.append(body)
        text = f" and {body['prompt'].split()[-1]}{' then ' if body.get('suffix') else ''}"
        frame = {"id": "cmpl-peer", "object": "text_completion", "created": 1700000000, "model": body["model"]}

        def said(text: str, finish: str | None) -> dict[str, Any]:
            return {**frame, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}

        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        if not body.get("stream"):
            return web.json_response({**said(text, "length"), "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        pieces = [said(text[n : n + 4], None) for n in range(0, len(text), 4)]
        for event in (*pieces, said("", "length"), {**frame, "choices": [], "usage": usage}):
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))

        def left() -> None:
            self.left += 1

        return await talker.session(request, self.requests.append, left)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        return await claude.answer(request, body)

    async def rerank(self, request: web.Request) -> web.Response:
        """By the words that a text shares with the query."""
        body = await request.json()
        self.requests.append(body)
        query = set(body["query"].lower().split())
        scores = [len(query & set(text.lower().split())) / len(query) for text in body["documents"]]
        results = [{"index": n, "relevance_score": score} for n, score in enumerate(scores)]
        return web.json_response({"model": body["model"], "results": results, "usage": {"total_tokens": 21}})

    async def images(self, request: web.Request) -> web.Response:
        """As gpt-image-1 does: files, and the tokens that they are billed for. The form of an edit is kept as it came."""
        if edited := request.path.endswith("edits"):
            form = await request.post()
            files = [(name, one) for name, one in form.items() if isinstance(one, web.FileField)]
            body: dict[str, Any] = {name: one for name, one in form.items() if isinstance(one, str)}
            body["files"] = [
                (name, one.filename, one.content_type, one.file.read().decode("latin-1")) for name, one in files
            ]
        else:
            body = await request.json()
        self.requests.append(body)
        count, seen = int(body["n"]), 300 if edited else 0
        return web.json_response(
            {
                "created": 1,
                "size": body.get("size", "1024x1024"),
                "quality": "low",
                "output_format": "png",
                "background": "opaque",
                "data": [{"b64_json": base64.b64encode(f"picture {n}".encode()).decode()} for n in range(count)],
                "usage": {
                    "input_tokens": 12 + seen,
                    "output_tokens": 272 * count,
                    "total_tokens": 12 + seen + 272 * count,
                    "input_tokens_details": {"text_tokens": 12, "image_tokens": seen},
                },
            }
        )

    async def transcriptions(self, request: web.Request) -> web.Response:
        """As whisper-1 does; the form is kept as it came."""
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        granular = form.getall("timestamp_granularities[]", [])
        fields = {name: value for name, value in form.items() if name not in ("file", "timestamp_granularities[]")}
        kept = {"file": (file.filename, file.file.read().decode("latin-1")), "granular": granular, "path": request.path}
        self.requests.append({**fields, **kept})
        usage = {"type": "duration", "seconds": 7}
        said: dict[str, Any] = {"text": "The toll is nine crowns. Pay it.", "usage": usage}
        if form["response_format"] == "verbose_json":
            said |= {"task": "transcribe", "language": "english", "duration": 6.5}
            if "segment" in granular or request.path.endswith("translations"):
                parts = ((0.0, 3.25, " The toll is nine crowns."), (3.25, 3661.5, " Pay it."))
                said["segments"] = [{"id": n, "start": s, "end": e, "text": t} for n, (s, e, t) in enumerate(parts)]
            if "word" in granular:
                said["words"] = [{"start": 0.0, "end": 0.5, "word": "The"}]
        return web.json_response(said)

    async def speech(self, request: web.Request) -> web.StreamResponse:
        """As tts-1 does, or with `stream_format` as gpt-4o-mini-tts. A text with `cough` breaks off; of one with `endlessly` there is no end."""
        body = await request.json()
        self.requests.append(body)
        pieces = [b"RIFF", *(word.encode() for word in body["input"].split())]
        as_events = body.get("stream_format") == "sse"
        kind = "text/event-stream" if as_events else "audio/wav"
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)

        async def said(piece: bytes) -> None:
            told = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
            await response.write(f"data: {json.dumps(told)}\n\n".encode() if as_events else piece)

        for piece in pieces:
            await said(piece)
            if piece == b"cough" and request.transport is not None:
                request.transport.abort()
                return response
        if b"endlessly" in pieces:
            await self._endlessly(said)
        if as_events:
            usage = {"input_tokens": 9, "output_tokens": 60, "total_tokens": 69}
            await response.write(f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n".encode())
        return response

    async def _endlessly(self, said: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            while True:
                await said(b"la")
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise

    async def moderations(self, request: web.Request) -> web.Response:
        """A text that threatens is flagged."""
        body = await request.json()
        self.requests.append(body)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        results = [
            {
                "flagged": (threat := "hurt you" in text),
                "categories": {"harassment/threatening": threat, "violence": threat, "self-harm": False},
                "category_scores": {"harassment/threatening": 0.9 * threat, "violence": 0.8 * threat, "self-harm": 0.0},
            }
            for text in texts
        ]
        return web.json_response({"id": "modr-1", "model": body["model"], "results": results})

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        data = [{"object": "embedding", "index": n, "embedding": [float(n), 1.0]} for n, _ in enumerate(body["input"])]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def _slow(self) -> web.Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.left += 1
            raise
        return web.json_response({})

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": _text(body)}
        finish = "stop"
        if body["model"] == "tools" and body["messages"][-1]["role"] != "tool":
            function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps({"text": _said(body)})}
            message = {"role": "assistant", "content": None, "tool_calls": [_call(function)]}
            finish = "tool_calls"
        made = {
            "id": "chatcmpl-peer",
            "object": "chat.completion",
            "created": 1700000000,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        }
        return made if body["model"] == "quiet" else {**made, "usage": _usage(body)}

    async def _streamed(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for event in self._events(body):
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
                if body["model"].startswith("cut") and event["choices"] and event["choices"][0]["delta"].get("content"):
                    assert request.transport is not None
                    request.transport.close()
                    return response
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionResetError, asyncio.CancelledError):
            self.left += 1
            raise
        return response

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        frame = {
            "id": "chatcmpl-peer",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": body["model"],
        }

        def piece(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            return {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

        yield piece({"role": "assistant", "content": ""})
        if body["model"] == "tools" and body["messages"][-1]["role"] != "tool":
            function = {"name": body["tools"][0]["function"]["name"], "arguments": ""}
            arguments = json.dumps({"text": _said(body)})
            yield piece({"tool_calls": [{"index": 0, **_call(function, arguments)}]})
            for n in range(0, len(arguments), 5):
                yield piece({"tool_calls": [{"index": 0, "function": {"arguments": arguments[n : n + 5]}}]})
            yield piece({}, "tool_calls")
        else:
            text = _text(body)
            for n in range(0, len(text), 4):
                yield piece({"content": text[n : n + 4]})
                await asyncio.sleep(0.05 if body["model"] in ("endless", "typist") else 0)
            yield piece({}, "stop")
        if body["model"] != "quiet" and body.get("stream_options", {}).get("include_usage"):
            yield {**frame, "choices": [], "usage": _usage(body)}


def _said(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _text(body: dict[str, Any]) -> str:
    if body["model"] == "private":
        return PRIVATE
    return "word " * 2000 if body["model"] == "endless" else f"You said: {_said(body)}"


def _call(function: dict[str, str], arguments: str = "") -> dict[str, Any]:
    """With a signature where its arguments speak of one."""
    asked = "signed" in (arguments or function["arguments"])
    signed = {"extra_content": {"google": {"thought_signature": SIGNATURE}}} if asked else {}
    return {"id": "call_1", "type": "function", "function": function, **signed}


def _usage(body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    content = body["messages"][-1]["content"]
    if not isinstance(content, str) and any(part["type"] == "input_audio" for part in content or ()):
        made["prompt_tokens_details"] = {"audio_tokens": 8, "cached_tokens": 0}
    return made


@contextmanager
def provider() -> Iterator[Provider]:
    """Serves from a thread of its own, whatever loop a test runs on."""
    peer, loop, ready = Provider(), asyncio.new_event_loop(), threading.Event()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_post("/v1/chat/completions", peer.chat)
    application.router.add_get("/v1/realtime", peer.realtime)
    application.router.add_post("/v1/completions", peer.completions)
    application.router.add_post("/v1/messages", peer.messages)
    application.router.add_post("/v1/embeddings", peer.embeddings)
    application.router.add_post("/v1/rerank", peer.rerank)
    application.router.add_post("/v1/moderations", peer.moderations)
    application.router.add_post("/v1/audio/speech", peer.speech)
    application.router.add_post("/v1/audio/transcriptions", peer.transcriptions)
    application.router.add_post("/v1/audio/translations", peer.transcriptions)
    application.router.add_post("/v1/images/edits", peer.images)
    application.router.add_post("/v1/images/generations", peer.images)

    async def serve() -> web.AppRunner:
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        return runner

    def work() -> None:
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield peer
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
