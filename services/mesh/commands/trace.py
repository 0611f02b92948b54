"""`tollway trace`: the steps of one request, as a picture."""

import asyncio
from typing import Any

import aiohttp
from rich.text import Text

from services.mesh.screen import err, fail

WIDTH = 48
AGAIN_S = 0.3
TRIES = 5


def trace(url: str, key: str, trace_id: str) -> None:
    """Draws the spans that this mesh remembers of `trace_id`."""
    spans = asyncio.run(_read(url, key, trace_id))
    began = min(span["start_us"] for span in spans)
    whole = max(span["end_us"] for span in spans) - began or 1
    for span, depth in _ordered(spans):
        left = int((span["start_us"] - began) / whole * WIDTH)
        long = max(int((span["end_us"] - span["start_us"]) / whole * WIDTH), 1)
        bar = " " * left + "█" * long
        line = Text(f"{'  ' * depth + span['name']:<62.62}")
        line.append(f"{(span['end_us'] - span['start_us']) / 1000:>9.2f} ms ")
        line.append(f"{bar:<{WIDTH + 1}}", style="red" if span["error"] else "cyan")
        err.print(line, soft_wrap=True)


async def _read(url: str, key: str, trace_id: str) -> list[dict[str, Any]]:
    """The spans; asked for again while the last ones are still being written."""
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as http:
        for _ in range(TRIES):
            async with http.get(f"{url}/tollway/v1/traces/{trace_id}") as response:
                body = await response.json()
                if response.status == 200:
                    return list(body["spans"])
            await asyncio.sleep(AGAIN_S)
    fail(body["error"]["message"])


def _ordered(spans: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Parents before their children, children by time."""
    children: dict[str, list[dict[str, Any]]] = {}
    known = {span["span_id"] for span in spans}
    for span in sorted(spans, key=lambda span: span["start_us"]):
        children.setdefault(span["parent_id"] if span["parent_id"] in known else "", []).append(span)
    made: list[tuple[dict[str, Any], int]] = []

    def walk(parent: str, depth: int) -> None:
        for span in children.get(parent, ()):
            made.append((span, depth))
            walk(span["span_id"], depth + 1)

    walk("", 0)
    return made
