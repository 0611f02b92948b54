"""A search of the web, on every wire that has one: how it is asked for, and what is told of it, whole and streamed."""

import json
from typing import Any

import pytest
from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.wires import bedrock_request
from services.models.wires.every import wires_over
from services.runtime.http import session
from tests.models.upstream import Upstream, counter, streamed, target

URL, TITLE = "https://toll.example/prices", "Prices"
TEXT = "Ünlü: the toll is nine crowns. Pay it."
START, END = TEXT.index("the"), TEXT.index(" Pay")
ANNOTATION = {"type": "url_citation", "url": URL, "title": TITLE, "start_index": START, "end_index": END}
NESTED = {"type": "url_citation", "url_citation": {k: v for k, v in ANNOTATION.items() if k != "type"}}
CALL = {"type": "web_search_call", "id": "ws_1", "status": "completed",
        "action": {"type": "search", "query": "toll", "sources": [{"type": "url", "url": URL}]}}  # fmt: skip
OPENED = {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": URL}}
BYTES = {"startIndex": len(TEXT[:START].encode()), "endIndex": len(TEXT[:END].encode()), "text": TEXT[START:END]}
GROUNDED = {
    "webSearchQueries": ["toll", "toll price"],
    "groundingChunks": [{"web": {"uri": URL, "title": TITLE}}],
    "groundingSupports": [{"segment": BYTES, "groundingChunkIndices": [0, 7]}],
}
RESULT = {"type": "web_search_tool_result", "tool_use_id": "srv_1",
          "content": [{"type": "web_search_result", "url": URL, "title": TITLE, "encrypted_content": "x"}]}  # fmt: skip
CITED = {"type": "web_search_result_location", "url": URL, "title": TITLE, "cited_text": "nine", "encrypted_index": "x"}


def request(**more: Any) -> chat.ChatRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="What is the toll?")])
    return chat.ChatRequest(model="m", messages=[message], web_search=chat.WebSearch(**more))


def sse(*events: Any) -> bytes:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in events).encode()


WHOLE: dict[str, Any] = {
    "openai": {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT, "annotations": [NESTED]}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 8},
    },
    "responses": {
        "id": "resp_1",
        "output": [CALL, OPENED, {"type": "message", "content": [{"type": "output_text", "text": TEXT, "annotations": [ANNOTATION]}]}],
        "usage": {"input_tokens": 9, "output_tokens": 8},
    },
    "anthropic": {
        "content": [
            {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "toll"}},
            RESULT,
            {"type": "text", "text": TEXT[:START]},
            {"type": "text", "text": TEXT[START:END], "citations": [CITED]},
            {"type": "text", "text": TEXT[END:]},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 8, "server_tool_use": {"web_search_requests": 1}},
    },
    "gemini": {
        "candidates": [{"content": {"parts": [{"text": TEXT}]}, "finishReason": "STOP", "groundingMetadata": GROUNDED}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 8},
    },
}  # fmt: skip
STREAMED = {
    "openai": sse(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": TEXT}}]},
        {"choices": [{"index": 0, "delta": {"annotations": [NESTED]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8}},
    ) + b"data: [DONE]\n\n",
    "responses": sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        {"type": "response.output_item.done", "output_index": 1, "item": OPENED},
        {"type": "response.content_part.added", "output_index": 2, "content_index": 0, "part": {}},
        {"type": "response.output_text.delta", "output_index": 2, "delta": TEXT},
        {"type": "response.output_text.annotation.added", "output_index": 2, "annotation": {"type": "file_citation"}},
        {"type": "response.output_text.annotation.added", "output_index": 2, "annotation": ANNOTATION},
        {"type": "response.completed", "response": WHOLE["responses"]},
    ),
    "anthropic": sse(
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {**WHOLE["anthropic"]["content"][0], "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"query": "to'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": 'll"}'}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": RESULT},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": TEXT[:START]}},
        {"type": "content_block_stop", "index": 2},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 3, "delta": {"type": "citations_delta", "citation": CITED}},
        {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": TEXT[START:END]}},
        {"type": "content_block_stop", "index": 3},
        {"type": "content_block_start", "index": 4, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": TEXT[END:]}},
        {"type": "content_block_stop", "index": 4},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": WHOLE["anthropic"]["usage"]},
        {"type": "message_stop"},
    ),
    "gemini": sse(
        {"candidates": [{"content": {"parts": [{"text": TEXT[:9]}]}}]},
        {"candidates": [{"content": {"parts": [{"text": TEXT[9:]}]}, "finishReason": "STOP", "groundingMetadata": GROUNDED}],
         "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 8}},
    ),
}  # fmt: skip
QUERIES = {"openai": [], "responses": ["toll"], "anthropic": ["toll"], "gemini": ["toll", "toll price"]}


async def answered(peer: Upstream, wire: str, whole: bool, asked: chat.ChatRequest) -> tuple[chat.Message, chat.Usage]:
    """The message, put together where it streams."""
    async with session() as http:
        adapter, to = wires_over(http, counter())[wire], target(wire, peer.url, web_search=True)
        peer.answer = WHOLE[wire] if whole else STREAMED[wire]
        if whole:
            made = await adapter.complete(to, asked)
            return made.choices[0].message, made.usage
        message = chat.Message()
        for piece in await streamed(adapter, to, asked):
            for one in piece.choices:
                message.parts.add(text=one.content)
                message.lookups.extend(one.lookups)
                message.citations.extend(one.citations)
        return message, piece.usage


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", list(WHOLE))
async def test_an_answer_tells_what_was_searched_and_what_it_rests_on(
    upstream: Upstream, wire: str, whole: bool
) -> None:
    message, usage = await answered(upstream, wire, whole, request())
    text = "".join(one.text for one in message.parts)
    assert text == TEXT and [one.query for one in message.lookups] == QUERIES[wire]
    (cited,) = message.citations
    assert (cited.url, cited.title, text[cited.start : cited.end]) == (URL, TITLE, TEXT[START:END])
    assert cited.quote == ("nine" if wire == "anthropic" else "")
    assert (usage.web_searches, usage.input_tokens, usage.output_tokens) == (1, 9, 8)
    if wire != "openai":
        assert [one.url for one in message.lookups[0].pages] == [URL]


PLACE = {"city": "Bergen", "country": "NO"}
ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai": (
        {"context_size": "low", **PLACE},
        {"web_search_options": {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": PLACE}}},
    ),
    "responses": (
        {"context_size": "low", "most": 2, "allowed_domains": ["a.example"], **PLACE},
        {"tools": [{"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a.example"]},
                    "user_location": {"type": "approximate", **PLACE}}], "max_tool_calls": 2},
    ),
    "anthropic": (
        {"allowed_domains": ["a.example"], **PLACE},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5, "allowed_domains": ["a.example"],
                    "user_location": {"type": "approximate", **PLACE}}]},
    ),
    "gemini": ({}, {"tools": [{"googleSearch": {}}]}),
}  # fmt: skip


@pytest.mark.parametrize("wire", list(ASKED))
async def test_it_is_asked_for_in_the_words_of_the_wire(upstream: Upstream, wire: str) -> None:
    said, wanted = ASKED[wire]
    await answered(upstream, wire, True, request(**said))
    body = upstream.got[0]["body"]
    assert {name: body[name] for name in wanted} == wanted


@pytest.mark.parametrize("wire", ["responses", "anthropic", "gemini"])
async def test_functions_may_stand_beside_it(upstream: Upstream, wire: str) -> None:
    asked = request()
    asked.tools.add(name="look")
    await answered(upstream, wire, True, asked)
    assert "look" in json.dumps(upstream.got[0]["body"]["tools"][0]) and len(upstream.got[0]["body"]["tools"]) == 2


@pytest.mark.parametrize(
    ("wire", "sites"),
    [("openai", "allowed_domains"), ("openai", "blocked_domains"), ("responses", "blocked_domains"),
     ("gemini", "allowed_domains")],
)  # fmt: skip
async def test_sites_that_a_provider_cannot_be_told_are_refused(upstream: Upstream, wire: str, sites: str) -> None:
    with pytest.raises(faults.Unsupported, match="which sites"):
        await answered(upstream, wire, True, request(**{sites: ["a.example"]}))


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini"])
async def test_a_provider_that_does_not_search_is_not_asked(upstream: Upstream, wire: str) -> None:
    async with session() as http:
        with pytest.raises(faults.Unsupported, match="search the web"):
            await wires_over(http, counter())[wire].complete(target(wire, upstream.url, web_search=False), request())
        assert not upstream.got


def test_bedrock_does_not_search() -> None:
    with pytest.raises(faults.Unsupported, match="search the web"):
        bedrock_request.written(target("bedrock", "", web_search=True), request())


@pytest.mark.parametrize(
    ("provider", "wire", "searches"),
    [("openai", "", False), ("openai", "responses", True), ("anthropic", "", True), ("google", "", True),
     ("vertex", "", True), ("house", "anthropic", False), ("bedrock", "", False)],
)  # fmt: skip
def test_who_searches_unless_it_is_said(provider: str, wire: str, searches: bool) -> None:
    assert Entry("m", provider=provider, wire=wire).searches is searches
    assert Entry("m", provider=provider, wire=wire, web_search=not searches).searches is not searches
