"""Translates messages to the cache and back."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.cache.v1 import cache_pb2 as pb
from tollway.cache.v1.cache_pb2_grpc import CacheServiceServicer
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2

from services.cache.answers import digest, said, same
from services.cache.cache import Age, Cache
from services.cache.insight import FROM, Insight, Insights
from services.cache.keys import Keys, keys, last_text, unfit
from services.cache.proof import Judged, threshold_of
from services.cache.store import Entry, Selection, Vector, entry_id, tagged
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.metrics import Counted
from services.runtime.subjects import digest as subject_digest

MOST_AHEAD = 4
STATIC = "static-minilm-256-1"
MISSES = Counted("tollway.cache.misses", "{lookup}", "Looked up in vain, by why.", ("reason",))
LOOKUPS = Counted("tollway.cache.lookups", "{lookup}", "Looked up, by how it ended.", ("match",))


class NothingNamed(Failure):
    kind, reason = Kind.INVALID, "NOTHING_NAMED"
    text = "say what to drop: a tag, a model, a time, or `all`"
    field = "all"


class TooLong(Failure):
    kind, reason = Kind.INVALID, "TTL_TOO_LONG"
    text = "answers are kept for {most_s:g} seconds at most"
    field = "controls.ttl"


@dataclass(frozen=True, slots=True)
class Kept:
    """How long answers are kept, in seconds."""

    ttl_s: float
    classes: Mapping[str, float] = field(default_factory=dict)
    """Of some kinds: `grounded`, `time_sensitive`, `personal`, `tool_calls`, `random`, `web_search`."""
    most_s: float = 31_622_400.0

    def seconds(self, request: pb.StoreRequest, unfit: str) -> float:
        """
        Raises:
            TooLong: the caller wants it kept longer than is allowed.
        """
        if request.controls.HasField("ttl"):
            wanted = _seconds(request.controls.ttl)
            if wanted > self.most_s:
                raise TooLong(most_s=self.most_s)
            return wanted
        kind = unfit.lower() or ("grounded" if request.conditions.ground else "")
        return self.classes.get(kind, self.ttl_s)


@dataclass(slots=True)
class CacheService(CacheServiceServicer):
    cache: Cache
    kept: Kept
    insights: Insights
    _ahead: set[asyncio.Task[None]] = field(default_factory=set)

    async def Lookup(self, request: pb.LookupRequest, context: object) -> pb.LookupResponse:
        caller, template = identity.caller(), request.conditions.template
        found = _keys(request)
        if request.controls.no_cache:
            LOOKUPS.add(1, "bypassed")
            return pb.LookupResponse(miss_reason="BYPASSED", exact_key=found.exact)

        def learns() -> bool:
            return not request.controls.no_store and not unfit(request.chat)

        hit, why = await self.cache.find(found, _vector(request), _age(request), learns)
        telemetry.note(tollway__cache__hit=hit is not None, tollway__cache__reason=why)
        LOOKUPS.add(1, "miss" if hit is None else "semantic" if hit.semantic else "exact")
        if hit is None:
            MISSES.add(1, why)
            self.insights.missed(caller.tenant, template, why)
            return pb.LookupResponse(miss_reason=why, exact_key=found.exact)
        entry, chance = hit.entry, hit.confidence if hit.semantic else None
        self.insights.hit(caller.tenant, template, entry.id, chance, entry.cost, entry.took_s)
        stored = Timestamp()
        stored.FromMicroseconds(int(entry.stored * 1e6))
        return pb.LookupResponse(
            match=pb.MATCH_SEMANTIC if hit.semantic else pb.MATCH_EXACT,
            entry_id=entry.id,
            completion=chat.ChatCompletion.FromString(entry.completion),
            stored=stored,
            confidence=hit.confidence,
            exact_key=found.exact,
            attached=entry.attached,
            stale=hit.stale,
        )

    async def Store(self, request: pb.StoreRequest, context: object) -> pb.StoreResponse:
        controls = request.controls
        unfitness = unfit(request.chat, request.completion)
        reason = "NO_STORE" if controls.no_store else unfitness
        if reason in ("NO_STORE", "INCOMPLETE") or (reason and not controls.store_anyway):
            return pb.StoreResponse(reason=reason)
        found, now = _keys(request), self.cache.now()
        entry = Entry(
            id=entry_id(found.exact),
            tenant=found.tenant,
            scope=found.scope,
            exact=found.exact,
            text=found.text,
            vector=_vector(request) if last_text(request.chat) else None,
            completion=request.completion.SerializeToString(),
            model=request.completion.model,
            tags=tagged(request.tags, found.subject),
            stored=now,
            expires=now + self.kept.seconds(request, unfitness),
            cost=request.cost_nano_usd,
            took_s=_seconds(request.took),
            attached=request.attached,
            answer=digest(request.completion),
        )
        await self.cache.keep(entry)
        if entry.vector is not None and self.cache.idle and len(self._ahead) < MOST_AHEAD:
            task = asyncio.create_task(self._met(entry.text))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)
        return pb.StoreResponse(stored=True, entry_id=entry.id)

    async def _met(self, text: str) -> None:
        """Has MiniLM look at a stored text before anybody waits for that."""
        with suppress(TimeoutError, grpc.aio.AioRpcError):  # then the first who asks for it waits
            await self.cache.prover.verifier.minilm([text])

    async def Invalidate(self, request: pb.InvalidateRequest, context: object) -> pb.InvalidateResponse:
        before = request.stored_before.ToMicroseconds() / 1e6 if request.HasField("stored_before") else 0.0
        if not (request.tag or request.model or before or request.all):
            raise NothingNamed
        selection = Selection(identity.caller().tenant, request.tag, request.model, before)
        return pb.InvalidateResponse(dropped=await self.cache.drop(selection))

    async def ReportHit(self, request: pb.ReportHitRequest, context: object) -> pb.ReportHitResponse:
        tenant, right = identity.caller().tenant, request.right
        if request.HasField("fresh"):
            entry = await self.cache.store.get(request.entry_id)
            if entry is None or entry.tenant != tenant:
                return pb.ReportHitResponse()
            served = said(chat.ChatCompletion.FromString(entry.completion))
            alike = await same(self.cache.prover.verifier, served, said(request.fresh))
            if alike is None:
                return pb.ReportHitResponse(known=True)
            right = alike
        if not await self.cache.judge(request.entry_id, tenant, right):
            return pb.ReportHitResponse()
        self.insights.reported(tenant, request.entry_id, right)
        judgement = pb.JUDGEMENT_RIGHT if right else pb.JUDGEMENT_WRONG
        return pb.ReportHitResponse(known=True, judgement=judgement)

    async def Explain(self, request: pb.ExplainRequest, context: object) -> pb.ExplainResponse:
        found, bound = _keys(request), self.cache.bounds.of(identity.caller().tenant)
        threshold = bound.threshold()
        entry, judged = await self.cache.explain(found, _vector(request), _age(request))
        best = max(judged, key=lambda one: one.chance, default=None)
        served = entry or (best.entry if best is not None and best.fits(threshold) else None)
        live = [one for one in judged if one.outcome != "EXPIRED"]
        return pb.ExplainResponse(
            match=pb.MATCH_EXACT if entry else pb.MATCH_SEMANTIC if served else pb.MATCH_UNSPECIFIED,
            entry_id=served.id if served else "",
            miss_reason="" if served else "NOT_PROVEN" if live else "NO_CANDIDATE",
            store_reason="NO_STORE" if request.controls.no_store else unfit(request.chat),
            threshold=threshold,
            error_bound=bound.limit,
            candidates=[_candidate(one, threshold) for one in judged],
        )

    async def GetInsight(self, request: pb.GetInsightRequest, context: object) -> pb.GetInsightResponse:
        tenant = identity.caller().tenant
        bound, since = self.cache.bounds.of(tenant), Timestamp()
        since.FromMicroseconds(int(self.insights.since * 1e6))
        listed = self.insights.listed(tenant)
        return pb.GetInsightResponse(
            insights=[_insight(*one) for one in listed if not request.template or one[0] == request.template],
            error_bound=bound.limit,
            threshold=bound.threshold(),
            excess=bound.excess,
            since=since,
        )

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        subject = subject_digest(request.tenant, request.subject)
        dropped = await self.cache.erase(request.tenant, subject)
        if not subject:
            self.insights.forget(request.tenant)
        return pb.EraseResponse(erased={"answers": dropped})


def _keys(request: pb.LookupRequest | pb.StoreRequest | pb.ExplainRequest) -> Keys:
    caller = identity.caller()
    return keys(request.chat, request.conditions, request.controls.scope, caller.account, caller.key_id)


def _age(request: pb.LookupRequest | pb.ExplainRequest) -> Age:
    controls = request.controls
    most = _seconds(controls.max_age) if controls.HasField("max_age") else None
    return Age(most, _seconds(controls.max_stale))


def _seconds(said: Duration) -> float:
    """protobuf's own way to a number goes by a `timedelta`, at several times the cost."""
    return said.seconds + said.nanos / 1e9


def _vector(request: pb.LookupRequest | pb.StoreRequest | pb.ExplainRequest) -> Vector | None:
    """The static vector; one of another model never compares and does not count, nor do requests that may call tools."""
    vector: encoder_pb2.Vector = request.vector
    return np.frombuffer(vector.values, np.float32) if vector.model == STATIC and not request.chat.tools else None


def _candidate(one: Judged, threshold: float) -> pb.Candidate:
    return pb.Candidate(
        entry_id=one.entry.id,
        static_cosine=one.static,
        minilm_cosine=one.minilm,
        gap=one.gap,
        chance=one.chance,
        needed=threshold_of(one.entry, threshold),
        outcome=one.outcome,
        facts={name: value for name, value in one.facts.items() if value},
        right=one.entry.right,
        wrong=one.entry.wrong,
    )


def _insight(template: str, one: Insight) -> pb.Insight:
    saved = Duration()
    saved.FromMicroseconds(int(one.saved_s * 1e6))
    bins = [
        pb.CalibrationBin(
            **{"from": least}, foretold=each.foretold / each.hits, hits=each.hits, right=each.right, wrong=each.wrong
        )
        for least, each in zip(FROM, one.calibration, strict=True)
        if each.hits
    ]
    return pb.Insight(
        template=template,
        lookups=one.lookups,
        exact=one.exact,
        semantic=one.semantic,
        misses=dict(one.misses),
        saved_nano_usd=one.saved_nano_usd,
        saved=saved,
        calibration=bins,
    )
