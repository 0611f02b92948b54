"""A session of speech and text under way: what passes in each direction, and what of it is done in another way than was said.

At the end of an utterance the provider begins no response by itself: the mesh does, once each is held for.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from tollway.models.v1 import models_pb2

from services.orchestrator import dialogue
from services.orchestrator.agreement import Agreement
from services.orchestrator.dialogue import Event
from services.orchestrator.failures import EventUnfit, SessionOutOfHand
from services.orchestrator.masking import Masking
from services.orchestrator.purse import Purse
from services.orchestrator.road import Road
from services.orchestrator.unmasking import SAYS, Unmasking
from services.runtime.errors import Failure
from services.runtime.status import info_of

OURS = "tollway_"
"""Begins the ids of events that the mesh sends, or that came without one."""
OURS_ALONE = f"{OURS}turn_"
"""... of those by which it begins responses at the end of an utterance: a provider that is speaking refuses them, and would have told nobody."""
ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done", "conversation.item.added",
                         "conversation.item.created", "conversation.item.done", "conversation.item.retrieved"})  # fmt: skip
PART_EVENTS = frozenset({"response.content_part.added", "response.content_part.done"})
SOUND = "response.output_audio.delta"


@dataclass(slots=True)
class Session:
    road: Road
    model: models_pb2.Model
    labels: Mapping[str, str]
    send: Callable[[str], Awaitable[None]]
    """To the provider."""
    tell: Callable[[str], Awaitable[None]]
    """The caller."""
    decline: Callable[[Exception, str], Awaitable[None]]
    """Tells the caller why something was not done, and which of its events asked for that."""
    transcribes: bool = False
    wished: Event = field(default_factory=dict)
    """How the caller wants it to begin."""
    agreed: Agreement = field(init=False)
    purse: Purse = field(init=False)
    masking: Masking = field(init=False)
    unmasking: Unmasking = field(init=False)
    _commits: deque[str] = field(default_factory=deque)
    """The caller's own, which begin no response."""
    _silenced: str = ""
    """The event by which the provider was told what the mesh must have, and the caller's wishes, until it says that it heeds them."""
    _begun: Event | None = None
    """`session.created`, until what the caller wished for is in force."""
    _count: int = 0
    _last_begun: str = ""
    """The utterance that a response was begun for."""

    def __post_init__(self) -> None:
        self.agreed = Agreement(self.road, self.model, self.labels, self.transcribes)
        self.purse = Purse(self.road, self.model, self.labels)
        self.unmasking = Unmasking(self.road.peers)
        self.masking = Masking(self.road, self.model, self.unmasking.sent)

    def close(self) -> None:
        """Whatever was under way is over, and paid for."""
        self.unmasking.close()
        self.purse.close()
        self.agreed.close()

    async def asked(self, raw: str) -> None:
        """An event of the caller's. Where it cannot be passed on, the caller is told why.

        Raises:
            Failure, AioRpcError: the session cannot go on.
        """
        event: Event = {}
        try:
            event = dialogue.parsed(raw)
            await self._passed_on(event, raw)
        except (Failure, grpc.aio.AioRpcError) as error:
            if event.get("type") == dialogue.APPEND or _ends(error):
                raise
            event_id = event.get("event_id")
            await self.decline(error, event_id if isinstance(event_id, str) else "")

    async def _passed_on(self, event: Event, raw: str) -> None:
        match kind := event["type"]:
            case dialogue.APPEND:
                await self._heard(event, raw)
            case dialogue.UPDATE:
                await self._configured(event)
            case _ if self.transcribes and kind not in dialogue.HEARING:
                raise EventUnfit(at="type", rule=f"a session that only transcribes answers nothing: {kind[:64]}")
            case dialogue.CREATE_ITEM:
                await self._looked_at(event)
                await self.send(dialogue.written(event))
            case dialogue.CREATE:
                await self._wanted(event)
            case dialogue.COMMIT:
                self._commits.append(self._named(event))
                await self.send(dialogue.written(event))
            case _ if kind in dialogue.AS_THEY_ARE:
                await self.send(raw)
            case _:
                raise EventUnfit(at="type", rule=f"no event that a client sends: {kind[:64]}")

    async def told(self, said: models_pb2.ConverseResponse) -> None:
        """An event of the provider's.

        Raises:
            Failure, AioRpcError: the session cannot go on.
        """
        event = dialogue.parsed(said.event)
        kind = event["type"]
        if said.HasField("transcript_usage") or said.HasField("transcript_seconds"):
            await self._transcribed(said)
        if kind == SOUND:
            self._sounded(event)
            await self.tell(said.event)
        elif kind.endswith((".delta", ".done")) and kind.startswith(tuple(SAYS)):
            await self._spoken(event, kind)
        elif kind in ITEM_EVENTS:
            await self.unmasking.item(event.get("item"), self.masking.sealed_map)
            await self.tell(dialogue.written(event))
        elif kind in PART_EVENTS:
            await self._part(event)
        else:
            await self._happened(event, kind, said)

    async def _happened(self, event: Event, kind: str, said: models_pb2.ConverseResponse) -> None:
        match kind:
            case "session.created":
                await self._created(event)
            case "session.updated":
                await self._updated(event)
            case "error":
                await self._refused(event)
            case dialogue.COMMITTED | dialogue.IDLE:
                await self.tell(said.event)
                await self._uttered(event, kind)
            case "response.created":
                await self.tell(said.event)
                await self._response_begun(event)
            case "response.done":
                await self._response_done(event, said)
            case _:
                await self.tell(said.event)

    # What the caller says.

    async def _heard(self, event: Event, raw: str) -> None:
        seconds = dialogue.seconds(event.get("audio"), self.agreed.format)
        if (transcripts := self.agreed.transcripts) is not None:
            await self.road.tokens.fresh()
            await transcripts.cover(seconds)
        self.purse.context.add(sound=int(seconds * dialogue.SOUND_TOKENS_A_SECOND) + 1)
        await self.send(raw)

    async def _configured(self, event: Event) -> None:
        """The caller's wishes, with what the mesh does in the provider's place."""
        await self._looked_at(event)
        await self._agree(event)

    async def _agree(self, event: Event) -> None:
        self.agreed.agree(event["session"])
        self.purse.speaks = self.agreed.speaks
        await self.send(dialogue.written(event))

    async def _wanted(self, event: Event) -> None:
        """A response that the caller asks for."""
        await self._looked_at(event)
        if isinstance(response := event.get("response"), dict):
            self.agreed.fit(response, "response")
        await self._begin(self._named(event), event)

    async def _looked_at(self, event: Event) -> None:
        """Puts what may be sent in the place of what the event says, and counts what a model reads of it."""
        if texts := dialogue.texts(event):
            await self.masking.mask(texts)
        self.purse.context.add(*dialogue.read_at_most(event, self.agreed.format))

    async def _begin(self, event_id: str, event: Event) -> None:
        await self.road.tokens.fresh()
        await self.purse.hold(event_id)
        await self.send(dialogue.written(event))

    def _named(self, event: Event) -> str:
        """The event's id, which it gets where it has none: a refusal names it."""
        if not isinstance(event.get("event_id"), str):
            event["event_id"] = self._next()
        return str(event["event_id"])

    def _next(self, kind: str = OURS) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    # What the provider says.

    async def _created(self, event: Event) -> None:
        if self.wished:
            self._begun = event
        else:
            await self.tell(dialogue.written(self.agreed.named(event)))
        self._silenced = self._next()
        session = self.agreed.opening(event, self.wished)
        asked: Event = {"type": dialogue.UPDATE, "event_id": self._silenced, "session": session}
        await (self._configured(asked) if self.wished else self._agree(asked))

    async def _updated(self, event: Event) -> None:
        if self._silenced:  # what the mesh has asked for by itself
            self._silenced = ""
            if (begun := self._begun) is None:
                return
            event, self._begun = {**begun, "session": event.get("session")}, None
        await self.tell(dialogue.written(self.agreed.shown(event, self.unmasking.own)))

    async def _refused(self, event: Event) -> None:
        fault = dialogue.within(event, "error")
        event_id = str(fault.get("event_id") or "")
        if event_id and event_id == self._silenced:
            if self.wished:  # and it is they that the provider refuses
                fault["event_id"] = None
                await self.tell(dialogue.written(event))
            raise SessionOutOfHand(model=self.model.name)
        self.purse.give_back(event_id)
        if event_id.startswith(OURS_ALONE):  # one was under way already
            return
        if event_id in self._commits:
            self._commits.remove(event_id)
        if event_id.startswith(OURS):
            fault["event_id"] = None
        await self.tell(dialogue.written(event))

    async def _uttered(self, event: Event, kind: str) -> None:
        """The caller has stopped speaking, or has been silent for long: the mesh begins the response."""
        if kind == dialogue.COMMITTED and self._commits:
            self._commits.popleft()
            return
        item = str(event.get("item_id") or "")
        if not self.agreed.begins or (item and item == self._last_begun):
            return
        self._last_begun = item
        event_id = self._next(OURS_ALONE)
        try:
            await self._begin(event_id, {"type": dialogue.CREATE, "event_id": event_id})
        except grpc.aio.AioRpcError as error:
            if _ends(error):
                raise
            await self.decline(error, "")

    async def _response_begun(self, event: Event) -> None:
        response_id = dialogue.response_id(event)
        try:
            await self.road.tokens.fresh()
            await self.purse.begin(response_id)
        except grpc.aio.AioRpcError as error:  # nobody has asked for it, and nothing can be held for it
            if _ends(error):
                raise
            await self.send(dialogue.written({"type": "response.cancel", "response_id": response_id}))
            await self.decline(error, "")

    async def _response_done(self, event: Event, said: models_pb2.ConverseResponse) -> None:
        response = event["response"]
        for item in response.get("output") or ():
            await self.unmasking.item(item, self.masking.sealed_map)
        usage = said.usage if said.HasField("usage") else None
        self.purse.finish(
            dialogue.response_id(event), usage, of_the_conversation=bool(response.get("conversation_id", True))
        )
        await self.tell(dialogue.written(event))

    async def _spoken(self, event: Event, kind: str) -> None:
        await self.road.tokens.fresh()
        if kind.endswith(".done"):
            for one in await self.unmasking.done(event, self.masking.sealed_map):
                await self.tell(dialogue.written(one))
            return
        if (running := self.purse.running(str(event.get("response_id")))) is not None:
            running.characters += len(str(event.get("delta") or ""))
        if (shown := await self.unmasking.delta(event, self.masking.sealed_map)) is not None:
            await self.tell(dialogue.written(shown))

    async def _part(self, event: Event) -> None:
        at = event.get("content_index")
        n = at if isinstance(at, int) and 0 <= at < 1_000 else 0
        content: list[Any] = [{}] * n + [event.get("part")]
        whole = {"id": event.get("item_id"), "role": "assistant", "content": content}
        await self.unmasking.item(whole, self.masking.sealed_map)
        await self.tell(dialogue.written(event))

    def _sounded(self, event: Event) -> None:
        if (running := self.purse.running(str(event.get("response_id")))) is not None:
            running.sound_s += dialogue.seconds(event.get("delta"), self.agreed.spoken)

    async def _transcribed(self, said: models_pb2.ConverseResponse) -> None:
        if (transcripts := self.agreed.transcripts) is None:
            return
        usage = said.transcript_usage if said.HasField("transcript_usage") else None
        await self.road.tokens.fresh()
        await transcripts.told(usage, said.transcript_seconds)


def _ends(error: Exception) -> bool:
    """Whether the key is not good any more."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return False
    return error.code() is grpc.StatusCode.UNAUTHENTICATED or info_of(error).reason == "ACCOUNT_SUSPENDED"
