"""`tollway ask`: one question through the whole mesh, its answer as it is written."""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp
from rich.markup import escape

from services.mesh.screen import err, fail

SHOWN = ("model", "route", "route-taken", "cache", "masked", "cost-max", "degraded", "trace")


def ask(
    url: str, key: str, model: str, text: str, system: str, *, web: bool, servers: Sequence[str], traced: bool
) -> str:
    """Streams the answer to stdout, says on stderr how it came about; returns the trace id."""
    messages = [{"role": "user", "content": text}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if web:
        body["web_search_options"] = {}
    if servers:
        body["tollway"] = {"tools": {"servers": list(servers)}}
    return asyncio.run(_asked(url, key, body, traced))


async def _asked(url: str, key: str, body: dict[str, Any], traced: bool) -> str:
    headers = {"authorization": f"Bearer {key}", "x-tollway-trace": "1" if traced else "0"}
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response,
        ):
            if response.status != 200:
                fail(_words(await response.text(), response.status))
            usage, pages = await _streamed(response)
            said = {name: response.headers.get(f"x-tollway-{name}", "") for name in SHOWN}
    except aiohttp.ClientConnectorError:
        fail(f"nobody answers at {url}: start the mesh with `tollway up`")
    for number, (page, title) in enumerate(pages.items(), 1):
        err.print(f"[dim]{number}. {escape(title)}[/dim] {escape(page)}", soft_wrap=True)
    facts = [f"{name} {value}" for name, value in said.items() if value and name not in ("cost-max", "trace")]
    if usage:
        facts.append(f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens")
        facts.append(f"${usage.get('cost_usd', 0):.6f} of at most ${float(said['cost-max'] or 0):.6f}")
    err.print(f"[dim]{' · '.join(facts)} · trace {said['trace']}[/dim]", soft_wrap=True)
    return said["trace"]


async def _streamed(response: aiohttp.ClientResponse) -> tuple[dict[str, Any], dict[str, str]]:
    """The usage, and the pages that the answer rests on with their titles."""
    usage: dict[str, Any] = {}
    pages: dict[str, str] = {}
    async for line in response.content:
        if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
            continue
        event = json.loads(line[6:])
        if "error" in event:
            sys.stdout.write("\n")
            fail(f"the answer broke off: {event['error']['message']}")
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            sys.stdout.write(choice["delta"].get("content") or "")
            sys.stdout.flush()
            cited = [one["url_citation"] for one in choice["delta"].get("annotations") or ()]
            pages |= {one["url"]: one["title"] for one in cited}
    sys.stdout.write("\n")
    return usage, pages


def _words(body: str, status: int) -> str:
    try:
        return f"{status}: {json.loads(body)['error']['message']}"
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"{status}: not an answer of Tollway's"
