"""Opens a channel to a service wherever it runs: `inproc:guard`, `unix:/run/guard.sock`, `dns:///guard:50051`.

Generated stubs run over each unchanged. What belongs to the request goes along by itself: its trace, the
caller's token, and what is left of its deadline.
"""

import asyncio
import contextlib
import json
import time
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc

from services.runtime import identity, telemetry
from services.runtime.inproc.channel import InprocChannel
from services.runtime.rotating import Rotating

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` at which the running call must have ended."""
LARGEST_MESSAGE_BYTES = 64 << 20
LOOKS = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
"""How often a channel that waits for a service looks whether it is back. By itself gRPC looks ever more seldom, so that one that took
eight seconds to start was found after fifteen."""
SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            # A provider, or a tool, may have begun: these decide about trying again themselves.
            {
                "name": [
                    {"service": f"tollway.{name}"}
                    for name in ("models.v1.ModelsService", "gateway.v1.GatewayService", "tools.v1.ToolsService")
                ]
            },
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a side's own certificate and of the authority that it trusts. Empty for plain text."""

    certificate: str = ""
    key: str = ""
    authority: str = ""

    def __bool__(self) -> bool:
        return bool(self.authority or self.certificate)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file for file in (self.certificate, self.key, self.authority) if file)


PLAIN = Tls()


def open(  # noqa: A001 - `channels.open`
    target: str, tls: Tls = PLAIN, waits: bool = False, largest_message_bytes: int = LARGEST_MESSAGE_BYTES
) -> grpc.aio.Channel:
    """A channel to `target`; connects when first used.

    Its calls fail at once when nobody is there. With `waits` they wait over sockets, within their deadlines, for a
    service that is being started again, so that a restart fails nobody: what one service opens to another.

    Raises:
        ValueError: a plain-text target beyond this machine.
    """
    if target.startswith("inproc:"):
        return cast(grpc.aio.Channel, Carrying(InprocChannel(target.removeprefix("inproc:"))))
    options = [
        ("grpc.max_receive_message_length", largest_message_bytes),
        ("grpc.max_send_message_length", largest_message_bytes),
        ("grpc.service_config", SERVICE_CONFIG),
        ("grpc.keepalive_time_ms", 30_000),
        *(LOOKS if waits else ()),
    ]
    if tls:

        def secured() -> grpc.aio.Channel:
            return grpc.aio.secure_channel(target, client_credentials(tls), options)

        return cast(grpc.aio.Channel, Carrying(Rotating(secured, tls.files), waits))
    if not local(target):
        raise ValueError(f"{target} is beyond this machine: set the TLS files, or serve.plain_text")
    return cast(grpc.aio.Channel, Carrying(grpc.aio.insecure_channel(target, options), waits))


def local(target: str) -> bool:
    """Whether `target` stays on this machine. It may name several addresses: `ipv4:127.0.0.1:5001,127.0.0.1:5002`."""
    if target.startswith(("unix:", "inproc:")):
        return True
    hosts = [one.rpartition(":")[0] for one in target.removeprefix("dns:///").removeprefix("ipv4:").split(",")]
    return all(host in ("127.0.0.1", "localhost", "[::1]") for host in hosts)


async def reached(channel: Any, within_s: float) -> bool:
    """Whether somebody answers behind `channel`, waited for at most so long. Always so of a channel that never waits."""
    if not isinstance(channel, Carrying) or not channel.waits:
        return True
    ready = grpc.ChannelConnectivity.READY
    if (state := channel.get_state(try_to_connect=True)) is ready:
        return True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while state is not ready:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    return state is ready


def client_credentials(tls: Tls) -> grpc.ChannelCredentials:
    def read(file: str) -> bytes | None:
        return Path(file).read_bytes() if file else None

    return grpc.ssl_channel_credentials(read(tls.authority), read(tls.key), read(tls.certificate))


class Carrying:
    """A channel whose calls take along what belongs to the running request."""

    def __init__(self, inner: Any, waits: bool = False) -> None:
        self._inner = inner
        self.waits = waits

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _carrying(self._inner.unary_unary(*args, **kwargs), self.waits)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _carrying(self._inner.unary_stream(*args, **kwargs), self.waits)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _carrying(self._inner.stream_unary(*args, **kwargs), self.waits)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _carrying(self._inner.stream_stream(*args, **kwargs), self.waits)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    async def __aenter__(self) -> "Carrying":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _carrying(call: Any, waits: bool) -> Any:
    def carried(request: Any = None, *, timeout: float | None = None, metadata: Any = None, **more: Any) -> Any:
        if waits:
            more.setdefault("wait_for_ready", True)
        if (deadline := DEADLINE.get()) is not None:
            timeout = _shorter(timeout, deadline - time.monotonic())
        return call(request, timeout=timeout, metadata=_with_context(metadata), **more)

    return carried


def _shorter(timeout: float | None, left: float) -> float:
    """The smaller of what is asked and what the running call has left."""
    if timeout is not None and timeout < left:
        return timeout
    return left if left > 0 else 0.0


def _with_context(metadata: Any) -> tuple[tuple[str, Any], ...]:
    trace, caller = telemetry.current(), identity.current()
    if not metadata and trace is not None and caller is not None:  # as nearly all calls are made
        return (telemetry.TRACEPARENT, trace.header), ("authorization", caller.header)
    pairs = tuple(metadata or ())
    names = {name for name, _ in pairs}
    if trace is not None and telemetry.TRACEPARENT not in names:
        pairs = (*pairs, (telemetry.TRACEPARENT, trace.header))
    if caller is not None and "authorization" not in names:
        pairs = (*pairs, ("authorization", caller.header))
    return pairs
