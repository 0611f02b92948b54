"""A provider on Anthropic's wire that searches the web before it answers, where it may: what it found repeats what was said.

Given a tool of its caller's it thinks, and calls it.
"""

import json
from typing import Any

from aiohttp import web

PAGE = {"type": "web_search_result", "url": "https://toll.example/prices", "title": "Prices", "page_age": "2 days",
        "encrypted_content": "c2VhbGVk"}  # fmt: skip
SIGNATURE = "c2lnbmVk"
BEFORE, AFTER = "Let me see. ", " Anything else?"


def blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
    said = body["messages"][-1]["content"]
    text = said if isinstance(said, str) else "".join(one.get("text", "") for one in said)
    if any("input_schema" in one for one in body.get("tools", ())) and text:
        return [
            {"type": "thinking", "thinking": f"They said: {text}", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": SIGNATURE},
            {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {"text": text}},
        ]
    if not any(one.get("type", "").startswith("web_search") for one in body.get("tools", ())):
        return [{"type": "text", "text": f"You said: {text}"}]
    if "twice" in text:
        found: Any = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    else:
        found = [PAGE]
    cited = {"type": "web_search_result_location", "url": PAGE["url"], "title": PAGE["title"],
             "cited_text": "nine crowns", "encrypted_index": "c2VhbGVk"}  # fmt: skip
    return [
        {"type": "text", "text": BEFORE},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": f"toll {text}"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found},
        {"type": "text", "text": f"You said: {text}", "citations": [cited]},
        {"type": "text", "text": AFTER},
    ]


def stop(said: list[dict[str, Any]]) -> str:
    return "tool_use" if said[-1]["type"] == "tool_use" else "end_turn"


def usage(searches: int) -> dict[str, Any]:
    return {"input_tokens": 40 if searches else 10, "output_tokens": 5,
            "server_tool_use": {"web_search_requests": searches}}  # fmt: skip


def events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """As Anthropic streams them: what was found in one go, everything else as it grows."""
    made: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_peer", "usage": {"input_tokens": 10, "output_tokens": 1}}}
    ]

    def add(kind: str, index: int, **more: Any) -> None:
        made.append({"type": f"content_block_{kind}", "index": index, **more})

    said = blocks(body)
    for n, block in enumerate(said):
        match block["type"]:
            case "text":
                add("start", n, content_block={"type": "text", "text": ""})
                for one in block.get("citations", ()):
                    add("delta", n, delta={"type": "citations_delta", "citation": one})
                for k in range(0, len(block["text"]), 4):
                    add("delta", n, delta={"type": "text_delta", "text": block["text"][k : k + 4]})
            case "thinking":
                add("start", n, content_block={"type": "thinking", "thinking": "", "signature": ""})
                for k in range(0, len(block["thinking"]), 5):
                    add("delta", n, delta={"type": "thinking_delta", "thinking": block["thinking"][k : k + 5]})
                add("delta", n, delta={"type": "signature_delta", "signature": block["signature"]})
            case "server_tool_use" | "tool_use":
                add("start", n, content_block={**block, "input": {}})
                query = json.dumps(block["input"])
                for k in range(0, len(query), 7):
                    add("delta", n, delta={"type": "input_json_delta", "partial_json": query[k : k + 7]})
            case _:
                add("start", n, content_block=block)
        add("stop", n)
    made.append({"type": "message_delta", "delta": {"stop_reason": stop(said)}, "usage": usage(len(said) // 5)})
    return [*made, {"type": "message_stop"}]


async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if not body.get("stream"):
        content = blocks(body)
        return web.json_response(
            {
                "id": "msg_peer",
                "type": "message",
                "role": "assistant",
                "model": body["model"],
                "content": content,
                "stop_reason": stop(content),
                "usage": usage(len(content) // 5),
            }
        )
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events(body):
        await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return response
