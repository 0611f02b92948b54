"""Translates messages to the cache and back."""

from dataclasses import dataclass

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.cache.v1 import cache_pb2 as pb
from tollway.cache.v1.cache_pb2_grpc import CacheServiceServicer
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2

from services.cache.cache import Cache
from services.cache.keys import keys, last_text, unfit
from services.cache.store import Entry, Selection, Vector, entry_id
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.metrics import Counted

STATIC = "static-minilm-256-1"
LOOKUPS = Counted("tollway.cache.lookups", "{lookup}", "Looked up, by how it ended.", ("match",))


class NothingNamed(Failure):
    kind, reason = Kind.INVALID, "NOTHING_NAMED"
    text = "say what to drop: a tag, a model, a time, or `all`"
    field = "all"


@dataclass(slots=True)
class CacheService(CacheServiceServicer):
    cache: Cache
    ttl_s: float

    async def Lookup(self, request: pb.LookupRequest, context: object) -> pb.LookupResponse:
        caller, controls = identity.caller(), request.controls
        found = keys(request.chat, request.conditions, controls.scope, caller.account, caller.key_id)
        if controls.no_cache:
            LOOKUPS.add(1, "bypassed")
            return pb.LookupResponse(miss_reason="BYPASSED", exact_key=found.exact)
        max_age = controls.max_age.ToTimedelta().total_seconds() if controls.HasField("max_age") else None
        vector = None if request.chat.tools else _vector(request)
        hit, why = await self.cache.find(found, vector, max_age)
        telemetry.note(tollway__cache__hit=hit is not None, tollway__cache__reason=why)
        LOOKUPS.add(1, "miss" if hit is None else "semantic" if hit.semantic else "exact")
        if hit is None:
            return pb.LookupResponse(miss_reason=why, exact_key=found.exact)
        stored = Timestamp()
        stored.FromMicroseconds(int(hit.entry.stored * 1e6))
        return pb.LookupResponse(
            match=pb.MATCH_SEMANTIC if hit.semantic else pb.MATCH_EXACT,
            entry_id=hit.entry.id,
            completion=chat.ChatCompletion.FromString(hit.entry.completion),
            stored=stored,
            confidence=hit.confidence,
            exact_key=found.exact,
            attached=hit.entry.attached,
        )

    async def Store(self, request: pb.StoreRequest, context: object) -> pb.StoreResponse:
        caller, controls = identity.caller(), request.controls
        reason = "NO_STORE" if controls.no_store else unfit(request.chat, request.completion)
        if reason in ("NO_STORE", "INCOMPLETE") or (reason and not controls.store_anyway):
            return pb.StoreResponse(reason=reason)
        found = keys(request.chat, request.conditions, controls.scope, caller.account, caller.key_id)
        now = self.cache.now()
        entry = Entry(
            id=entry_id(found.exact),
            tenant=found.tenant,
            scope=found.scope,
            exact=found.exact,
            text=found.text,
            vector=_vector(request) if last_text(request.chat) and not request.chat.tools else None,
            completion=request.completion.SerializeToString(),
            model=request.completion.model,
            tags=tuple(request.tags),
            stored=now,
            expires=now + self.ttl_s,
            cost=request.cost_nano_usd,
            took_s=request.took.ToTimedelta().total_seconds(),
            attached=request.attached,
        )
        await self.cache.keep(entry)
        return pb.StoreResponse(stored=True, entry_id=entry.id)

    async def Invalidate(self, request: pb.InvalidateRequest, context: object) -> pb.InvalidateResponse:
        before = request.stored_before.ToMicroseconds() / 1e6 if request.HasField("stored_before") else 0.0
        if not (request.tag or request.model or before or request.all):
            raise NothingNamed
        selection = Selection(identity.caller().tenant, request.tag, request.model, before)
        return pb.InvalidateResponse(dropped=await self.cache.drop(selection))

    async def ReportHit(self, request: pb.ReportHitRequest, context: object) -> pb.ReportHitResponse:
        known = await self.cache.judge(request.entry_id, identity.caller().tenant, request.right)
        return pb.ReportHitResponse(known=known)


def _vector(request: pb.LookupRequest | pb.StoreRequest) -> Vector | None:
    """The static vector; one of another model never compares and does not count."""
    vector: encoder_pb2.Vector = request.vector
    return np.frombuffer(vector.values, np.float32) if vector.model == STATIC else None
