"""Responses over web sockets, as OpenAI has them: what a client may send, and each event as a text of its own."""

from dataclasses import dataclass
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.edge.wire import response, response_events, responses
from services.edge.wire.errors import Refusal, missing, unfit
from services.edge.wire.own_tools import Own
from services.edge.wire.responses import ResponsesBody

CREATE, STEER = "response.create", "response.steer"
LONGEST_LANE = 128


@dataclass(frozen=True, slots=True)
class Create:
    body: ResponsesBody
    lane: str
    """`stream_id`; '' where none is said."""
    generate: bool
    """Whether it is to be answered, or gone on from alone."""


@dataclass(frozen=True, slots=True)
class Steer:
    said: dict[str, Any]

    def refused(self) -> str:
        """What is under way cannot be steered here; the caller has its input back, for a request of its own."""
        fault = {"type": "invalid_request_error", "code": "steering_not_supported",
                 "message": "responses under way are not steered here: ask with what you wanted to say"}  # fmt: skip
        steer = {"input": self.said.get("input"), "previous_response_id": self.said.get("previous_response_id")}
        return _text({"type": "response.steer.failed", "sequence_number": 0, "error": fault, "steer": steer})


def parsed(said: str) -> Create | Steer:
    """
    Raises:
        Refusal: an event that a client does not send, or a field that breaks a rule.
    """
    try:
        event = orjson.loads(said)
    except orjson.JSONDecodeError:
        raise Refusal(400, "invalid_json", "an event is JSON") from None
    if not isinstance(event, dict):
        raise Refusal(400, "invalid_type", "an event is an object")
    match event.pop("type", None):
        case "response.steer":
            return Steer(event)
        case "response.create":
            return _create(event)
        case None:
            raise missing("type")
    raise unfit("type", f"one of {CREATE}, {STEER}")


def _create(event: dict[str, Any]) -> Create:
    lane, generate = event.pop("stream_id", None) or "", event.pop("generate", None)
    if not isinstance(lane, str) or len(lane) > LONGEST_LANE:
        raise unfit("stream_id", f"a text of at most {LONGEST_LANE} characters")
    if not isinstance(generate, bool | None):
        raise unfit("generate", "true or false")
    for name, rule in (("background", "a response in the background is asked for over HTTP"),
                       ("stream", "over a web socket every response is streamed")):  # fmt: skip
        if event.pop(name, None) is (name == "background"):
            raise Refusal(400, "unsupported_value", rule, param=name)
    return Create(responses.parsed(orjson.dumps(event)), lane, generate is not False)


def error(refusal: Refusal, lane: str = "") -> str:
    """Why a request was not answered; the socket goes on."""
    fault = refusal.body()["error"]
    if refusal.headers:
        fault["headers"] = dict(refusal.headers)
    return _text({"type": "error", "status": refusal.status, "error": fault, **_of(lane)})


class Events(response_events.Events):
    """The events of one response, a line each."""

    def __init__(self, frame: dict[str, Any], lane: str, own: Own) -> None:
        super().__init__(frame, own)
        self._of = _of(lane)

    def nothing(self) -> bytes:
        """It is only to be gone on from."""
        self.said |= {"status": "completed", "usage": response.usage(chat.Usage())}
        return self._event("response.completed", response=self.said)

    def _framed(self, name: str, said: dict[str, Any]) -> bytes:
        return orjson.dumps({**said, **self._of}) + b"\n"


def _of(lane: str) -> dict[str, str]:
    return {"stream_id": lane} if lane else {}


def _text(event: dict[str, Any]) -> str:
    return orjson.dumps(event).decode()
