"""A response as OpenAI publishes it, whole and as the events of a stream."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.edge.wire import file_search, items, own_tools
from services.edge.wire.answer import cached, citation, tier
from services.edge.wire.body import PLACE
from services.edge.wire.errors import Refusal, of_error
from services.edge.wire.own_tools import NO_OWN, Own
from services.edge.wire.signed import encrypted, extra
from services.runtime import mcp

STATUSES = {
    jobs_pb2.STATE_QUEUED: "queued",
    jobs_pb2.STATE_RUNNING: "in_progress",
    jobs_pb2.STATE_SUCCEEDED: "completed",
    jobs_pb2.STATE_FAILED: "failed",
    jobs_pb2.STATE_CANCELLED: "cancelled",
    jobs_pb2.STATE_DEAD: "failed",
}
CUT = {chat.FINISH_REASON_LENGTH: "max_output_tokens", chat.FINISH_REASON_CONTENT_FILTER: "content_filter"}
MODES = {
    chat.ToolChoice.MODE_NONE: "none",
    chat.ToolChoice.MODE_REQUIRED: "required",
}


RESPONSE, CONVERSATION = "resp_", "conv_"
SEARCH, CALLED = "web_search_call", "mcp_call"
FILES = "fs"
"""Begins the id of a search of files."""


def response_id(job_id: str) -> str:
    return f"{RESPONSE}{job_id.replace('-', '')}"


def conversation_id(name: str) -> str:
    return f"{CONVERSATION}{name.replace('-', '')}"


def frame(work: jobs_pb2.Chat, name: str, created: int) -> dict[str, Any]:
    """A response under way: what was asked, and nothing said yet."""
    asked, turn, use, grounding = work.chat, work.options.turn, work.options.tools, work.options.grounding
    return {
        "id": name,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "conversation": {"id": conversation_id(turn.conversation)} if turn.conversation else None,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.messages[0].parts[0].text if turn.instructed else None,
        "max_output_tokens": asked.max_output_tokens or None,
        "metadata": dict(asked.metadata),
        "model": asked.model or "auto",
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls if asked.HasField("parallel_tool_calls") else True,
        "previous_response_id": response_id(turn.before) if turn.before else None,
        "reasoning": {"effort": asked.reasoning_effort or None, "summary": None},
        "service_tier": None,
        "store": False,
        "temperature": asked.temperature if asked.HasField("temperature") else 1.0,
        "text": {"format": _format(asked.response_format)},
        "tool_choice": _choice(asked),
        "tools": [
            *own_tools.told(one for one in asked.tools if not one.lasts),
            *([_search(asked.web_search)] if asked.HasField("web_search") else []),
            *([file_search.told(grounding)] if grounding.collections else []),
            *(_servers(use) if work.options.HasField("tools") else []),
        ],
        "max_tool_calls": use.most_calls or (asked.web_search.most if asked.web_search.HasField("most") else None),
        "top_p": asked.top_p if asked.HasField("top_p") else 1.0,
        "truncation": "auto" if work.options.fit_context else "disabled",
        "usage": None,
        "user": asked.user or None,
    }


def answered(
    made: dict[str, Any],
    work: jobs_pb2.Chat,
    completion: chat.ChatCompletion,
    files: file_search.Searched | None = None,
) -> dict[str, Any]:
    """The frame `made` of `work`, with what was said, and the files that it may rest on."""
    choice = completion.choices[0] if completion.choices else chat.Choice()
    cut = CUT.get(choice.finish_reason)
    return {
        **made,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "model": completion.model or made["model"],
        "output": output(
            choice.message, "incomplete" if cut else "completed", made["id"], files, Own.of(work.chat.tools)
        ),
        "usage": usage(completion.usage),
        "service_tier": tier(completion.usage),
    }


def of_job(job: jobs_pb2.Job) -> dict[str, Any]:
    """A kept response as it stands."""
    made = frame(job.chat, response_id(job.job_id), job.created.seconds)
    made |= {"background": job.kind == "chat", "store": True, "status": STATUSES.get(job.state, "in_progress")}
    if job.result.HasField("completion"):
        found = job.result.completion
        return answered(made, job.chat, found.completion, file_search.searched(job.chat, found.road))
    if made["status"] == "failed":
        made["error"] = failure(of_error(job.error.code, job.error.reason, job.error.message))
    return made


def failure(refusal: Refusal) -> dict[str, str]:
    """A response's error has few codes: what is wrong is in its words."""
    code = {429: "rate_limit_exceeded"}.get(
        refusal.status, "invalid_prompt" if refusal.status < 500 else "server_error"
    )
    return {"code": code, "message": refusal.message}


def output(
    said: chat.Message, status: str, name: str, files: file_search.Searched | None = None, own: Own = NO_OWN
) -> list[dict[str, Any]]:
    """The items of what response `name` says."""
    found = [files.item(item_id(FILES, name, 0))] if files is not None else []
    for kind, place, one in items.answered(said):
        found.append(made := item(item_id(kind, name, place), one, status, own))
        if kind == items.SAID and files is not None and not one.refusal:
            (part,) = made["content"]
            part["annotations"] += files.annotations(part["text"])
    return found


def item(name: str, one: chat.Message, status: str = "completed", own: Own = NO_OWN) -> dict[str, Any]:
    """One thing that a model said, thought, searched for or called."""
    if one.reasoning or one.thoughts:
        return reasoning_item(name, one.reasoning, one.thoughts)
    for lookup in one.lookups:
        return search_item(name, lookup)
    for step in one.steps:
        return step_item(name, step)
    for call in one.tool_calls:
        return call_item(name, call, status, own)
    text = "".join(part.text for part in one.parts)
    return message_item(
        name, status, [refusal_part(one.refusal) if one.refusal else text_part(text, one.citations)]
    )  # fmt: skip


def item_id(kind: str, name: str, place: int) -> str:
    """Of an item of response `name`."""
    return items.item_id(kind, name.removeprefix(RESPONSE), place)


def reasoning_item(name: str, text: str, thoughts: Sequence[str]) -> dict[str, Any]:
    """What is to be handed in again stands where OpenAI has what it encrypted."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "id": name, "summary": summary, **encrypted(thoughts)}


def message_item(name: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "message", "id": name, "status": status, "role": "assistant", "content": content}


def call_item(name: str, call: chat.ToolCall, status: str, own: Own = NO_OWN) -> dict[str, Any]:
    return {"id": name, "call_id": call.id, **own.called(call), "status": status, **extra(call.signature)}


def search_item(name: str, one: chat.WebLookup) -> dict[str, Any]:
    sources = [{"type": "url", "url": page.url} for page in one.pages]
    action = {"type": "search", "query": one.query, "sources": sources}
    return {"type": SEARCH, "id": name, "status": "failed" if one.failure else "completed", "action": action}


def step_item(name: str, one: chat.ToolStep) -> dict[str, Any]:
    return {
        "type": CALLED,
        "id": name,
        "server_label": one.server,
        "name": one.name,
        "arguments": one.arguments,
        "output": None if one.failed else one.output,
        "error": one.output if one.failed else None,
        "status": "failed" if one.failed else "completed",
        "approval_request_id": None,
    }


def text_part(text: str, cited: Iterable[chat.WebCitation] = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [annotation(one) for one in cited], "logprobs": []}


def annotation(one: chat.WebCitation) -> dict[str, Any]:
    return {"type": "url_citation", **citation(one)}


def refusal_part(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def usage(made: chat.Usage) -> dict[str, Any]:
    return {
        "input_tokens": made.input_tokens,
        "input_tokens_details": cached(made),
        "output_tokens": made.output_tokens,
        "output_tokens_details": {"reasoning_tokens": made.reasoning_tokens},
        "total_tokens": made.input_tokens + made.output_tokens,
    }


def _format(said: chat.ResponseFormat) -> dict[str, Any]:
    if said.type == chat.ResponseFormat.TYPE_JSON_OBJECT:
        return {"type": "json_object"}
    if said.type != chat.ResponseFormat.TYPE_JSON_SCHEMA:
        return {"type": "text"}
    return {
        "type": "json_schema",
        "name": said.name,
        "description": said.description or None,
        "schema": orjson.loads(said.schema_json),
        "strict": said.strict if said.HasField("strict") else None,
    }


def _choice(asked: chat.ChatRequest) -> Any:
    if asked.tool_choice.mode == chat.ToolChoice.MODE_FUNCTION:
        return own_tools.chosen(asked.tools, asked.tool_choice.function)
    return MODES.get(asked.tool_choice.mode, "auto")


def _search(asked: chat.WebSearch) -> dict[str, Any]:
    place = {name: getattr(asked, name) or None for name in PLACE}
    sites = {name: list(found) for name in ("allowed_domains", "blocked_domains") if (found := getattr(asked, name))}
    return {
        "type": "web_search",
        "search_context_size": asked.context_size or "medium",
        "user_location": {"type": "approximate", **place} if any(place.values()) else None,
        "filters": sites or None,
    }


def _servers(use: pb.ToolUse) -> list[dict[str, Any]]:
    """By name; all of them under our own."""
    return [
        {"type": "mcp", "server_label": name, "require_approval": "never",
         "allowed_tools": [tool for tool in use.tools if tool.startswith(mcp.named(name, "")) and not tool.endswith(mcp.EVERY)] or None}
        for name in use.servers or ("tollway",)
    ]  # fmt: skip
