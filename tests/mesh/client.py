"""Asks a mesh over HTTP, as any program does."""

import io
import json
from typing import Any
from uuid import uuid4

import aiohttp

from tests.mesh.running import Mesh


class Answer:
    def __init__(self, status: int, headers: Any, raw: bytes) -> None:
        self.status, self.headers, self.raw = status, headers, raw

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def events(self) -> list[Any]:
        """The data of the events of a stream, `[DONE]` as text."""
        lines = [line[6:] for line in self.raw.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    @property
    def streamed(self) -> str:
        choices = [choice for event in self.events if event != "[DONE]" for choice in event.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


def asking(text: str = "", model: str = "echo", **more: Any) -> dict[str, Any]:
    """A body; the text is one that nobody asked before unless it is given."""
    return {"model": model, "messages": [{"role": "user", "content": text or f"hello {uuid4().hex}"}], **more}


async def sent(
    mesh: Mesh, body: Any = None, *, path: str = "/v1/chat/completions", method: str = "POST", key: str | None = None,
    headers: dict[str, str] | None = None, raw: bytes | None = None,
) -> Answer:  # fmt: skip
    said = {"authorization": f"Bearer {mesh.key if key is None else key}", "content-type": "application/json"}
    whole = raw if raw is not None else None if body is None else json.dumps(body).encode()
    data = None if whole is None else io.BytesIO(whole)
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, mesh.url + path, data=data, headers={**said, **(headers or {})}) as response,
    ):
        return Answer(response.status, response.headers, await response.read())
