"""A search of the web that a provider makes for its model: how it is asked for, and what is told of it, in the words of each wire."""

from collections.abc import Iterable, Mapping
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models import faults
from services.models.catalogue import Entry
from services.models.wires.adapter import Target

USUAL = 5
"""Searches at most, where nobody says how many."""
PLACE = ("city", "region", "country", "timezone")
CLAUDE = {"type": "web_search_20250305", "name": "web_search"}
CALL, SEARCH = "web_search_call", "search"
CITED = "url_citation"


def asked(target: Target, request: chat.ChatRequest) -> chat.WebSearch | None:
    """What is asked for; None where nothing is.

    Raises:
        faults.Unsupported: the model's provider does not search.
    """
    if not request.HasField("web_search"):
        return None
    if not target.entry.searches:
        raise faults.Unsupported(model=target.name, what="search the web")
    return request.web_search


def fitted(entry: Entry, request: chat.ChatRequest) -> chat.ChatRequest:
    """What a model is asked: a search that is one of several tools is not offered to one that cannot."""
    if not (request.HasField("web_search") and request.web_search.offered) or entry.searches:
        return request
    made = chat.ChatRequest()
    made.CopyFrom(request)
    made.ClearField("web_search")
    return made


def most(search: chat.WebSearch) -> int:
    return search.most if search.HasField("most") else USUAL


def options(target: Target, search: chat.WebSearch) -> dict[str, Any]:
    """`web_search_options` of a chat completion."""
    everywhere(target, search)
    made: dict[str, Any] = {"search_context_size": search.context_size} if search.context_size else {}
    if place := _place(search):
        made["user_location"] = {"type": "approximate", "approximate": place}
    return made


def tool(target: Target, search: chat.WebSearch) -> dict[str, Any]:
    """The tool of a response."""
    if search.blocked_domains:
        raise faults.Unsupported(model=target.name, what="be told which sites to pass over")
    made: dict[str, Any] = {"type": "web_search"}
    if search.context_size:
        made["search_context_size"] = search.context_size
    if search.allowed_domains:
        made["filters"] = {"allowed_domains": list(search.allowed_domains)}
    return {**made, **_located(search)}


def claude(search: chat.WebSearch) -> dict[str, Any]:
    """The tool of a message; Anthropic itself decides how much its model reads of what is found."""
    made: dict[str, Any] = {**CLAUDE, "max_uses": most(search), **_located(search)}
    if search.allowed_domains:
        made["allowed_domains"] = list(search.allowed_domains)
    if search.blocked_domains:
        made["blocked_domains"] = list(search.blocked_domains)
    return made


def everywhere(target: Target, search: chat.WebSearch) -> None:
    """
    Raises:
        faults.Unsupported: sites are named, and the wire has no word for them.
    """
    if search.allowed_domains or search.blocked_domains:
        raise faults.Unsupported(model=target.name, what="be told which sites to search over this wire")


def cited(annotations: Iterable[Mapping[str, Any]] | None, before: int = 0) -> list[chat.WebCitation]:
    """OpenAI's annotations, of a text that begins so many characters into the message's."""
    made = list[chat.WebCitation]()
    for one in annotations or ():
        if one.get("type") == CITED:
            said = one.get(CITED) or one  # a chat completion has it a step further in than a response
            made.append(
                chat.WebCitation(
                    url=said.get("url") or "", title=said.get("title") or "", start=before + (said.get("start_index") or 0),
                    end=before + (said.get("end_index") or 0),
                )
            )  # fmt: skip
    return made


def searched(item: Mapping[str, Any]) -> bool:
    """Whether an item of a response is a search, and none that only opens or reads a page that was found."""
    return item.get("type") == CALL and (item.get("action") or {}).get("type", SEARCH) == SEARCH


def looked_up(item: Mapping[str, Any]) -> chat.WebLookup:
    """Of an item that is a search."""
    action = item.get("action") or {}
    queries = [action["query"]] if action.get("query") else action.get("queries") or []
    pages = [chat.WebPage(url=one.get("url") or "") for one in action.get("sources") or ()]
    failure = "failed" if item.get("status") == "failed" else ""
    return chat.WebLookup(id=item.get("id") or "", query="; ".join(queries), pages=pages, failure=failure)


def found(block: Mapping[str, Any], query: str) -> chat.WebLookup:
    """Of Anthropic's `web_search_tool_result`."""
    made, said = chat.WebLookup(id=block.get("tool_use_id") or "", query=query), block.get("content")
    if isinstance(said, Mapping):
        made.failure = said.get("error_code") or "unavailable"
        return made
    for one in said or ():
        made.pages.add(url=one.get("url") or "", title=one.get("title") or "", age=one.get("page_age") or "")
    return made


def quoted(citations: Iterable[Mapping[str, Any]] | None, start: int, end: int) -> list[chat.WebCitation]:
    """Anthropic's citations of a stretch of text."""
    return [
        chat.WebCitation(
            url=one["url"], title=one.get("title") or "", start=start, end=end, quote=one.get("cited_text") or ""
        )
        for one in citations or ()
        if one.get("url")
    ]


def grounded(said: Mapping[str, Any] | None, text: str) -> tuple[list[chat.WebLookup], list[chat.WebCitation]]:
    """Gemini's `groundingMetadata` of an answer's `text`. It counts bytes, and tells all pages together."""
    if not said:
        return [], []
    pages = [one.get("web") or {} for one in said.get("groundingChunks") or ()]
    lookups = [chat.WebLookup(query=query) for query in said.get("webSearchQueries") or ()]
    if lookups:
        lookups[0].pages.extend(chat.WebPage(url=one.get("uri") or "", title=one.get("title") or "") for one in pages)
    raw, made = text.encode("utf-8", "surrogatepass"), list[chat.WebCitation]()
    for one in said.get("groundingSupports") or ():
        segment = one.get("segment") or {}
        start, end = (len(raw[: segment.get(name) or 0].decode(errors="ignore")) for name in ("startIndex", "endIndex"))
        for n in one.get("groundingChunkIndices") or ():
            if 0 <= n < len(pages):
                url, title = pages[n].get("uri") or "", pages[n].get("title") or ""
                made.append(chat.WebCitation(url=url, title=title, start=start, end=end))
    return lookups, made


def _place(search: chat.WebSearch) -> dict[str, str]:
    return {name: value for name in PLACE if (value := getattr(search, name))}


def _located(search: chat.WebSearch) -> dict[str, Any]:
    place = _place(search)
    return {"user_location": {"type": "approximate", **place}} if place else {}
