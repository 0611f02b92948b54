"""Answers that were given, handed to the registry's shadows: after the answer, beside the request, and dropped when that fails."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.registry.v1 import registry_pb2

from services.orchestrator.facts import Registered
from services.orchestrator.journey import Journey
from services.orchestrator.road import Road
from services.orchestrator.routing import AUTO
from services.runtime import identity

LABEL = "tollway.shadow"
"""Marks requests of a shadow's own among a request's labels."""
MOST_LABELS = 16
LONGEST_ANSWER = 1 << 20
MIRROR_S = 10.0
NONE: tuple[registry_pb2.Shadow, ...] = ()


@dataclass(slots=True)
class Mirrored:
    """The shadows that are to get a request's answer; false when there are none."""

    mirroring: "Mirroring"
    asked: chat.ChatRequest
    options: pb.Options
    shadows: Sequence[registry_pb2.Shadow]
    began: float = field(default_factory=time.monotonic)

    def __bool__(self) -> bool:
        return bool(self.shadows)

    def answered(self, journey: Journey, shown: chat.ChatCompletion) -> None:
        """Hands the answer over. Answers of the cache are nobody's work, and are left out."""
        if journey.hit is not None or journey.shared:
            return
        answer = "".join(part.text for choice in shown.choices[:1] for part in choice.message.parts)
        if not answer or len(answer) > LONGEST_ANSWER:
            return
        took = Duration()
        took.FromMicroseconds(int((time.monotonic() - self.began) * 1e6))
        for one in self.shadows:
            self.mirroring.hand_over(
                registry_pb2.MirrorRequest(
                    tenant=one.tenant,
                    name=one.name,
                    chat=self.asked,
                    options=self.options,
                    used=journey.used[0] if journey.used else None,
                    answer=answer,
                    cost_nano_usd=journey.road.cost_nano_usd,
                    took=took,
                    trace_id=journey.road.trace_id,
                )
            )


@dataclass(frozen=True, slots=True)
class Mirroring:
    road: Road
    registered: Registered
    key: str = field(default="", repr=False)
    """Own API key, an administrator's."""

    def chosen(self, request: chat.ChatRequest, options: pb.Options) -> Mirrored:
        """The shadows of whose source this request is, each by its share. Called before the road."""
        caller = identity.current()
        known = self.registered.shadows.get(caller.tenant) if caller is not None else None
        if not known or LABEL in request.metadata or len(request.metadata) >= MOST_LABELS:
            return Mirrored(self, request, options, NONE)
        found = [one for one in known if _fits(one, request, options) and random.random() < one.share]
        return Mirrored(self, request, options, found)

    def hand_over(self, request: registry_pb2.MirrorRequest) -> None:
        own = (("authorization", f"Bearer {self.key}"),)
        self.road.desk.later(lambda: self.road.peers.registry.Mirror(request, metadata=own, timeout=MIRROR_S))


def _fits(shadow: registry_pb2.Shadow, request: chat.ChatRequest, options: pb.Options) -> bool:
    match shadow.WhichOneof("source"):
        case "template":
            return options.prompt.reference.partition("@")[0] == shadow.template
        case "model":
            return (request.model or AUTO) == shadow.model
        case "everything":
            return True
    return False
