"""Facts that seldom change, kept as their owners push them: they cost a request no hop."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, TypeVar

import grpc
from tollway.models.v1 import models_pb2, models_pb2_grpc
from tollway.registry.v1 import registry_pb2, registry_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc
from tollway.router.v1 import router_pb2, router_pb2_grpc

from services.orchestrator.failures import EVERYBODY
from services.runtime import channels
from services.runtime.identity import Caller
from services.runtime.remembered import Remembered

log = logging.getLogger(__name__)
V = TypeVar("V")

AGAIN_S = 0.5
READ_EVERY_S = 10.0
IDLE_S = 600.0
FIRST_S = 1.0
LOW_FOR_S = 60.0
MOST_TENANTS = 10_000


@dataclass(slots=True)
class Models:
    """The catalogue, as the models service last told it."""

    stub: models_pb2_grpc.ModelsServiceStub
    known: Mapping[str, models_pb2.Model] = field(default_factory=dict)
    read_once: bool = False

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.read()
                wait = READ_EVERY_S
            except grpc.aio.AioRpcError as error:
                log.debug("the catalogue is not read for the moment: %s", error.code().name)
                wait = AGAIN_S
            await asyncio.sleep(wait)

    async def read(self) -> None:
        listed = await self.stub.ListModels(models_pb2.ListModelsRequest(), timeout=5.0)
        self.known, self.read_once = {one.name: one for one in listed.models}, True

    @property
    def first(self) -> str:
        """The first by name that chats; empty where none does."""
        return min((name for name, one in self.known.items() if not _other(one)), default="")


def _other(one: models_pb2.Model) -> bool:
    costs = (one.image_tokens, one.second_tokens, one.character_tokens)
    return one.embeddings or one.rerank or one.moderation or one.realtime or any(costs)


@dataclass(slots=True)
class Registered:
    """What the registry pushes: every tenant's shadows, and what is kept of requests. Without a key of our own nobody tells."""

    stub: registry_pb2_grpc.RegistryServiceStub
    key: str = field(default="", repr=False)
    shadows: Mapping[str, Sequence[registry_pb2.Shadow]] = field(default_factory=dict)
    """By tenant."""
    policies: Mapping[str, registry_pb2.RecordPolicy] = field(default_factory=dict)
    """By tenant, `*` for all others."""

    def policy(self, tenant: str) -> registry_pb2.RecordPolicy | None:
        return self.policies.get(tenant) or self.policies.get(EVERYBODY)

    async def follow(self) -> None:
        """Until cancelled. What was told last stays while the stream is cut."""
        while self.key:
            try:
                async for told in self.stub.Watch(
                    registry_pb2.WatchRequest(), metadata=(("authorization", f"Bearer {self.key}"),)
                ):
                    found: dict[str, list[registry_pb2.Shadow]] = {}
                    for one in told.shadows:
                        found.setdefault(one.tenant, []).append(one)
                    self.shadows, self.policies = found, {one.tenant: one for one in told.policies}
            except grpc.aio.AioRpcError as error:
                log.debug("the registry is not followed for the moment: %s", error.code().name)
            await asyncio.sleep(AGAIN_S)


@dataclass(slots=True)
class Budgets:
    """Accounts with a budget nearly used up, as the ledger's last answers said."""

    _low: dict[str, float] = field(default_factory=dict)

    def noted(self, account: str, low: bool) -> None:
        if low:
            self._low[account] = time.monotonic()
        elif self._low:
            self._low.pop(account, None)

    def low(self, account: str) -> bool:
        """Told within the last minute."""
        told = self._low.get(account) if self._low else None
        return told is not None and time.monotonic() - told < LOW_FOR_S


@dataclass(slots=True)
class _Watched(Generic[V]):
    first: "asyncio.Future[V]"
    asked: float
    task: "asyncio.Task[None] | None" = None
    last: V | None = None


@dataclass(slots=True)
class Watches(Generic[V]):
    """What an owner pushes of each tenant's, watched from the first request that needs it until it has been quiet a while."""

    watch: Callable[[str], AsyncIterable[V]]
    """Opens the stream, of a part of what the tenant has; in the context of a request of the tenant's."""
    _watched: dict[tuple[str, str], _Watched[V]] = field(default_factory=dict)

    async def of(self, tenant: str, part: str = "", within_s: float = FIRST_S) -> V:
        """What was told last; the first time it is waited for. Called in the context of a request of the tenant's.

        Raises:
            grpc.aio.AioRpcError: the owner is away.
            TimeoutError: it does not answer.
        """
        now = time.monotonic()
        place = tenant, part
        known = self._watched.get(place)
        if known is None:
            self._forget(now)
            known = self._watched[place] = _Watched[V](asyncio.get_running_loop().create_future(), now)
            known.task = asyncio.create_task(self._follow(place, known))
        known.asked = now
        if not known.first.done():
            async with asyncio.timeout(within_s):
                await asyncio.shield(known.first)
        return known.last if known.last is not None else known.first.result()

    def close(self) -> None:
        for known in self._watched.values():
            if known.task is not None:
                known.task.cancel()

    async def _follow(self, place: tuple[str, str], known: _Watched[V]) -> None:
        """Ends when the stream is cut: the next request that needs it watches again, with its own identity."""
        channels.DEADLINE.set(None)  # outlives the request that it was begun for
        try:
            async for told in self.watch(place[1]):
                known.last = told
                if not known.first.done():
                    known.first.set_result(told)
        except grpc.aio.AioRpcError as error:
            if not known.first.done():
                known.first.set_exception(error)
        finally:
            if self._watched.get(place) is known:
                del self._watched[place]

    def _forget(self, now: float) -> None:
        for known in list(self._watched.values()):
            if now - known.asked > IDLE_S and known.task is not None:
                known.task.cancel()


class Epochs:
    """The epoch of each tenant's documents, by collection."""

    def __init__(self, stub: retrieval_pb2_grpc.RetrievalServiceStub) -> None:
        self._watches = Watches[retrieval_pb2.WatchResponse](
            lambda collection: stub.Watch(retrieval_pb2.WatchRequest(collection=collection))
        )
        self.close = self._watches.close

    async def of(self, tenant: str, collection: str = "") -> int:
        """Of the tenant's collection, or of all its documents. Called in the context of a request of its.

        Raises:
            grpc.aio.AioRpcError: retrieval is away.
            TimeoutError: it does not answer.
        """
        return (await self._watches.of(tenant, collection)).epoch


class Routed:
    """Each tenant's policy, and what its routes look at beside the conversation: answers are exchanged among requests that are equal in
    both."""

    def __init__(self, stub: router_pb2_grpc.RouterServiceStub) -> None:
        self._watches = Watches[router_pb2.WatchResponse](lambda _: stub.Watch(router_pb2.WatchRequest()))
        self._told = Remembered[str, router_pb2.WatchResponse](MOST_TENANTS)
        self.close = self._watches.close

    async def by(self, caller: Caller, labels: Mapping[str, str], *, shared: bool) -> str:
        """Equal for requests under one policy that the same routes hold for, as far as these look beside the conversation; '' for no policy
        and nothing that is looked at. What was told last counts while the router is away. Called in the context of the request.

        `shared` says that other accounts may have the answer.
        """
        before = self._told.get(caller.tenant)
        try:
            told = await self._watches.of(caller.tenant, within_s=FIRST_S if before is None else 0)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return ""  # a router that knows no routes
            told = before or router_pb2.WatchResponse(metadata=labels, account=True)
        else:
            if told is not before:
                self._told.keep(caller.tenant, told)
        said = [f"{name}={labels[name]}" for name in sorted(told.metadata) if name in labels]
        if told.account and shared:
            said.append(caller.account)
        if told.policy:
            said.append(told.policy)
        return blake2b("\0".join(said).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest() if said else ""
