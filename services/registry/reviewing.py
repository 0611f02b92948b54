"""Answers that are kept, looked at, corrected: which, by the tenant's policy, and what a correction leads to."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
from tollway.cache.v1 import cache_pb2, cache_pb2_grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.registry.v1 import registry_pb2 as pb
from tollway.router.v1 import router_pb2, router_pb2_grpc

from services.registry.messages import stamp
from services.registry.records import WAITING, Feedback, Record, Records
from services.registry.shelf import reached
from services.registry.store import Store
from services.registry.versions import Actor, RegistryAway, Version
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Caller
from services.runtime.metrics import Counted
from services.runtime.subjects import digest

log = logging.getLogger(__name__)

EVERYBODY = "*"
CORRECTIONS = "corrections"
"""The dataset that corrections become cases of."""
MOST_CASES = 20_000
HOLD_S, LOOKS_EVERY_S = 20.0, 0.25
SWEPT_EVERY_S = 600.0
BESIDE_S = 5.0
STATES = {
    "": pb.REVIEW_STATE_UNSPECIFIED,
    WAITING: pb.REVIEW_STATE_WAITING,
    "approved": pb.REVIEW_STATE_APPROVED,
    "corrected": pb.REVIEW_STATE_CORRECTED,
    "rejected": pb.REVIEW_STATE_REJECTED,
}
WORDS = {number: name for name, number in STATES.items()}
ROLES = {
    chat.ROLE_SYSTEM: "system",
    chat.ROLE_DEVELOPER: "developer",
    chat.ROLE_USER: "user",
    chat.ROLE_ASSISTANT: "assistant",
}

REVIEWED = Counted(
    "tollway.registry.reviews", "{answer}", "Answers that a person decided about", ("tenant", "decision")
)
SAID = Counted("tollway.registry.feedback", "{word}", "What people made of answers", ("tenant", "feedback"))


class CorrectionMissing(Failure):
    kind, reason = Kind.INVALID, "CORRECTION_MISSING"
    text = "a correction says what should have been answered"
    field = "correction"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which answers of a tenant a person looks at: for each cause `after` the answer was given, or `hold` until they decided."""

    sampled: float = 0.0
    """A share of all, after."""
    flagged: str = ""
    """What the guard found something in that it does not only mask."""
    unsure_below: float = 0.0
    """Predicted quality of the model that answers."""
    unsure: str = "after"
    labels: Mapping[str, str] = field(default_factory=dict)
    """By label of the request, `name=value`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of a tenant's requests."""

    share: float = 0.0
    """Of requests that are kept, masked."""
    keep_days: float = 30.0
    review: Rules = field(default_factory=Rules)


@dataclass(slots=True)
class Reviewing:
    records: Records
    store: Store
    cache: cache_pb2_grpc.CacheServiceStub
    router: router_pb2_grpc.RouterServiceStub
    policies: Mapping[str, Policy]

    def policy(self, tenant: str) -> Policy:
        return self.policies.get(tenant) or self.policies.get(EVERYBODY) or Policy()

    async def keep(self, said: pb.Record, caller: Caller, user: str) -> UUID:
        now, made = datetime.now(UTC), pb.Record()
        made.CopyFrom(said)
        made.account, made.key_id = caller.account, caller.key_id
        one = Record(
            id=uuid4(), tenant=caller.tenant, trace=said.trace_id, record=made.SerializeToString(), at=now,
            expires=now + timedelta(days=self.policy(caller.tenant).keep_days), review=WORDS[said.review],
            subject=digest(caller.tenant, user),
        )  # fmt: skip
        async with reached():
            await self.records.add(one)
        return one.id

    async def decide(self, request: pb.DecideReviewRequest, tenant: str, by: Actor) -> Record:
        """
        Raises:
            CorrectionMissing, RecordUnknown, NotForReview, DecidedAlready
        """
        decision, now = WORDS[request.decision], datetime.now(UTC)
        if decision == "corrected" and not request.correction.strip():
            raise CorrectionMissing
        async with reached():
            made = await self.records.decide(
                tenant, UUID(request.record_id), decision, by, request.reason, request.correction, now
            )
        REVIEWED.add(1, tenant, decision)
        if decision == "corrected":
            async with reached():
                await self._learned(made, by)
        if decision != "approved":
            record = pb.Record.FromString(made.record)
            await self._forgotten(record.trace_id, record.cache_entry_id)
        return made

    async def awaited(self, tenant: str, record_id: str) -> Record:
        """Once it is decided, or a while later."""
        until = asyncio.get_running_loop().time() + HOLD_S
        while True:
            async with reached():
                found = await self.records.record(tenant, record_id)
            if found.review != WAITING or asyncio.get_running_loop().time() >= until:
                return found
            await asyncio.sleep(LOOKS_EVERY_S)

    async def feedback(self, said: pb.Feedback, caller: Caller) -> pb.RecordFeedbackResponse:
        """Kept, then told to whoever can learn from it: they are asked as the caller, and their absence fails nothing."""
        now = datetime.now(UTC)
        expires = now + timedelta(days=self.policy(caller.tenant).keep_days)
        async with reached():
            await self.records.say(
                Feedback(caller.tenant, said.trace_id, said.SerializeToString(), caller.key_id, now, expires)
            )
        SAID.add(1, caller.tenant, "good" if said.score > 0 else "bad" if said.score < 0 else "neutral")
        made = pb.RecordFeedbackResponse()
        if said.decision_id and said.model and said.score:
            outcome = router_pb2.ReportOutcomeRequest(
                decision_id=said.decision_id, model=said.model, good=said.score > 0
            )
            told = await _beside(self.router.ReportOutcome(outcome, timeout=BESIDE_S))
            made.routed = bool(told and told.known)
        if said.score < 0:
            made.stored = await self._forgotten(said.trace_id, said.cache_entry_id)
        elif said.score > 0 and said.cache_entry_id:
            hit = cache_pb2.ReportHitRequest(entry_id=said.cache_entry_id, right=True)
            told = await _beside(self.cache.ReportHit(hit, timeout=BESIDE_S))
            made.stored = int(bool(told and told.known))
        return made

    async def run(self) -> None:
        """Forgets what need not be kept, until cancelled."""
        while True:
            try:
                async with reached():
                    await self.records.forget(datetime.now(UTC))
            except RegistryAway:
                log.warning("the registry's database is away: nothing is swept")
            await asyncio.sleep(SWEPT_EVERY_S)

    async def _forgotten(self, trace_id: str, entry_id: str) -> int:
        """Drops stored answers: the one that was served, and the one that this answer was kept as."""
        dropped = 0
        if entry_id:
            wrong = cache_pb2.ReportHitRequest(entry_id=entry_id, right=False)
            told = await _beside(self.cache.ReportHit(wrong, timeout=BESIDE_S))
            dropped += int(bool(told and told.known))
        if trace_id:
            tagged = cache_pb2.InvalidateRequest(tag=f"trace:{trace_id}")
            told = await _beside(self.cache.Invalidate(tagged, timeout=BESIDE_S))
            dropped += told.dropped if told else 0
        return dropped

    async def _learned(self, made: Record, by: Actor) -> None:
        """The correction as a case of a dataset: its next version has all of the one before."""
        record = pb.Record.FromString(made.record)
        case = {
            "case_id": str(made.id),
            "messages": [
                {"role": ROLES[one.role], "text": text}
                for one in record.messages
                if one.role in ROLES and (text := "".join(part.text for part in one.parts))
            ],
            "expected": made.correction,
            "tags": ["correction"],
        }
        newest = await self.store.versions(made.tenant, CORRECTIONS, 0, 1)
        before = list(newest[0].content["dataset"]["cases"]) if newest else []
        content = {"dataset": {"cases": [*before, case][-MOST_CASES:]}}
        version = Version(
            made.tenant, CORRECTIONS, 0, "dataset", content, by, datetime.now(UTC), why=f"correction of {made.id}"
        )
        await self.store.propose(version)


async def _beside(call: Any) -> Any:
    """What a call answers; None when it fails: feedback is kept whoever is away."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        log.info("feedback does not reach %s", error.code().name)
        return None


def message(made: Record, *, whole: bool = True) -> pb.Record:
    said = pb.Record.FromString(made.record)
    said.record_id, said.review, said.reviewer = str(made.id), STATES[made.review], made.reviewer
    said.reason, said.correction = made.reason, made.correction
    said.at.CopyFrom(stamp(made.at))
    if made.decided is not None:
        said.decided.CopyFrom(stamp(made.decided))
    if not whole:
        said.ClearField("messages")
        said.ClearField("answer")
        said.ClearField("correction")
    return said


def entry(made: Feedback) -> pb.FeedbackEntry:
    return pb.FeedbackEntry(feedback=pb.Feedback.FromString(made.feedback), by=made.key_id, at=stamp(made.at))


def policies(known: Mapping[str, Policy]) -> list[pb.RecordPolicy]:
    """As the gateway is told."""
    made = []
    for tenant, one in known.items():
        said, rules = pb.RecordPolicy(tenant=tenant, share=one.share), one.review
        if rules.sampled:
            said.rules.add(sampled=rules.sampled)
        if rules.flagged:
            said.rules.add(flagged=True, hold=rules.flagged == "hold")
        if rules.unsure_below:
            said.rules.add(unsure_below=rules.unsure_below, hold=rules.unsure == "hold")
        for label, how in rules.labels.items():
            said.rules.add(label=label, hold=how == "hold")
        made.append(said)
    return made
