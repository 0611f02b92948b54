"""OpenAI's Realtime API: a web socket to a model that hears, reads, speaks and writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from tollway.chat.v1 import chat_pb2 as chat
from yarl import URL

from services.models import faults
from services.models.wires import heard, http
from services.models.wires.adapter import Target, Told
from services.models.wires.billed import kinds

DONE, TRANSCRIBED = "response.done", "conversation.item.input_audio_transcription.completed"
BEATS_EVERY_S = 20.0
"""A provider that answers no ping within half of it is gone."""
LARGEST_EVENT_BYTES = 32 << 20
LONGEST_S = 86_400.0
"""Of a transcript: what is billed for more is no answer."""
ENDED = frozenset({aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED})
WELL = frozenset({aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.GOING_AWAY})
"""Codes of a provider that ends a session and says so, as at its longest time."""


@dataclass(slots=True)
class Open:
    """A session."""

    target: Target
    socket: aiohttp.ClientWebSocketResponse
    closed: bool = False
    """We have ended it: whatever is heard from then on is no break."""

    async def send(self, event: str) -> None:
        """
        Raises:
            ProviderBroke: it is gone.
        """
        try:
            await self.socket.send_str(event)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise faults.ProviderBroke(model=self.target.name, why=type(error).__name__) from None

    async def close(self) -> None:
        self.closed = True
        await self.socket.close()

    async def told(self) -> AsyncIterator[Told]:
        """Its events, to its end.

        Raises:
            ProviderBroke: it ends before its time, or says what is no event.
            ProviderSlow: it does not begin.
        """
        patience: float | None = self.target.entry.first_byte_s
        while True:
            try:
                said = await self.socket.receive(patience)
            except TimeoutError:
                raise faults.ProviderSlow(model=self.target.name, seconds=patience) from None
            patience = None
            if said.type is aiohttp.WSMsgType.TEXT:
                yield http.shaped(self.target, _read, said.data)
            elif self.closed:
                return
            elif said.type not in ENDED:
                raise faults.ProviderBroke(model=self.target.name, why=f"a frame of kind {said.type.name}")
            elif (code := self.socket.close_code) in WELL:
                return
            else:
                raise faults.ProviderBroke(model=self.target.name, why=f"the session was closed, {code}")


@asynccontextmanager
async def opened(
    client: aiohttp.ClientSession,
    target: Target,
    address: str,
    shown: dict[str, str] | http.Signer,
    transcribes: bool = False,
) -> AsyncIterator[Open]:
    """A session at `address`, HTTP's, with headers that prove who asks; it ends with the block. One that `transcribes` has its model
    from a later event.

    Raises:
        Failure: one of `faults`.
    """
    headers = shown if isinstance(shown, dict) else await shown(b"")
    url = URL(address).update_query({"intent": "transcription"} if transcribes else {"model": target.model})
    try:
        async with asyncio.timeout(target.entry.first_byte_s):
            socket = await client.ws_connect(
                url.with_scheme({"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)),
                headers=headers,
                heartbeat=BEATS_EVERY_S,
                max_msg_size=LARGEST_EVENT_BYTES,
            )
    except aiohttp.WSServerHandshakeError as error:
        raise http.refusal(target, error.status, error.headers or {}, {}) from None
    except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
        raise http.unreached(target, error) from None
    try:
        yield Open(target, socket)
    finally:
        await socket.close()


def _read(raw: str) -> Told:
    event = orjson.loads(raw)
    if event["type"] == DONE and (used := event["response"].get("usage")):
        return Told(raw, usage=_usage(used))
    if event["type"] == TRANSCRIBED and (used := event.get("usage")):
        counted = heard.in_tokens(used)
        return Told(raw, transcript_usage=counted, transcript_seconds=None if counted else _seconds(used))
    return Told(raw)


def _seconds(used: dict[str, Any]) -> float:
    if not 0 <= (told := float(used["seconds"])) < LONGEST_S:
        raise ValueError
    return told


def _usage(used: dict[str, Any]) -> chat.Usage:
    read, written = used.get("input_token_details") or {}, used.get("output_token_details") or {}
    return chat.Usage(
        input_tokens=used.get("input_tokens") or 0,
        output_tokens=used.get("output_tokens") or 0,
        cached_input_tokens=read.get("cached_tokens") or 0,
        kinds=kinds(
            audio_input_tokens=read.get("audio_tokens"),
            image_input_tokens=read.get("image_tokens"),
            audio_output_tokens=written.get("audio_tokens"),
        ),
    )
