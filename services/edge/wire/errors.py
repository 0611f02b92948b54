"""Every refusal as an OpenAI error body: a status, a type, a code and the field."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import msgspec
import orjson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from services.edge.wire import limits
from services.runtime.status import status_of

T = TypeVar("T")

WRONG = "invalid_request_error"
PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*?)`$")
UNKNOWN = re.compile(r"unknown field `(.*?)`")
MISSING = re.compile(r"missing required field `(.*?)`")


@dataclass(slots=True)
class Refusal(Exception):
    """What a caller is told instead of an answer."""

    status: int
    code: str
    message: str
    type: str = WRONG
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


# By reason where callers can tell more from it than from the gRPC code: status, type, code.
REASONS: Mapping[str, tuple[int, str, str]] = {
    "PROMPT_BLOCKED": (400, WRONG, "content_policy_violation"),
    "POLICY_BREACH": (400, WRONG, "content_policy_violation"),
    "MODEL_UNKNOWN": (404, WRONG, "model_not_found"),
    "MODEL_NOT_ALLOWED": (403, WRONG, "model_not_allowed"),
    "REGION_NOT_ALLOWED": (403, WRONG, "region_not_allowed"),
    "DATA_KEPT": (403, WRONG, "data_kept"),
    "SESSION_OUT_OF_HAND": (502, "api_error", "session_out_of_hand"),
    "NO_CANDIDATE": (400, WRONG, "no_model_can_serve"),
    "UNSUPPORTED": (400, WRONG, "unsupported_by_model"),
    "NOT_CACHED": (504, "not_cached", "not_cached"),
    "BUDGET_EXCEEDED": (429, "insufficient_quota", "insufficient_quota"),
    "COST_ABOVE_CEILING": (400, WRONG, "cost_above_ceiling"),
    "TEXT_TOO_LARGE": (413, WRONG, "text_too_large"),
    "PROVIDER_BUSY": (429, "rate_limit_error", "rate_limit_exceeded"),
    "PROVIDER_AWAY": (502, "api_error", "provider_away"),
    "PROVIDER_BROKE": (502, "api_error", "provider_broke"),
    "PROVIDER_DENIED": (502, "api_error", "provider_denied"),
    "PROVIDER_REFUSED": (400, WRONG, "provider_refused"),
    "OVERLOADED": (503, "api_error", "overloaded"),
    "QUEUE_FULL": (503, "api_error", "overloaded"),
    "FILES_FULL": (403, WRONG, "files_full"),
    "CONVERSATION_FULL": (400, WRONG, "conversation_full"),
    "CHECK_AWAY": (503, "api_error", "check_away"),
    "ACCOUNT_SUSPENDED": (403, WRONG, "account_suspended"),
    "THROTTLED": (429, "rate_limit_error", "throttled"),
    "SCOPE_MISSING": (403, WRONG, "scope_missing"),
    "ARTIFACT_UNKNOWN": (404, WRONG, "prompt_not_found"),
    "LABEL_UNKNOWN": (404, WRONG, "prompt_not_found"),
    "VERSION_UNKNOWN": (404, WRONG, "prompt_not_found"),
    "REVIEW_REJECTED": (403, WRONG, "rejected_by_review"),
    "VARIABLES_UNFIT": (400, WRONG, "invalid_prompt_variables"),
    "RENDERING_FAILED": (400, WRONG, "prompt_not_rendered"),
    "PRICE_UNKNOWN": (503, "api_error", "price_unknown"),
    "PROMPT_UNKNOWN": (404, WRONG, "prompt_not_found"),
    "RESOURCE_UNKNOWN": (404, WRONG, "resource_not_found"),
    "SERVER_REFUSED": (400, WRONG, "server_refused"),
    "TOOL_UNKNOWN": (404, WRONG, "tool_not_found"),
    "TOOL_NOT_ALLOWED": (403, WRONG, "tool_not_allowed"),
    "TOOL_WITHHELD": (403, WRONG, "tool_withheld"),
    "TOOL_CHANGED": (403, WRONG, "tool_changed"),
    "TOOL_ASKS": (400, WRONG, "tool_asks"),
    "ARGUMENTS_WRONG": (400, WRONG, "invalid_arguments"),
    "ARGUMENTS_BLOCKED": (400, WRONG, "content_policy_violation"),
    "RESULT_BLOCKED": (400, WRONG, "content_policy_violation"),
    "SERVER_AWAY": (502, "api_error", "server_away"),
    "SERVER_BROKE": (502, "api_error", "server_broke"),
    "SERVER_SLOW": (504, "api_error", "server_slow"),
    "SERVER_DENIED": (502, "api_error", "server_denied"),
    "SERVER_TOKEN_REFUSED": (502, "api_error", "server_denied"),
    "SERVER_TOKEN_AWAY": (502, "api_error", "server_away"),
    "SERVER_FULL": (503, "api_error", "server_full"),
    "SERVER_BUSY": (503, "api_error", "server_full"),
}
CODES: Mapping[grpc.StatusCode, tuple[int, str, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, WRONG, "invalid_value"),
    grpc.StatusCode.UNAUTHENTICATED: (401, WRONG, "invalid_api_key"),
    grpc.StatusCode.PERMISSION_DENIED: (403, WRONG, "permission_denied"),
    grpc.StatusCode.NOT_FOUND: (404, WRONG, "not_found"),
    grpc.StatusCode.ALREADY_EXISTS: (409, WRONG, "conflict"),
    grpc.StatusCode.FAILED_PRECONDITION: (400, WRONG, "failed_precondition"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error", "rate_limit_exceeded"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (504, "api_error", "timeout"),
    grpc.StatusCode.UNAVAILABLE: (503, "api_error", "unavailable"),
    grpc.StatusCode.CANCELLED: (499, "api_error", "cancelled"),
}
INTERNAL = (500, "api_error", "internal_error")
LIMITED = (429, "rate_limit_error", "rate_limit_exceeded")
"""By a budget that comes back by itself."""
PARAMS = {
    "chat.max_output_tokens": "max_completion_tokens",
    "reference": "prompt.id",
    "variables": "prompt.variables",
    "chat.response_format.schema_json": "response_format.json_schema.schema",
}
"""Fields that have another name in OpenAI's wire."""


def unfit(at: str, rule: str) -> Refusal:
    """A field of a body, and the rule that it breaks."""
    return Refusal(400, "invalid_value", f"invalid value for {at}: {rule}", param=at)


def missing(at: str) -> Refusal:
    """A field that a body needs, and has not."""
    return Refusal(400, "missing_required_parameter", f"missing required parameter: {at}", param=at)


def of_body(error: msgspec.MsgspecError) -> Refusal:
    """A body that is not what it should be."""
    said = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, "invalid_json", f"the body is not JSON: {said}")
    at = found.group(1) if (found := PLACE.search(said)) else ""
    rule = PLACE.sub("", said)
    if unknown := UNKNOWN.search(rule):
        name = f"{at}.{unknown.group(1)}" if at else unknown.group(1)
        return Refusal(400, "unknown_parameter", f"unknown parameter: {name}", param=name)
    if needed := MISSING.search(rule):
        return missing(f"{at}.{needed.group(1)}" if at else needed.group(1))
    if not at:
        return Refusal(400, "invalid_type", f"the body must be an object of the published shape: {rule}")
    return unfit(at, rule)


def decoded(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    """A body, validated while it is parsed.

    Raises:
        Refusal: names the field and the rule that it breaks.
    """
    try:
        return decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise of_body(error) from None


def as_json(value: Any, at: str) -> str:
    """What stands in a body's field `at`, as JSON text.

    Raises:
        Refusal: it is nested too deeply, or has half a character in it.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise unfit(at, str(error).lower()) from None


def from_base64(said: str, at: str) -> bytes:
    """What stands in a body's field `at`.

    Raises:
        Refusal: it is not base64.
    """
    try:
        return base64.b64decode(said, validate=True)
    except ValueError:  # of which `binascii.Error` is one; letters beyond ASCII are another
        raise unfit(at, "not base64") from None


def of_failure(error: Exception) -> Refusal:
    """A failure of the edge itself or of the services behind it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RecursionError):  # every decoder's way of saying so
        return Refusal(400, "invalid_json", "the body is nested too deeply")
    found = status_of(error, "edge.tollway")
    details = _details(found.details)
    info, retry, broken = details.get(ErrorInfo), details.get(RetryInfo), details.get(BadRequest)
    reason = info.reason if isinstance(info, ErrorInfo) else ""
    said, headers, seconds = _said(found.code, reason), {}, None
    if isinstance(retry, RetryInfo):
        seconds = retry.retry_delay.ToTimedelta().total_seconds()
        headers = {"retry-after": str(max(1, -int(-seconds // 1))), "retry-after-ms": str(int(seconds * 1000))}
    if isinstance(info, ErrorInfo) and reason == "BUDGET_EXCEEDED":
        headers |= limits.refused(info.metadata, seconds)
        said = LIMITED if limits.passes(info.metadata) else said
    param = None
    if isinstance(broken, BadRequest) and broken.field_violations:
        named = broken.field_violations[0].field
        param = PARAMS.get(named, named.removeprefix("chat."))
    return _refusal(said, found.message, headers, param)


def of_error(code: int, reason: str, message: str) -> Refusal:
    """A failure that was kept: of a line of a batch. A reason in small letters is the edge's own word for it."""
    if reason.islower():
        return Refusal(400, reason, message)
    return _refusal(_said(code, reason), message, {}, None)


NUMBERS = {code.value[0]: code for code in grpc.StatusCode}


def _said(code: int, reason: str) -> tuple[int, str, str]:
    return REASONS.get(reason) or CODES.get(NUMBERS.get(code, grpc.StatusCode.UNKNOWN), INTERNAL)


def _refusal(said: tuple[int, str, str], message: str, headers: dict[str, str], param: str | None) -> Refusal:
    status, kind, word = said
    if status == 401:
        headers = {**headers, "www-authenticate": "Bearer"}
    return Refusal(status, word, message, kind, param, headers)


def _details(packed: Any) -> dict[type[Message], Message]:
    found: dict[type[Message], Message] = {}
    for kind in (ErrorInfo, RetryInfo, BadRequest):
        for one in packed:
            if one.Is(kind.DESCRIPTOR):
                made = kind()
                one.Unpack(made)
                found[kind] = made
    return found
