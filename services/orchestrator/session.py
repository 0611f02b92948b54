"""A session of speech and text under way: what passes in each direction, and what of it is done in another way than was said.

The provider is told not to begin responses by itself at the end of an utterance: the mesh does, once each is held for. The caller is
told what it asked for.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from tollway.models.v1 import models_pb2

from services.orchestrator import dialogue
from services.orchestrator.dialogue import Event
from services.orchestrator.failures import EventUnfit, ModelNotAllowed, SessionOutOfHand
from services.orchestrator.masking import Masking
from services.orchestrator.purse import Purse, Transcripts
from services.orchestrator.residency import heed
from services.orchestrator.road import Road
from services.orchestrator.unmasking import SAYS, Unmasking
from services.runtime import identity
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
USUAL_FORMAT, ENDLESS = "audio/pcm", "inf"


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
    purse: Purse = field(init=False)
    masking: Masking = field(init=False)
    unmasking: Unmasking = field(init=False)
    transcripts: Transcripts | None = None
    format: str = USUAL_FORMAT
    """Of the caller's sound."""
    spoken: str = USUAL_FORMAT
    """Of the model's."""
    most_written: Any = ENDLESS
    """The tokens of a response that the caller has asked for."""
    begins: bool = False
    """Whether the caller wants a response at the end of each utterance."""
    _commits: deque[str] = field(default_factory=deque)
    """The caller's own, which begin no response."""
    _silenced: str = ""
    """The event by which the provider was told not to begin responses, until it says that it will not."""
    _count: int = 0
    _last_begun: str = ""
    """The utterance that a response was begun for."""

    def __post_init__(self) -> None:
        self.purse = Purse(self.road, self.model, self.labels)
        self.unmasking = Unmasking(self.road.peers)
        self.masking = Masking(self.road, self.model, self.unmasking.sent)

    def close(self) -> None:
        """Whatever was under way is over, and paid for."""
        self.unmasking.close()
        self.purse.close()
        if self.transcripts is not None:
            self.transcripts.close()

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
        seconds = dialogue.seconds(event.get("audio"), self.format)
        if self.transcripts is not None:
            await self.road.tokens.fresh()
            await self.transcripts.cover(seconds)
        self.purse.context.add(sound=int(seconds * dialogue.SOUND_TOKENS_A_SECOND) + 1)
        await self.send(raw)

    async def _configured(self, event: Event) -> None:
        """The caller's wishes, with what the mesh does in the provider's place."""
        await self._looked_at(event)
        session = event["session"]
        if session.get("type", "realtime") != "realtime":
            raise EventUnfit(at="session.type", rule="sessions that only transcribe are not held: realtime")
        if session.get("model") not in (None, self.model.name):
            raise EventUnfit(at="session.model", rule=f"the session was opened with {self.model.name}")
        wished = session.get("max_output_tokens", self.most_written)
        self._fit(session, "session")
        if "model" in session:
            session["model"] = self.model.provider_model
        heard, spoken = (dialogue.within(session, "audio", way) for way in ("input", "output"))
        if "transcription" in heard:
            self._transcribe(heard)
        self.most_written = wished
        self.format = str(dialogue.within(heard, "format").get("type") or self.format)
        self.spoken = str(dialogue.within(spoken, "format").get("type") or self.spoken)
        if isinstance(turns := heard.get("turn_detection"), dict):
            self.begins = turns.get("create_response") is not False
            turns["create_response"] = False
        elif "turn_detection" in heard:
            self.begins = False
        if isinstance(modalities := session.get("output_modalities"), list):
            self.purse.speaks = modalities != ["text"]
        await self.send(dialogue.written(event))

    async def _wanted(self, event: Event) -> None:
        """A response that the caller asks for."""
        await self._looked_at(event)
        if isinstance(response := event.get("response"), dict):
            self._fit(response, "response")
        await self._begin(self._named(event), event)

    def _transcribe(self, heard: Event) -> None:
        """By a model of the catalogue, which has its own price."""
        at, asked = "session.audio.input.transcription", heard["transcription"]
        if asked is None:
            self._transcripts_by(None)
            return
        name = asked.get("model") if isinstance(asked, dict) else None
        model = self.road.models.known.get(name) if isinstance(name, str) else None
        if model is None or not model.second_tokens or model.provider != self.model.provider:
            rule = f"a model of {self.model.provider}'s that the catalogue has with `second_tokens`"
            raise EventUnfit(at=f"{at}.model", rule=rule)
        caller = identity.caller()
        if not caller.allows(model.name):
            raise ModelNotAllowed(model=model.name)
        heed(model, caller.regions)
        asked["model"] = model.provider_model
        self._transcripts_by(Transcripts(self.road, model, self.labels))

    def _transcripts_by(self, transcripts: Transcripts | None) -> None:
        if self.transcripts is not None:
            self.transcripts.close()
        self.transcripts = transcripts

    def _fit(self, wishes: Event, at: str) -> None:
        """What is asked of responses, without what nobody here could see, and with no more tokens than are held for.

        Raises:
            EventUnfit
        """
        if wishes.get("prompt") is not None:
            raise EventUnfit(at=f"{at}.prompt", rule="prompts that a provider keeps are not used")
        dialogue.functions_only(wishes.get("tools"), f"{at}.tools")
        if "max_output_tokens" in wishes:
            most, ours = wishes["max_output_tokens"], self.model.max_output_tokens
            if most is None or most == ENDLESS:
                most = ours
            wishes["max_output_tokens"] = min(most, ours) if isinstance(most, int) else most

    async def _looked_at(self, event: Event) -> None:
        """Puts what may be sent in the place of what the event says, and counts what a model reads of it."""
        if texts := dialogue.texts(event):
            await self.masking.mask(texts)
        self.purse.context.add(*dialogue.read_at_most(event, self.format))

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
        self._name(event)
        await self.tell(dialogue.written(event))
        told: Event = {"type": "realtime", "max_output_tokens": self.model.max_output_tokens}
        turns = dialogue.turns(event)
        self.begins = turns is not None and turns.get("create_response") is not False
        if turns is not None and self.begins:
            told["audio"] = {"input": {"turn_detection": {**turns, "create_response": False}}}
        self._silenced = self._next()
        await self.send(dialogue.written({"type": dialogue.UPDATE, "event_id": self._silenced, "session": told}))

    async def _updated(self, event: Event) -> None:
        if self._silenced:  # what the mesh has asked for by itself
            self._silenced = ""
            return
        if (turns := dialogue.turns(event)) is not None:
            turns["create_response"] = self.begins
        self._name(event)
        session = dialogue.within(event, "session")
        if own := self.unmasking.own.get(str(session.get("instructions"))):
            session["instructions"] = own
        if "max_output_tokens" in session:
            session["max_output_tokens"] = self.most_written
        await self.tell(dialogue.written(event))

    def _name(self, event: Event) -> None:
        """The caller knows the model by its name in the mesh."""
        if "model" in (session := dialogue.within(event, "session")):
            session["model"] = self.model.name

    async def _refused(self, event: Event) -> None:
        fault = dialogue.within(event, "error")
        event_id = str(fault.get("event_id") or "")
        if event_id and event_id == self._silenced:
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
        if not self.begins or (item and item == self._last_begun):
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
            running.sound_s += dialogue.seconds(event.get("delta"), self.spoken)

    async def _transcribed(self, said: models_pb2.ConverseResponse) -> None:
        if self.transcripts is None:
            return
        usage = said.transcript_usage if said.HasField("transcript_usage") else None
        await self.road.tokens.fresh()
        await self.transcripts.told(usage, said.transcript_seconds)


def _ends(error: Exception) -> bool:
    """Whether the key is not good any more."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return False
    return error.code() is grpc.StatusCode.UNAUTHENTICATED or info_of(error).reason == "ACCOUNT_SUSPENDED"
