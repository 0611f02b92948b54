"""A guardrail that speaks LiteLLM's Generic Guardrail API: it blocks what holds `forbidden`, and writes `nice` for `rude`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/beta/litellm_basic_guardrail_api"


@dataclass
class Guardrail:
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answers: Any = None
    """Said in place of what it would say: a body, or a status."""
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("x-api-key"))
        if isinstance(self.answers, int):
            return web.Response(status=self.answers, headers={"location": f"{self.url}/elsewhere"})
        if self.answers is not None:
            return web.json_response(self.answers)
        calls = [one["function"]["arguments"] for one in body.get("tool_calls") or ()]
        if any("forbidden" in text for text in [*body["texts"], *calls]):
            return web.json_response({"action": "BLOCKED", "blocked_reason": "it is forbidden"})
        texts = [text.replace("rude", "nice") for text in body["texts"]]
        if texts != body["texts"]:
            return web.json_response({"action": "GUARDRAIL_INTERVENED", "texts": texts})
        return web.json_response({"action": "NONE"})


@asynccontextmanager
async def guardrail() -> AsyncIterator[Guardrail]:
    made = Guardrail()
    application = web.Application()
    application.router.add_post(PATH, made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()
