"""A provider on OpenAI's Realtime API: a session over a web socket, with its events in the order in which the real one sends them.

It repeats the last text that it was given, word by word, aloud unless the session wants text alone. Zeros are silence, all other sound
is speech, and silence after speech ends an utterance. A text with `call` in it calls the first tool, one with `slowly` takes its time
over each word, one with `cut` is broken off.
"""

import asyncio
import base64
import contextlib
import copy
import itertools
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

SESSION: dict[str, Any] = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "output_modalities": ["audio"],
    "instructions": "",
    "tools": [],
    "max_output_tokens": "inf",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
}
TRANSCRIPTION: dict[str, Any] = {
    "type": "transcription",
    "object": "realtime.transcription_session",
    "id": "sess_2",
    "include": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad", "threshold": 0.5},
        }
    },
}
HEARD = "The toll is nine crowns."


class Talker:
    """One session; what one that `transcribes` hears is written down alone."""

    def __init__(
        self, socket: web.WebSocketResponse, keep: Callable[[dict[str, Any]], None], *, transcribes: bool = False
    ) -> None:
        self.socket, self.keep, self.transcribes = socket, keep, transcribes
        self.session, self.items = copy.deepcopy(TRANSCRIPTION if transcribes else SESSION), list[dict[str, Any]]()
        self.numbers, self.buffer = itertools.count(1), b""
        self.response: asyncio.Task[None] | None = None

    async def run(self) -> None:
        await self.say("session.created", session=self.session)
        async for frame in self.socket:
            if frame.type is WSMsgType.TEXT:
                event = json.loads(frame.data)
                self.keep(event)
                await self.hear(event)

    async def say(self, kind: str, **more: Any) -> None:
        await self.socket.send_json({"type": kind, "event_id": f"event_{next(self.numbers)}", **more})

    async def fail(self, event: dict[str, Any], code: str) -> None:
        fault = {"type": "invalid_request_error", "code": code, "message": code, "param": None}
        await self.say("error", error={**fault, "event_id": event.get("event_id")})

    async def hear(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update" if event["session"].get("type") != self.session["type"]:
                await self.fail(event, "missing_required_parameter")
            case "session.update" if unknown := event["session"].keys() - {*self.session, "model", "tool_choice"}:
                await self.fail(event, f"unknown_parameter {sorted(unknown)}")
            case kind if self.transcribes and not kind.startswith(("session.", "input_audio_buffer.")):
                await self.fail(event, f"unknown {kind}")
            case "session.update":
                _merged(self.session, event["session"])
                await self.say("session.updated", session=self.session)
            case "conversation.item.create":
                await self.add(event["item"])
            case "conversation.item.retrieve":
                found = [one for one in self.items if one["id"] == event["item_id"]]
                await self.say("conversation.item.retrieved", item=found[0])
            case "input_audio_buffer.append":
                await self.listen(base64.b64decode(event["audio"]))
            case "input_audio_buffer.commit" if not self.buffer:
                await self.fail(event, "input_audio_buffer_commit_empty")
            case "input_audio_buffer.commit":
                await self.commit()
            case "response.create" if self.response is not None and not self.response.done():
                await self.fail(event, "conversation_already_has_active_response")
            case "response.create":
                self.begin(event.get("response") or {})
            case "response.cancel" if self.response is not None:
                self.response.cancel()
            case kind:
                await self.fail(event, f"unknown {kind}")

    async def add(self, item: dict[str, Any]) -> None:
        item.setdefault("id", f"item_{next(self.numbers)}")
        self.items.append(item)
        await self.say("conversation.item.added", item=item, previous_item_id=None)
        await self.say("conversation.item.done", item=item, previous_item_id=None)

    async def listen(self, sound: bytes) -> None:
        turns = self.session["audio"]["input"]["turn_detection"]
        if turns is None:
            self.buffer += sound
        elif sound.strip(b"\0"):
            if not self.buffer:
                await self.say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_heard")
            self.buffer += sound
        elif self.buffer:
            await self.say("input_audio_buffer.speech_stopped", audio_end_ms=100, item_id="item_heard")
            await self.commit()
            if turns.get("create_response", True) and not self.transcribes:
                self.begin({})

    async def commit(self) -> None:
        self.buffer, item_id = b"", f"item_{next(self.numbers)}"
        await self.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        await self.add({"id": item_id, "type": "message", "role": "user", "status": "completed",
                        "content": [{"type": "input_audio", "transcript": None}]})  # fmt: skip
        if self.session["audio"]["input"]["transcription"] is not None:
            done = "conversation.item.input_audio_transcription.completed"
            usage = {"type": "duration", "seconds": 2.5}
            if self.transcribes:
                at = {"item_id": item_id, "content_index": 0}
                for n, word in enumerate(HEARD.split(" ")):
                    await self.say(done.replace("completed", "delta"), **at, delta=f" {word}" if n else word)
            await self.say(done, item_id=item_id, content_index=0, transcript=HEARD, usage=usage)

    def begin(self, wanted: dict[str, Any]) -> None:
        self.response = asyncio.create_task(self.responded(wanted))

    async def responded(self, wanted: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # the caller has left
            await self.respond(wanted)

    async def respond(self, wanted: dict[str, Any]) -> None:
        heard: dict[str, Any] = [{}, *self.items, *(wanted.get("input") or ())][-1]
        text = heard.get("output") or next((one["text"] for one in heard.get("content", ()) if one.get("text")), HEARD)
        instructions = wanted.get("instructions") or self.session["instructions"]
        spoken = "text" not in (wanted.get("output_modalities") or self.session["output_modalities"])
        response: dict[str, Any] = {"id": f"resp_{next(self.numbers)}", "object": "realtime.response", "output": [],
                                    "status": "in_progress", "conversation_id": "conv_1"}  # fmt: skip
        await self.say("response.created", response=response)
        status = "completed"
        try:
            tools = wanted.get("tools") or self.session["tools"]
            if tools and "call" in text and "output" not in heard:
                item = await self.call(response["id"], tools[0]["name"], text)
            else:
                item = await self.speak(response["id"], f"{instructions} You said: {text}".strip(), spoken)
            response["output"].append(item)
            self.items.append(item)
        except asyncio.CancelledError:
            status = "cancelled"
        sound = 6 if spoken else 0
        usage = {
            "total_tokens": 34, "input_tokens": 24, "output_tokens": 10,
            "input_token_details": {"text_tokens": 16, "audio_tokens": 8, "image_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": 10 - sound, "audio_tokens": sound},
        }  # fmt: skip
        await self.say("response.done", response={**response, "status": status, "usage": usage})

    async def speak(self, response_id: str, text: str, spoken: bool) -> dict[str, Any]:
        name, kind = ("transcript", "output_audio") if spoken else ("text", "output_text")
        item: dict[str, Any] = {"id": f"item_{next(self.numbers)}", "object": "realtime.item", "type": "message",
                                "role": "assistant", "status": "in_progress", "content": []}  # fmt: skip
        at = {"response_id": response_id, "item_id": item["id"], "output_index": 0}
        await self.say("response.output_item.added", response_id=response_id, output_index=0, item=item)
        await self.say("response.content_part.added", **at, content_index=0, part={"type": kind, name: ""})
        says = "response.output_audio_transcript" if spoken else "response.output_text"
        for n, word in enumerate(text.split(" ")):
            if "cut" in word:
                assert self.socket._writer is not None
                self.socket._writer.transport.abort()
            if "slowly" in text:
                await asyncio.sleep(0.2)
            await self.say(f"{says}.delta", **at, content_index=0, delta=f" {word}" if n else word)
            if spoken:
                sound = base64.b64encode(b"\1" * 4800).decode()
                await self.say("response.output_audio.delta", **at, content_index=0, delta=sound)
        if spoken:
            await self.say("response.output_audio.done", **at, content_index=0)
        part = {"type": kind, name: text}
        await self.say(f"{says}.done", **at, content_index=0, **{name: text})
        await self.say("response.content_part.done", **at, content_index=0, part=part)
        item = {**item, "status": "completed", "content": [part]}
        await self.say("response.output_item.done", response_id=response_id, output_index=0, item=item)
        return item

    async def call(self, response_id: str, tool: str, text: str) -> dict[str, Any]:
        arguments = json.dumps({"about": text})
        item = {"id": f"item_{next(self.numbers)}", "object": "realtime.item", "type": "function_call", "name": tool,
                "call_id": "call_1", "status": "in_progress", "arguments": ""}  # fmt: skip
        at = {"response_id": response_id, "item_id": item["id"], "output_index": 0, "call_id": "call_1"}
        await self.say("response.output_item.added", response_id=response_id, output_index=0, item=item)
        for n in range(0, len(arguments), 5):
            await self.say("response.function_call_arguments.delta", **at, delta=arguments[n : n + 5])
        await self.say("response.function_call_arguments.done", **at, name=tool, arguments=arguments)
        item = {**item, "status": "completed", "arguments": arguments}
        await self.say("response.output_item.done", response_id=response_id, output_index=0, item=item)
        return item


def _merged(holder: dict[str, Any], said: dict[str, Any]) -> None:
    for name, value in said.items():
        if isinstance(value, dict) and isinstance(holder.get(name), dict):
            _merged(holder[name], value)
        else:
            holder[name] = value


async def session(
    request: web.Request, keep: Callable[[dict[str, Any]], None], left: Callable[[], None]
) -> web.StreamResponse:
    """The model `broken-...` opens no session; one that transcribes is told its model within."""
    transcribes = request.query.get("intent") == "transcription"
    model = "ears" if transcribes else request.query["model"]
    if model.startswith("broken"):
        return web.json_response({"error": {"message": "hunter2 leaked", "type": "server"}}, status=500)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    talker = Talker(socket, lambda event: keep({"model": model, **event}), transcribes=transcribes)
    try:
        with contextlib.suppress(ConnectionError):
            await talker.run()
    finally:
        left()
        if talker.response is not None:
            talker.response.cancel()
    return socket
