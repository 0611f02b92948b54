"""One request under way: what it has learned at each step of the road."""

import time
import uuid
from dataclasses import dataclass, field
from hashlib import blake2b

import grpc
from msgspec import Struct
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1.chat_pb2 import (
    ROLE_SYSTEM,
    ROLE_USER,
    ChatRequest,
    ContentPart,
    Message,
    PromptVersion,
)
from tollway.encoder.v1 import encoder_pb2
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2
from tollway.router.v1 import router_pb2

from services.orchestrator.allowances import Draw
from services.orchestrator.shapes import Whole
from services.runtime import telemetry
from services.runtime.identity import Caller


class Asked(Struct, frozen=True):
    """A request before the road: its conversation whole, whatever it was made from."""

    chat: ChatRequest
    options: pb.Options
    used: tuple[PromptVersion, ...] = ()
    """The versions of the template that it was made from, and of its configuration."""
    degraded: tuple[str, ...] = ()
    """Services that were away and done without."""


@dataclass(slots=True)
class Journey:
    """Filled in as the road is gone; nothing in it is decided by the orchestrator itself."""

    caller: Caller
    chat: ChatRequest
    """Masked once the guard has seen it."""
    options: pb.Options
    reservation_id: str
    road: pb.Road
    vector: encoder_pb2.Vector | None = None
    conditions: cache_pb2.Conditions = field(default_factory=cache_pb2.Conditions)
    controls: cache_pb2.Controls = field(default_factory=cache_pb2.Controls)
    exact_key: str = ""
    hit: cache_pb2.LookupResponse | None = None
    candidates: list[router_pb2.Candidate] = field(default_factory=list)
    cascade: router_pb2.Cascade | None = None
    """Set while the first candidate is to be asked alone and judged."""
    verdict: guard_pb2.Verdict = field(default_factory=guard_pb2.Verdict)
    """The guard's, with its word for what the prompt holds and where that may go."""
    hold: bytes = b""
    drawn: Draw | None = None
    """What it was granted while the ledger was away: `hold` is the allowance, then."""
    laid_out: ChatRequest | None = None
    """`chat` as a model gets it: with what its route adds and the passages that it rests on, shortened."""
    answer: Whole = field(default_factory=Whole)
    """As the model gave it, placeholders unrestored."""
    shared: bool = False
    """The answer is another request's, asked at the same time."""
    model: str = ""
    most_asked: int = 0
    """Output tokens that the caller allows; 0 for the model's own most."""
    spent_nano_usd: int = 0
    """On calls that came before the one that answers."""
    extra_input_tokens: int = 0
    """Of calls whose answers were not used, and that the provider bills."""
    used: tuple[PromptVersion, ...] = ()
    """The versions that the prompt was made from."""
    traced: bool = False
    """Its road can be looked at later."""
    began: float = field(default_factory=time.monotonic)
    computed_ms: int = 0
    """How long models have run for the hold that is open."""
    computing: float = 0.0
    """Since when one runs; 0 for none."""

    def computes(self) -> None:
        """A model begins to run."""
        self.computing = time.monotonic()

    def computed(self) -> int:
        """It has ended, if it still ran; milliseconds of all."""
        if self.computing:
            self.computed_ms += int((time.monotonic() - self.computing) * 1000)
            self.computing = 0.0
        return self.computed_ms

    @property
    def asked(self) -> ChatRequest:
        """What the model gets."""
        return self.laid_out if self.laid_out is not None else self.chat

    def adjust(self, said: router_pb2.Adjustment) -> None:
        """Lays out what the route has a model asked with; what the request says itself counts first."""
        if said.no_store:
            self.controls.no_store = True
        asked = ChatRequest()
        if said.system:
            asked.messages.append(Message(role=ROLE_SYSTEM, parts=[ContentPart(text=said.system)]))
        asked.MergeFrom(self.chat)
        asked.reasoning_effort = asked.reasoning_effort or said.reasoning_effort
        told = {one.name for one in asked.template_options}
        asked.template_options.extend(one for one in said.template_options if one.name not in told)
        self.laid_out = asked

    @property
    def text(self) -> str:
        """The last message, where it is a user's and has text; what decisions rest on."""
        return last_text(self.chat)

    @property
    def shareable(self) -> bool:
        """Whether callers that ask the same may have the same answer."""
        controls, request = self.controls, self.chat
        return not (
            controls.no_cache
            or controls.no_store
            or request.tools
            or (request.HasField("temperature") and request.temperature > 1)
        )

    def again(self) -> "Journey":
        """The same request, to be asked of a model beside the first, whatever the cache has."""
        chat, options = ChatRequest(), pb.Options()
        chat.CopyFrom(self.chat)
        options.CopyFrom(self.options)
        options.idempotency_key, options.priority = "", models_pb2.PRIORITY_LOW
        return Journey(
            self.caller,
            chat,
            options,
            str(uuid.uuid4()),
            pb.Road(trace_id=self.road.trace_id),
            vector=self.vector,
            conditions=self.conditions,
            controls=self.controls,
            exact_key=self.exact_key,
            verdict=self.verdict,
            most_asked=self.most_asked,
            used=self.used,
        )

    def without(self, dependency: str) -> None:
        """Notes a service that is away and done without."""
        if dependency not in self.road.degraded:
            self.road.degraded.append(dependency)

    def done_without(self, dependency: str, error: grpc.aio.AioRpcError) -> None:
        """As [without][], with an event that tells why."""
        self.without(dependency)
        telemetry.event("done without", dependency=dependency, code=error.code().name)


def conversation(account: str, request: ChatRequest) -> str:
    """The same for all turns of a conversation: who asks, the instructions and the first question."""
    made = blake2b(f"{account}\0{request.user}".encode(), digest_size=16)
    for message in request.messages:
        made.update(b"".join(b"\0" + part.text.encode("utf-8", "surrogatepass") for part in message.parts))
        if message.role == ROLE_USER:
            break
    return made.hexdigest()


def last_text(request: ChatRequest) -> str:
    last = request.messages[-1]
    if last.role != ROLE_USER:
        return ""
    return _text(last)


def last_said(request: ChatRequest) -> str:
    """The last message of the user's, whatever came after it."""
    return next((_text(one) for one in reversed(request.messages) if one.role == ROLE_USER), "")


def _text(message: Message) -> str:
    parts = message.parts
    return parts[0].text if len(parts) == 1 else "\n".join(part.text for part in parts if part.text)
