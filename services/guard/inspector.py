"""Inspects the messages of one request: finds, scores, judges, masks."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from tollway.chat.v1 import chat_pb2 as chat

from services.guard.checking import Checking, Outcome
from services.guard.detector import Detector
from services.guard.finding import Found
from services.guard.masking import Masker
from services.guard.opinion import Opinion
from services.guard.policy import Policy, Verdict, data_class
from services.guard.restoring import masked
from services.guard.rules import Action, Facts, likeness
from services.guard.texts import Place, places, rewritten
from services.runtime import channels
from services.runtime.errors import Failure, Kind
from services.runtime.languages import language

MOST_CHARACTERS = 1 << 20
ASIDE_FROM = 20_000
"""A longer text is searched in a thread, so that the others are not kept waiting."""
TOOL_RESULTS_AS_DOCUMENTS = (chat.ROLE_TOOL,)
Vector = npt.NDArray[np.float32]


class TextTooLarge(Failure):
    kind, reason = Kind.EXHAUSTED, "TEXT_TOO_LARGE"
    text = "{characters} characters of text; at most {most} are inspected"
    field = "messages"


class ScanTooSlow(Failure):
    kind, reason = Kind.TOO_LATE, "SCAN_TOO_SLOW"
    text = "the deadline passed before all text was searched"


class Inspected(Struct, frozen=True):
    """What was found and decided. `messages` is None where nothing was masked."""

    found: list[tuple[Place, Found, Action]]
    verdict: Verdict
    data_class: str
    probability: float
    messages: list[chat.Message] | None
    outcomes: list[Outcome]
    """Rules beyond those about findings: the name, what it asks for, whether it is broken, how near that is."""


@dataclass(frozen=True, slots=True)
class Inspector:
    detector: Detector
    injection: Opinion
    checking: Checking

    async def prompt(
        self, messages: list[chat.Message], policy: Policy, masker: Masker, vector: Vector | None, documents: bool
    ) -> Inspected:
        """Judges `messages` by `policy`; new placeholders go into `masker`."""
        texts = list(places(messages))
        if (size := sum(len(one.text) for one in texts)) > MOST_CHARACTERS:
            raise TextTooLarge(characters=size, most=MOST_CHARACTERS)
        findings = [await self.find(one.text, policy.prompt.allowed) for one in texts]
        flat = [(place, one) for place, found in zip(texts, findings, strict=True) for one in found]
        judged, verdict = policy.judged(policy.prompt, "prompt", [one for _, one in flat])
        found = [(place, one, act) for (place, one), (_, act) in zip(flat, judged, strict=True)]
        kind = data_class(one for _, one in flat)
        probability, crossed = await self._attacked(texts, policy, vector, documents)
        outcomes = [(crossed or "injection", policy.injection_action, bool(crossed), probability)]
        if policy.rules:
            types = Counter(one.type for _, one in flat)
            facts = Facts([one.text for one in texts], types, kind, probability, len(messages), vector, language)
            outcomes += [
                (one.name, one.action, one.broken(facts), likeness(one, facts))
                for one in policy.rules
                if one.of_documents or not documents
            ]
        verdict, sent = _broken(policy, verdict, outcomes), None
        if verdict.action is not Action.BLOCK and any(act is Action.MASK for *_, act in found):
            sent = self._masked(messages, texts, found, masker)
        if policy.checks and verdict.action is not Action.BLOCK:  # they see what a model would
            changed, more = await self.checking.prompt(policy, "document" if documents else "prompt", sent or messages)
            sent, outcomes = changed or sent, outcomes + more
            verdict = _broken(policy, verdict, more)
        return Inspected(found, verdict, kind, probability, sent, outcomes)

    async def find(self, text: str, unwanted: frozenset[str] = frozenset()) -> tuple[Found, ...]:
        """What is private in `text`; types in `unwanted` are not looked for."""
        check = _deadline()
        if len(text) < ASIDE_FROM:
            return self.detector.find(text, check, unwanted)
        return await asyncio.to_thread(self.detector.find, text, check, unwanted)

    async def _attacked(
        self, texts: list[Place], policy: Policy, vector: Vector | None, documents: bool
    ) -> tuple[float, str]:
        """The highest probability, and the rule that it breaks."""
        asked = [n for n, one in enumerate(texts) if one.role == chat.ROLE_USER]
        worst, rule = 0.0, ""
        for n, one in enumerate(texts):
            foreign = documents or one.role in TOOL_RESULTS_AS_DOCUMENTS
            if not foreign and one.role != chat.ROLE_USER:
                continue
            own = vector if asked and n == asked[-1] and not foreign else None
            limit = policy.document_injection if foreign else policy.user_injection
            probability = await self.injection.probability(one.text, own, 0.0 if policy.weighs_chances else limit)
            if probability >= limit and not rule:
                rule = f"injection.{'document' if foreign else 'user'}"
            worst = max(worst, probability)
        return worst, rule

    def _masked(
        self, messages: list[chat.Message], texts: list[Place], found: list[tuple[Place, Found, Action]], masker: Masker
    ) -> list[chat.Message]:
        masker.avoid(one.text for one in texts)
        spans: dict[tuple[int, int], list[Found]] = {}
        for place, one, action in found:
            if action is Action.MASK:
                spans.setdefault((place.message, place.part), []).append(one)
        return rewritten(messages, lambda place: masked(masker, place.text, spans.get((place.message, place.part), ())))


def _broken(policy: Policy, verdict: Verdict, outcomes: list[Outcome]) -> Verdict:
    """`verdict`, or that of the strictest rule that is broken."""
    for name, action, broken, _ in outcomes:
        if broken:
            verdict = policy.stricter(verdict, name, action)
    return verdict


def _deadline() -> Callable[[], None]:
    """A check that fails once the running call's time is up."""
    until = channels.DEADLINE.get()

    def check() -> None:
        if until is not None and time.monotonic() > until:
            raise ScanTooSlow

    return check
