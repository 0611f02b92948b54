"""What a session costs: each response is held for before it begins, and transcripts before the sound that they are made of is sent."""

import math
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from tollway.chat.v1 import chat_pb2 as chat
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator.charging import Charged, end, held
from services.orchestrator.dialogue import SOUND_TOKENS_A_SECOND
from services.orchestrator.money import time_left
from services.orchestrator.road import Road

CHARACTERS_A_TOKEN = 4
COVERED_S = 60.0
"""Of sound, that one hold for transcripts covers."""
STALE_S = 90.0
"""A hold is taken anew after half of the time that the ledger keeps it."""


@dataclass(slots=True)
class Context:
    """Tokens that the next response reads at most, by kind: what was sent, and in its place what a response has read and written,
    once that is told."""

    text: int = 0
    sound: int = 0
    pictures: int = 0
    _since: tuple[int, int, int] = (0, 0, 0)
    """Sent since the response under way began, which does not read it."""

    def add(self, text: int = 0, sound: int = 0, pictures: int = 0) -> None:
        self.text, self.sound, self.pictures = self.text + text, self.sound + sound, self.pictures + pictures
        before = self._since
        self._since = before[0] + text, before[1] + sound, before[2] + pictures

    def begun(self) -> None:
        self._since = (0, 0, 0)

    def told(self, usage: chat.Usage) -> None:
        """What a response of the conversation's own has come to: the next one reads as much, and what came since."""
        apart, (text, sound, pictures) = usage.kinds, self._since
        heard = apart.audio_input_tokens + apart.audio_output_tokens
        self.text = usage.input_tokens + usage.output_tokens - heard - apart.image_input_tokens + text
        self.sound, self.pictures = heard + sound, apart.image_input_tokens + pictures


@dataclass(slots=True)
class Running:
    """A response under way, and what has come of it."""

    charged: Charged
    characters: int = 0
    sound_s: float = 0.0

    def estimated(self, context: Context) -> chat.Usage:
        """What it has come to where nobody tells; four characters a token, as everywhere."""
        sound = math.ceil(self.sound_s * SOUND_TOKENS_A_SECOND)
        return chat.Usage(
            input_tokens=context.text // CHARACTERS_A_TOKEN + context.sound,
            output_tokens=math.ceil(self.characters / CHARACTERS_A_TOKEN) + sound,
            estimated=True,
            kinds=chat.TokenKinds(audio_input_tokens=context.sound, audio_output_tokens=sound),
        )


@dataclass(slots=True)
class Purse:
    road: Road
    model: models_pb2.Model
    tags: Mapping[str, str]
    context: Context = field(default_factory=Context)
    speaks: bool = True
    """Whether responses may have sound in them."""
    _waiting: deque[tuple[str, Charged]] = field(default_factory=deque)
    """For responses that were asked for and have not begun, by the events that asked."""
    _running: dict[str, Running] = field(default_factory=dict)

    async def hold(self, event_id: str) -> None:
        """For the response that the event asks for.

        Raises:
            AioRpcError: what the ledger says.
        """
        self._waiting.append((event_id, await self._held()))

    def give_back(self, event_id: str) -> None:
        """It was not begun."""
        for one in [one for one in self._waiting if one[0] == event_id]:
            self._waiting.remove(one)
            end(self.road, one[1])

    async def begin(self, response_id: str) -> None:
        """One has begun. What nobody has asked for is held for now.

        Raises:
            AioRpcError: what the ledger says.
        """
        charged = self._waiting.popleft()[1] if self._waiting else await self._held()
        self.context.begun()
        self._running[response_id] = Running(charged)

    def running(self, response_id: str) -> Running | None:
        return self._running.get(response_id)

    def finish(self, response_id: str, usage: chat.Usage | None, *, of_the_conversation: bool) -> None:
        """It is over. Where its usage is not told, what was seen of it counts; nothing seen is nothing had."""
        if (one := self._running.pop(response_id, None)) is None:
            return
        if usage is None:
            seen = one.characters or one.sound_s
            one.charged.usage = one.estimated(self.context) if seen else None
        else:
            one.charged.usage = usage
            if of_the_conversation:
                self.context.told(usage)
        end(self.road, one.charged, self.tags)

    def close(self) -> None:
        """The session is over, whatever was under way."""
        for response_id in list(self._running):
            self.finish(response_id, None, of_the_conversation=False)
        for event_id, _ in list(self._waiting):
            self.give_back(event_id)

    async def _held(self) -> Charged:
        model, context = self.model, self.context
        most, written = model.context_tokens, model.max_output_tokens
        apart = chat.TokenKinds(
            audio_input_tokens=min(context.sound, most),
            image_input_tokens=min(context.pictures, most),
            audio_output_tokens=written if self.speaks else 0,
        )
        return await _held(self.road, model, min(context.text + context.sound + context.pictures, most), written, apart)


@dataclass(slots=True)
class Transcripts:
    """Holds for what another model writes down of the caller's sound, beside the responses."""

    road: Road
    model: models_pb2.Model
    tags: Mapping[str, str]
    _held: list[Charged] = field(default_factory=list)
    _covered_s: float = 0.0

    async def cover(self, seconds: float) -> None:
        """Before so much sound is sent.

        Raises:
            AioRpcError: what the ledger says.
        """
        if self._held and time.monotonic() - self._held[0].began > STALE_S:
            self.close()
        while self._covered_s < seconds:
            await self._hold()
        self._covered_s -= seconds

    async def told(self, usage: chat.Usage | None, seconds: float) -> None:
        """One has come: it is paid for, and what the rest was held for is over.

        Raises:
            AioRpcError: it was not held for any more, and the ledger holds nothing for it now.
        """
        if not self._held:
            await self._hold()
        tokens = math.ceil(seconds) * self.model.second_tokens
        self._held[0].usage = usage or chat.Usage(input_tokens=tokens, kinds=chat.TokenKinds(audio_input_tokens=tokens))
        self.close()

    def close(self) -> None:
        for one in self._held:
            end(self.road, one, self.tags)
        self._held.clear()
        self._covered_s = 0.0

    async def _hold(self) -> None:
        most = math.ceil(COVERED_S) * self.model.second_tokens
        self._held.append(await _held(self.road, self.model, most, most, chat.TokenKinds(audio_input_tokens=most)))
        self._covered_s += COVERED_S


async def _held(road: Road, model: models_pb2.Model, read: int, written: int, apart: chat.TokenKinds) -> Charged:
    """A hold for so many tokens of `model` at most, of which some are billed `apart`."""
    attempt = ledger_pb2.Attempt(
        model=model.name,
        provider=model.provider,
        provider_model=model.provider_model,
        input_tokens=read,
        output_tokens=written,
        kinds=apart,
        compute=time_left(),
    )
    return await held(road, attempt, str(uuid.uuid4()))
