"""Events of OpenAI's Realtime API: which a client may send, where texts stand in them, and how much a model reads of them. Pure.

Events are those of developers.openai.com/api/reference, `realtime-client-events` and `realtime-server-events`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from tollway.chat.v1 import chat_pb2 as chat

from services.orchestrator import bounds
from services.orchestrator.failures import EventUnfit

Event = dict[str, Any]

APPEND, COMMIT, COMMITTED = "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.committed"
UPDATE, CREATE_ITEM, CREATE = "session.update", "conversation.item.create", "response.create"
IDLE = "input_audio_buffer.timeout_triggered"
AS_THEY_ARE = frozenset(
    {
        COMMIT,
        "input_audio_buffer.clear",
        "output_audio_buffer.clear",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.cancel",
    }
)
"""A client's events without a text of its own."""
HEARING = frozenset({COMMIT, "input_audio_buffer.clear"})
"""Of those, the ones about what is heard."""
ITEMS = frozenset({"message", "function_call", "function_call_output", "item_reference"})
SAID = ("text", "transcript")
"""Fields of a part of a message that hold what was said."""
ROLES = {"system": chat.ROLE_SYSTEM, "user": chat.ROLE_USER, "assistant": chat.ROLE_ASSISTANT}
MEDIA = frozenset({"audio", "image_url"})
SOUND_TOKENS_A_SECOND = 20
"""Of a model's own voice; a caller's counts half as many."""
BYTES_A_SECOND = {"audio/pcm": 48_000}
"""24,000 samples of 16 bits."""
NARROW_BYTES_A_SECOND = 8_000
"""Of the formats of telephones."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text in an event, where it can be changed."""

    holder: Event
    name: str
    role: "chat.Role.ValueType"

    @property
    def value(self) -> str:
        return str(self.holder[self.name])

    def put(self, value: str) -> None:
        self.holder[self.name] = value


def parsed(raw: str) -> Event:
    """
    Raises:
        EventUnfit: it is no event.
    """
    event = read(raw, "event")
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise EventUnfit(at="type", rule="an event is an object with a type")
    return event


def read(raw: str, at: str) -> Any:
    """
    Raises:
        EventUnfit: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise EventUnfit(at=at, rule="not JSON") from None


def written(event: Event) -> str:
    return orjson.dumps(event).decode()


def texts(event: Event) -> list[Text]:
    """What a client's event gives a model to read, in its order.

    Raises:
        EventUnfit: there is something in it that cannot be looked at.
    """
    match event["type"]:
        case "session.update":
            session = _object(event, "session", "session")
            spoken = within(session, "audio", "input", "transcription")
            return [
                *_one(session, "instructions", "session"),
                *_one(spoken, "prompt", "session.audio.input.transcription"),
            ]
        case "conversation.item.create":
            return list(_of_item(_object(event, "item", "item"), "item"))
        case "response.create":
            response = event.get("response") or {}
            if not isinstance(response, dict):
                raise EventUnfit(at="response", rule="not an object")
            found = _one(response, "instructions", "response")
            for n, item in enumerate(response.get("input") or ()):
                found += _of_item(item, f"response.input[{n}]")
            return found
    return []


def said_in(item: Any) -> Iterator[tuple[int, Text]]:
    """What an item of a server's event says: which of its parts, and the text; -1 for the arguments of a call."""
    if not isinstance(item, dict):
        return
    role = ROLES.get(item.get("role", ""), chat.ROLE_TOOL)
    for n, part in enumerate(item.get("content") or ()):
        for name in SAID:
            if isinstance(part, dict) and isinstance(part.get(name), str):
                yield n, Text(part, name, role)
    for name in ("arguments", "output"):
        if isinstance(item.get(name), str):
            yield -1, Text(item, name, role)


def seconds(audio: Any, format_: str) -> float:
    """How long sound in base64 lasts at most."""
    size = len(audio) * 3 / 4 if isinstance(audio, str) else 0
    return size / BYTES_A_SECOND.get(format_, NARROW_BYTES_A_SECOND)


def functions_only(tools: Any, at: str) -> None:
    """Tools that a provider runs by itself are seen by nobody here.

    Raises:
        EventUnfit: there is one.
    """
    for n, one in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(one, dict) or one.get("type", "function") != "function":
            raise EventUnfit(at=f"{at}[{n}].type", rule="tools that a provider calls by itself are not there: function")


def turns(event: Event) -> Event | None:
    """How the end of an utterance is found, where it is."""
    return within(event, "session", "audio", "input", "turn_detection") or None


def response_id(event: Event) -> str:
    return str(within(event, "response").get("id") or "")


def read_at_most(event: Event, format_: str) -> tuple[int, int, int]:
    """Tokens of text, of sound and of pictures that an event gives a model to read, at most."""
    bare, sound, pictures = _without_media(event)
    heard = math.ceil(sum(seconds(one, format_) for one in sound) * SOUND_TOKENS_A_SECOND)
    return len(orjson.dumps(bare)), heard, pictures * bounds.PICTURE


def _without_media(value: Any) -> tuple[Any, list[str], int]:
    if isinstance(value, list):
        made = [_without_media(one) for one in value]
        return [one for one, _, _ in made], [one for _, sound, _ in made for one in sound], sum(n for _, _, n in made)
    if not isinstance(value, dict):
        return value, [], 0
    kept, sound, pictures = Event(), list[str](), 0
    for name, one in value.items():
        if name in MEDIA and isinstance(one, str):
            sound += [one] if name == "audio" else []
            pictures += name == "image_url"
            continue
        kept[name], more, some = _without_media(one)
        sound += more
        pictures += some
    return kept, sound, pictures


def _of_item(item: Any, at: str) -> Iterator[Text]:
    if not isinstance(item, dict) or item.get("type") not in ITEMS:
        raise EventUnfit(at=f"{at}.type", rule=f"one of {', '.join(sorted(ITEMS))}")
    match item["type"]:
        case "message":
            role, content = ROLES.get(item.get("role", ""), chat.ROLE_USER), item.get("content")
            if not isinstance(content, list):
                raise EventUnfit(at=f"{at}.content", rule="not a list")
            for n, part in enumerate(content):
                if not isinstance(part, dict):
                    raise EventUnfit(at=f"{at}.content[{n}]", rule="not an object")
                for name in SAID:
                    yield from _one(part, name, f"{at}.content[{n}]", role)
        case "function_call":
            yield from _one(item, "arguments", at, chat.ROLE_ASSISTANT)
        case "function_call_output":
            yield from _one(item, "output", at, chat.ROLE_TOOL)


def _one(holder: Event, name: str, at: str, role: "chat.Role.ValueType" = chat.ROLE_SYSTEM) -> list[Text]:
    if holder.get(name) is None:
        return []
    if not isinstance(holder[name], str):
        raise EventUnfit(at=f"{at}.{name}", rule="not a text")
    return [Text(holder, name, role)] if holder[name] else []


def _object(event: Event, name: str, at: str) -> Event:
    found = event.get(name)
    if not isinstance(found, dict):
        raise EventUnfit(at=at, rule="not an object")
    return found


def within(holder: Event, *names: str) -> Event:
    """What stands at the end of `names`; an empty object where there is nothing."""
    for name in names:
        found = holder.get(name)
        if not isinstance(found, dict):
            return {}
        holder = found
    return holder
