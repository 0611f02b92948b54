"""HTTP as the wires share it: one warm pool, failures mapped once, server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeVar

import aiohttp
import orjson
from yarl import URL

from services.models import faults
from services.models.wires.adapter import Target
from services.models.wires.form import Form
from services.runtime.begun import in_time
from services.runtime.errors import Failure
from services.runtime.http import EndlessEvent, Events

T = TypeVar("T")
JSON = "application/json"
Posting = AbstractAsyncContextManager[aiohttp.ClientResponse]
Signer = Callable[[bytes], Awaitable[dict[str, str]]]
"""Makes the headers for a body."""

PASSING = frozenset({408, 409, 424, 425})
"""Refusals of the moment: too slow, a conflict, a model of Bedrock's that failed, too early."""


@asynccontextmanager
async def posted(
    http: aiohttp.ClientSession, target: Target, url: str, headers: dict[str, str] | Signer, body: dict[str, Any] | Form
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a POST of JSON or of a form, its head read and its status good.

    Raises:
        Failure: one of `faults`; what aiohttp raises while the body is read is mapped, too.
    """
    data, kind = (body.encoded(), body.content_type) if isinstance(body, Form) else (orjson.dumps(body), JSON)
    named = headers if isinstance(headers, dict) else await headers(data)
    try:
        async with asyncio.timeout(target.entry.first_byte_s) as waiting:
            # A redirect is not followed: the key in the headers is meant for this address alone. The path goes out as it
            # is written: a signature covers each percent sign.
            response = await http.post(
                URL(url, encoded=True),
                data=data,
                headers={"content-type": kind, **named},
                allow_redirects=False,
            )
            waiting.reschedule(None)
    except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
        raise unreached(target, error) from None
    try:
        target.heard(response.headers)
        if response.status >= 300:
            raise refusal(target, response.status, response.headers, await _said(response))
        yield response
    except (aiohttp.ClientError, ConnectionError) as error:
        raise faults.ProviderBroke(model=target.name, why=type(error).__name__) from None
    finally:
        # An answer read to its end goes back to the pool; any other is cut, which tells the provider at once.
        response.release() if response.content.at_eof() else response.close()


def unreached(target: Target, error: Exception) -> Failure:
    """Why there is no answer whose head could be read."""
    if isinstance(error, TimeoutError):  # some of aiohttp's are, too
        return faults.ProviderSlow(model=target.name, seconds=target.entry.first_byte_s)
    away = isinstance(error, aiohttp.ClientConnectorError)
    return (faults.ProviderAway if away else faults.ProviderBroke)(model=target.name, why=type(error).__name__)


async def parsed(target: Target, response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        body = orjson.loads(await in_time(response.read(), target.entry.first_byte_s))
    except TimeoutError:
        raise faults.ProviderSlow(model=target.name, seconds=target.entry.first_byte_s) from None
    except orjson.JSONDecodeError:
        raise faults.ProviderBroke(model=target.name, why="its answer is not JSON") from None
    if not isinstance(body, dict):
        raise faults.ProviderBroke(model=target.name, why="its answer is not an object")
    return body


class _Patience:
    """Cuts an answer in which a provider stays silent for too long. One timer for all of its pieces: it looks again when it could be
    time."""

    def __init__(self, response: aiohttp.ClientResponse, longest_s: float) -> None:
        self._response, self._longest_s = response, longest_s
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self.ended = False
        self._timer = self._loop.call_later(longest_s, self._look)

    def wait(self) -> None:
        """From now on the provider is waited for."""
        self._since = self._loop.time()

    def heard(self) -> None:
        self._since = None

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._response.closed:  # whoever read it has left
            return
        left = self._longest_s if self._since is None else self._since + self._longest_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self.ended = True
            self._response.close()


async def pieces(target: Target, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The body as it comes, to its end."""
    patience = _Patience(response, target.entry.first_byte_s)
    try:
        while True:
            patience.wait()
            piece = await response.content.readany()
            patience.heard()
            if not piece:
                return
            yield piece
    except aiohttp.ClientError:
        if not patience.ended:
            raise
        raise faults.ProviderSlow(model=target.name, seconds=target.entry.first_byte_s) from None
    finally:
        patience.stop()


async def events(target: Target, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The data of each server-sent event."""
    async with aclosing(read_together(target, response)) as together:
        async for found in together:
            for data in found:
                yield data


async def read_together(target: Target, response: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
    """The data of server-sent events, those together that were there at once."""
    told = Events()
    async with aclosing(pieces(target, response)) as read:
        async for piece in read:
            try:
                found = told.feed(piece)
            except EndlessEvent:
                raise faults.ProviderBroke(model=target.name, why="an event without end") from None
            if found:
                yield found
    if left := told.end():
        yield left


def event_object(target: Target, data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise faults.ProviderBroke(model=target.name, why="an event is not JSON") from None
    if not isinstance(found, dict):
        raise faults.ProviderBroke(model=target.name, why="an event is not an object")
    return found


def shaped(target: Target, read: Callable[..., T], body: Any, *more: Any) -> T:
    """`read(body)`; a body of another shape is the provider's fault."""
    try:
        return read(body, *more)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise faults.ProviderBroke(
            model=target.name, why=f"an answer of another shape, {type(error).__name__}"
        ) from None


def refusal(target: Target, status: int, headers: Any, body: dict[str, Any]) -> Failure:
    """A status as a failure. Of the provider's words only its codes are kept."""
    fault = body["error"] if isinstance(body.get("error"), dict) else {}
    about = "".join(
        f", {name} {value}"
        for name in ("code", "type", "param", "status")
        if isinstance(value := fault.get(name), str) and len(value) <= 64
    )
    details = [one for one in fault.get("details") or () if isinstance(one, dict)]
    if status in (401, 403) or any(one.get("reason") == "API_KEY_INVALID" for one in details):
        return faults.ProviderDenied(model=target.name, status=status)
    if status in (429, 529) or (status == 503 and headers.get("retry-after")):
        return faults.ProviderBusy(
            model=target.name, status=status, retry_after_s=_retry_after(headers) or _retry_delay(details)
        )
    if status >= 500 or status in PASSING:
        return faults.ProviderBroke(model=target.name, why=f"status {status}")
    if 300 <= status < 400:
        return faults.ProviderBroke(model=target.name, why=f"a redirect, {status}")
    return faults.ProviderRefused(model=target.name, status=status, about=about)


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of a `google.rpc.RetryInfo`, which stands in Gemini's body and in no header."""
    said = next((one["retryDelay"] for one in details if "retryDelay" in one), None)
    try:
        return float(str(said).removesuffix("s")) if said is not None else None
    except ValueError:
        return None


def _retry_after(headers: Any) -> float | None:
    """Seconds until the provider wants to be asked again; OpenAI's `retry-after-ms` is the finer one."""
    try:
        if (fine := headers.get("retry-after-ms")) is not None:
            return max(float(fine) / 1000, 0.0)
        if (said := headers.get("retry-after")) is None:
            return None
        return (
            max(float(said), 0.0) if said[:1].isdigit() else max(parsedate_to_datetime(said).timestamp() - time(), 0.0)
        )
    except ValueError:
        return None


async def _said(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        async with asyncio.timeout(5):
            found = orjson.loads(await response.content.read(1 << 16))
    except (orjson.JSONDecodeError, TimeoutError, aiohttp.ClientError):
        return {}
    if isinstance(found, list) and found and isinstance(found[0], dict):
        found = found[0]
    return found if isinstance(found, dict) else {}
