"""The one place where a failure becomes a gRPC status."""

import asyncio
import inspect
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from protovalidate import ValidationError, validate

from services.runtime import channels, identity, telemetry
from services.runtime.access import Access, Audit, access
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Caller, Identity, IdentityMissing
from services.runtime.inproc.context import InprocContext
from services.runtime.telemetry import TRACEPARENT, Observed
from services.runtime.wellformed import surely

CODES = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.TOO_LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
assert CODES.keys() == set(Kind), "every kind needs its code"

MOST_FAULTS = 20
"""Details travel in trailers, which clients cap at 8 KiB: past that a call fails as something else."""
LONGEST_FACT = 512
UNKEEPABLE = ("22021", "22P05")
"""What PostgreSQL says of a text with a character that it keeps in none."""

log = logging.getLogger(__name__)


def status_of(error: Exception, domain: str) -> Status:
    match error:
        case Failure():
            facts = {name: value[:LONGEST_FACT] for name, value in error.facts.items()}
            info = ErrorInfo(reason=error.reason, domain=domain, metadata=facts)
            return _status(CODES[error.kind], str(error), info, *_extras(error))
        case ValidationError():
            info = ErrorInfo(reason="INVALID_REQUEST", domain=domain)
            broken = _bad_request(error)
            first = broken.field_violations[0] if broken.field_violations else None
            text = f"{first.field}: {first.description}" if first else "the request breaks a rule"
            return _status(grpc.StatusCode.INVALID_ARGUMENT, text, info, broken)
        case grpc.aio.AioRpcError():  # a service further down the road has spoken: its words pass on
            return rpc_status.from_call(error) or _status(error.code(), error.details() or "")  # type: ignore[arg-type]
        case _ if getattr(error, "sqlstate", "") in UNKEEPABLE:
            info = ErrorInfo(reason="TEXT_NOT_KEPT", domain=domain)
            return _status(grpc.StatusCode.INVALID_ARGUMENT, "a text of the request holds a NUL character", info)
        case _:  # a bug: what it says stays in the log and off the wire
            log.error("unexpected %s", type(error).__name__, exc_info=error)
            return _status(grpc.StatusCode.INTERNAL, "internal error")


def info_of(error: grpc.RpcError) -> ErrorInfo:
    """The reason, domain and facts that a failed call carries; empty when it carries none."""
    return info_in(rpc_status.from_call(error) or Status())  # type: ignore[arg-type]


def info_in(status: Status) -> ErrorInfo:
    """As `info_of`, of a status."""
    found = ErrorInfo()
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(found)
            break
    return found


def _extras(error: Failure) -> list[Message]:
    extras: list[Message] = []
    if error.field is not None:
        extras.append(
            BadRequest(field_violations=[BadRequest.FieldViolation(field=error.field, description=str(error))])
        )
    if error.retry_after_s is not None:
        whole = int(error.retry_after_s)
        delay = Duration(seconds=whole, nanos=int((error.retry_after_s - whole) * 1e9))
        extras.append(RetryInfo(retry_delay=delay))
    if error.quota is not None:
        extras.append(QuotaFailure(violations=[QuotaFailure.Violation(subject=error.quota, description=str(error))]))
    return extras


def _status(code: grpc.StatusCode, text: str, *details: Message) -> Status:
    status = Status(code=code.value[0], message=text)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _bad_request(error: ValidationError) -> BadRequest:
    broken = BadRequest()
    for violation in (violation.proto for violation in error.violations[:MOST_FAULTS]):
        path = violation.field.elements if violation.field else ()
        broken.field_violations.add(field=".".join(map(_step, path)), description=violation.message)
    return broken


def _step(element: Any) -> str:
    """`messages[2]`, `labels["env"]` or a plain name."""
    at = element.subscript
    if at is None:
        return str(element.field_name)
    return f"{element.field_name}[{at.value}]" if at.field == "index" else f'{element.field_name}["{at.value}"]'


ENDLESS = "/Watch"
"""What a method that tells of changes for ever is called."""


class Statuses(grpc.aio.ServerInterceptor):
    """Stands around every call: who calls, which trace, is the message well formed, how did it end.

    Serves all four kinds of call, and both ways to write a streaming one: as a generator, or with
    `context.write` as health's `Watch` does. Each handler is wrapped once.
    """

    def __init__(self, domain: str, identities: Identity | None, audit: Audit | None = None) -> None:
        self._domain, self._identities, self._audit = domain, identities, audit
        self._wrapped: dict[str, Any] = {}
        self._watchers: set[asyncio.Task[Any]] = set()
        self._leaving = False
        self.arrived = -math.inf
        """When the last call came in over a socket, by the monotonic clock. Health and reflection do not count."""

    def leave(self) -> None:
        """Ends the `Watch` streams, which never end by themselves: their callers turn to whoever serves next."""
        self._leaving = True
        for watcher in self._watchers:
            watcher.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED
            return None
        method = handler_call_details.method
        if not method.startswith("/grpc."):
            self.arrived = time.monotonic()
        if method not in self._wrapped:
            self._wrapped[method] = self.wrap(method, handler)
        return self._wrapped[method]

    def wrap(self, method: str, handler: Any) -> Any:
        asks, answers = (
            "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
        )
        kind = f"{asks}_{answers}"
        call = getattr(handler, kind)
        check = _each_checked if handler.request_streaming else _checked
        around = self._generated if inspect.isasyncgenfunction(call) else self._awaited
        return handler._replace(**{kind: around(method, call, check)})

    def _awaited(self, method: str, call: Callable[..., Awaitable[Any]], check: Callable[[Any], Any]) -> Any:
        rule, counted = access(method), telemetry.method(method)
        identities = self._asked(method, rule)
        audit = self._audit if rule.audited else None

        async def answer(request: Any, context: Any) -> Any:
            pairs = dict(context.invocation_metadata())
            observed = Observed(counted, pairs.get(TRACEPARENT))
            try:
                _enter(context)
                if identities is not None:
                    found = identities.known(pairs.get("authorization")) or await _verified(identities, pairs)
                    identity.hold(found)
                    rule.check(found)
                checked = check(request)
                if audit is not None:
                    await audit(_spoken(method), checked)
                response = await call(checked, context)
            except (asyncio.CancelledError, grpc.aio.AbortError) as error:
                observed.end(_ending(context, error))
                raise
            except Exception as error:  # noqa: BLE001 - with its twin below the only one in Tollway
                status = status_of(error, self._domain)
                observed.end(_name(status), _reason(error))
                await context.abort_with_status(rpc_status.to_status(status))
            observed.end("OK")
            return response

        return answer

    def _generated(
        self, method: str, call: Callable[..., AsyncGenerator[Any, None]], check: Callable[[Any], Any]
    ) -> Any:
        """A generator, driven by us: `grpc.aio` drops one whose caller has gone without closing it."""
        rule, counted = access(method), telemetry.method(method)
        identities = self._asked(method, rule)
        endless = method.endswith(ENDLESS)

        async def answers(request: Any, context: Any) -> None:
            pairs = dict(context.invocation_metadata())
            observed = Observed(counted, pairs.get(TRACEPARENT))
            task = asyncio.current_task()
            try:
                if endless and task is not None:
                    self._watchers.add(task)
                _enter(context)
                if identities is not None:
                    found = identities.known(pairs.get("authorization")) or await _verified(identities, pairs)
                    identity.hold(found)
                    rule.check(found)
                async with aclosing(call(check(request), context)) as messages:
                    async for message in messages:
                        await context.write(message)
            except (asyncio.CancelledError, grpc.aio.AbortError) as error:
                if endless and self._leaving and task is not None and task.uncancel() == 0:
                    observed.end("UNAVAILABLE")
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "this server is stopping")
                observed.end(_ending(context, error))
                raise
            except grpc.aio.InternalError:  # the caller has gone: what is written reaches nobody
                observed.end("CANCELLED")
                raise asyncio.CancelledError from None
            except Exception as error:  # noqa: BLE001 - see its twin above
                status = status_of(error, self._domain)
                observed.end(_name(status), _reason(error))
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                if task is not None:
                    self._watchers.discard(task)
            observed.end("OK")

        return answers

    def _asked(self, method: str, rule: Access) -> Identity | None:
        """Who knows callers of the method; None when nobody is asked."""
        return None if rule.public or not method.startswith("/tollway.") else self._identities


def _spoken(method: str) -> str:
    """`/tollway.ledger.v1.LedgerService/CreateKey` as `ledger.CreateKey`."""
    service, _, name = method.strip("/").partition("/")
    return f"{service.split('.')[1]}.{name}"


async def _verified(identities: Identity, pairs: dict[str, Any]) -> Caller:
    if not (credential := _credential(pairs)):
        raise IdentityMissing
    return await identities.verify(credential)


def _credential(pairs: dict[str, Any]) -> str:
    scheme, _, credential = str(pairs.get("authorization", "")).partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def _enter(context: Any) -> None:
    if type(context) is InprocContext:
        channels.DEADLINE.set(context.deadline)
        return
    left = context.time_remaining()
    channels.DEADLINE.set(None if left is None else time.monotonic() + left)


def _ending(context: Any, error: BaseException) -> str:
    code = context.code()
    return code.name if isinstance(error, grpc.aio.AbortError) and code else "CANCELLED"


def _name(status: Status) -> str:
    return BY_NUMBER[status.code]


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, Failure) else type(error).__name__


BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}


def _checked(message: Any) -> Any:
    if not surely(message):
        validate(message)
    return message


async def _each_checked(messages: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield _checked(message)
