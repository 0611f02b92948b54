"""A mock provider on OpenAI's wire that costs next to nothing: `python -m benchmarks.upstream PORT [DELAY_S]`.

It answers every chat completion with the same few words, whole or streamed, and every other request with its model list.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop

USAGE = {"prompt_tokens": 35, "completion_tokens": 8, "total_tokens": 43}
WORDS = "All is well in the mock provider.".split(" ")


def _head(status: str, kind: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}".encode()


def _whole(body: dict[str, Any], kind: str = "application/json") -> bytes:
    raw = json.dumps(body).encode()
    return _head("200 OK", kind, f"content-length: {len(raw)}\r\n\r\n") + raw


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [] if "usage" in more else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock", "choices": choices}
    raw = b"data: " + json.dumps({**body, **more}).encode() + b"\n\n"
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


ANSWER = _whole(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "mock",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": " ".join(WORDS)}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
)
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
STREAM = (
    _head("200 OK", "text/event-stream", "transfer-encoding: chunked\r\n\r\n")
    + chunk({"role": "assistant", "content": ""})
    + b"".join(chunk({"content": f"{word} "}) for word in WORDS)
    + chunk({}, "stop")
    + chunk({}, usage=USAGE)
    + END
)
MODELS = _whole({"object": "list", "data": [{"id": "mock", "object": "model", "created": 1, "owned_by": "mock"}]})


class Provider(asyncio.Protocol):
    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.read = delay_s, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.read[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self.read) < end + 4 + length:
                return
            body = bytes(self.read[end + 4 : end + 4 + length])
            del self.read[: end + 4 + length]
            self.asked(head, body)

    def asked(self, head: bytes, body: bytes) -> None:
        self._answer(MODELS if head.startswith(b"get") else STREAM if _streamed(body) else ANSWER)

    def _answer(self, raw: bytes) -> None:
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self._write, raw)
        else:
            self._write(raw)

    def _write(self, raw: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(raw)  # type: ignore[attr-defined]


def _streamed(body: bytes) -> bool:
    return b'"stream":true' in body or b'"stream": true' in body


async def main(port: int, delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Provider(delay_s), "127.0.0.1", port, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
