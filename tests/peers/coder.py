"""A model that a coding agent drives, on OpenAI's wire: asked to `write down` a word, it runs a command in whichever shell the agent offers, and
then says what came of it."""

import json
import re
from typing import Any

from aiohttp import web

WANTED = re.compile(r"Write down (\S+)")
FILE = "made.txt"


async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Streamed, as agents ask for it; whole, where they ask so."""
    call, text = _call(body), f"Done: {_words(body['messages'][-1])[:200]}"
    message: dict[str, Any] = (
        {"role": "assistant", "content": None, "tool_calls": [call]} if call else {"role": "assistant", "content": text}
    )
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    frame = {"id": "chatcmpl-coder", "created": 1700000000, "model": body["model"]}
    finish = "tool_calls" if call else "stop"
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return web.json_response({**frame, "object": "chat.completion", "choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    deltas = (
        [{"tool_calls": [{"index": 0, **call}]}]
        if call
        else [{"content": word} for word in re.findall(r"\S+\s*", text)]
    )
    pieces = [{"delta": delta, "finish_reason": None} for delta in ({"role": "assistant"}, *deltas)]
    for piece in (*pieces, {"delta": {}, "finish_reason": finish}):
        event = {**frame, "object": "chat.completion.chunk", "choices": [{"index": 0, "logprobs": None, **piece}]}
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    last = {**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
    return response


def _call(body: dict[str, Any]) -> dict[str, Any] | None:
    if body["messages"][-1]["role"] == "tool":
        return None
    said = "".join(_words(one) for one in body["messages"] if one["role"] == "user")
    offered = {one["function"]["name"] for one in body.get("tools", ())}
    if (wanted := WANTED.search(said)) is None:
        return None
    command = f"echo '{wanted[1]}' > {FILE} && cat {FILE}"
    script = f"const made = await tools.exec_command({{cmd: {json.dumps(command)}}}); text(JSON.stringify(made));"
    shells: dict[str, dict[str, Any]] = {
        "Bash": {"command": command, "description": "writes it down"},
        "bash": {"command": command, "description": "writes it down"},
        "run_shell_command": {"command": command, "description": "writes it down", "is_background": False},
        "exec_command": {"cmd": command},
        "functions__exec": {"input": script},
    }
    for name, arguments in shells.items():
        if name in offered:
            return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return None


def _words(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
