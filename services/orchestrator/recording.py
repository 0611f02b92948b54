"""Requests that a policy keeps, and answers that a person looks at: after they were given, or before."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration
from tollway.chat.v1 import chat_pb2 as chat
from tollway.guard.v1 import guard_pb2
from tollway.registry.v1 import registry_pb2

from services.orchestrator.facts import Registered
from services.orchestrator.failures import ReviewRejected
from services.orchestrator.journey import Journey
from services.orchestrator.mirroring import LABEL
from services.orchestrator.road import Road
from services.runtime import telemetry
from services.runtime.metrics import Counted

RECORD_S, AWAIT_S = 5.0, 30.0
QUIET = (guard_pb2.ACTION_UNSPECIFIED, guard_pb2.ACTION_ALLOW, guard_pb2.ACTION_MASK)
"""What the guard does about findings that nobody need look at."""

ANSWERS = Counted("tollway.gateway.answers", "{answer}", "Answers, and which of them a person looks at", ("reviewed",))


@dataclass(frozen=True, slots=True)
class Marks:
    """What is to be done with an answer."""

    causes: tuple[str, ...] = ()
    """Why it is kept; empty when it is not."""
    review: bool = False
    hold: bool = False


NOTHING = Marks()


@dataclass(frozen=True, slots=True)
class Recording:
    road: Road
    registered: Registered

    def marks(self, journey: Journey) -> Marks:
        """Called once the road has been gone as far as the model."""
        policy = self.registered.policy(journey.caller.tenant)
        if policy is None or LABEL in journey.chat.metadata:
            ANSWERS.add(1, "no")
            return NOTHING
        causes, review, hold = [], False, False
        for cause, held in _met(policy, journey):
            causes.append(cause)
            review, hold = True, hold or held
        if not causes and random.random() < policy.share:
            causes.append("sampled")
        ANSWERS.add(1, "hold" if hold else "after" if review else "no")
        return Marks(tuple(dict.fromkeys(causes)), review, hold)

    def after(self, journey: Journey, made: chat.ChatCompletion, marks: Marks) -> None:
        """Keeps an answer that was given, beside the request."""
        if marks.causes and not marks.hold:
            record, user = _record(journey, made, marks), journey.chat.user
            self.road.desk.later(lambda: self._kept(record, user))

    async def reviewed(self, journey: Journey, made: chat.ChatCompletion, marks: Marks) -> chat.ChatCompletion:
        """The answer as a person lets it go: as it is, or corrected. Waits as long as the request may take.

        Raises:
            ReviewRejected
            AioRpcError: the registry is away: what must be looked at is not given without.
        """
        # The model has been asked, whatever becomes of its answer.
        journey.answer.completion, journey.answer.characters = made, 1
        await self.road.peers.reach("registry", self.road.waits.restart_s)
        record_id = await self._kept(_record(journey, made, marks), journey.chat.user)
        telemetry.event("waits for a person")
        while True:
            await self.road.tokens.fresh()
            asked = registry_pb2.AwaitReviewRequest(record_id=record_id)
            try:
                found = await self.road.peers.registry.AwaitReview(asked, timeout=AWAIT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await self.road.peers.reach("registry", self.road.waits.restart_s)
                continue
            match found.decision:
                case registry_pb2.REVIEW_STATE_APPROVED:
                    return made
                case registry_pb2.REVIEW_STATE_CORRECTED:
                    return _corrected(made, found.correction)
                case registry_pb2.REVIEW_STATE_REJECTED:
                    raise ReviewRejected(record_id=record_id)

    async def _kept(self, record: registry_pb2.Record, user: str) -> str:
        request = registry_pb2.RecordAnswerRequest(record=record, user=user)
        return str((await self.road.peers.registry.RecordAnswer(request, timeout=RECORD_S)).record_id)


def _met(policy: registry_pb2.RecordPolicy, journey: Journey) -> Iterator[tuple[str, bool]]:
    """The rules that an answer meets: why, and whether it waits."""
    for rule in policy.rules:
        match rule.WhichOneof("cause"):
            case "sampled":
                met, why = random.random() < rule.sampled, "sampled"
            case "flagged":
                met, why = any(one.action not in QUIET for one in journey.road.findings), "flagged"
                met = met or journey.verdict.action == guard_pb2.ACTION_FLAG
            case "unsure_below":
                met = bool(journey.candidates) and journey.candidates[0].quality < rule.unsure_below
                why = "unsure"
            case _:
                name, _, value = rule.label.partition("=")
                met, why = journey.chat.metadata.get(name) == value, "label"
        if met:
            yield why, rule.hold


def _record(journey: Journey, made: chat.ChatCompletion, marks: Marks) -> registry_pb2.Record:
    road, took = journey.road, Duration()
    took.FromMicroseconds(int((time.monotonic() - journey.began) * 1e6))
    return registry_pb2.Record(
        trace_id=road.trace_id,
        model=journey.model,
        route_reason=road.route_reason,
        decision_id=road.decision_id,
        cache_entry_id=road.cache_entry_id,
        used=journey.used,
        messages=journey.chat.messages,
        answer="".join(part.text for choice in made.choices[:1] for part in choice.message.parts),
        cost_nano_usd=road.cost_nano_usd,
        took=took,
        findings=sorted({one.type for one in road.findings}),
        causes=marks.causes,
        review=registry_pb2.REVIEW_STATE_WAITING if marks.review else registry_pb2.REVIEW_STATE_UNSPECIFIED,
        held=marks.hold,
    )


def _corrected(made: chat.ChatCompletion, text: str) -> chat.ChatCompletion:
    whole = chat.ChatCompletion()
    whole.CopyFrom(made)
    del whole.choices[1:]
    said = whole.choices[0] if whole.choices else whole.choices.add()
    said.message.CopyFrom(chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text=text)]))
    said.finish_reason = chat.FINISH_REASON_STOP
    return whole
