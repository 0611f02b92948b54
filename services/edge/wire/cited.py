"""What an answer from the web rests on, in Anthropic's words: searches and what they found, and texts by what they rest on."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

SEARCHED = "srvtoolu_"
FAILURES = frozenset(
    (
        "invalid_tool_input",
        "unavailable",
        "max_uses_exceeded",
        "too_many_requests",
        "query_too_long",
        "request_too_large",
    )
)
UNSEALED = ""
"""Anthropic seals what is handed in again. A model searches anew, so nothing is."""


def looked_up(one: chat.WebLookup, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The blocks of a search and of what it found; `name` is its id where its provider gives none."""
    name = one.id or name
    found: Any = [
        {
            "type": "web_search_result",
            "url": page.url,
            "title": page.title,
            "page_age": page.age or None,
            "encrypted_content": UNSEALED,
        }
        for page in one.pages
    ]
    if one.failure:
        code = one.failure if one.failure in FAILURES else "unavailable"
        found = {"type": "web_search_tool_result_error", "error_code": code}
    return (
        {"type": "server_tool_use", "id": name, "name": "web_search", "input": {"query": one.query}},
        {"type": "web_search_tool_result", "tool_use_id": name, "content": found},
    )


def texts(text: str, citations: Iterable[chat.WebCitation]) -> list[dict[str, Any]]:
    """`text` in blocks: each stretch that rests on something, and what lies between."""
    return [text_block(text[start:end], found) for start, end, found in _stretches(len(text), citations) if start < end]


def text_block(text: str, found: Iterable[chat.WebCitation] = ()) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": [cited(one) for one in found] or None}


def cited(one: chat.WebCitation) -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        "url": one.url,
        "title": one.title or None,
        "cited_text": one.quote,
        "encrypted_index": UNSEALED,
    }


def _stretches(
    whole: int, citations: Iterable[chat.WebCitation]
) -> Iterator[tuple[int, int, tuple[chat.WebCitation, ...]]]:
    """From where to where, and what each rests on. All of a text rests on what has no extent; of two that overlap the one that ends
    later has the rest."""
    last = 0
    until = partial(_end, whole)
    for end, found in groupby(sorted(citations, key=until), until):
        among = tuple(found)
        start = max(min(one.start if one.start < one.end else 0 for one in among), last)
        yield last, start, ()
        yield start, end, among
        last = end
    yield last, whole, ()


def _end(whole: int, one: chat.WebCitation) -> int:
    return min(one.end, whole) if one.start < one.end else whole
