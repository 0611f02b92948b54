"""What stands above a conversation, for wires that have instructions there and nowhere else."""

from collections.abc import Sequence

from tollway.chat.v1 import chat_pb2 as chat

ABOVE = (chat.ROLE_SYSTEM, chat.ROLE_DEVELOPER)
REMINDER = "<system-reminder>\n{}\n</system-reminder>"
"""As coding agents write such instructions to Claudes."""


def parted(messages: Sequence[chat.Message]) -> tuple[list[chat.Message], list[chat.Message]]:
    """The instructions before the conversation, and the conversation.

    An instruction in the middle of it stays where it is, as a reminder among what the user says: above, it would change the beginning
    of the prompt at each turn, and with that all that a provider has in its cache. Between a call of a tool and its result nothing may
    stand: there it follows the results.
    """
    above, rest, waits = list[chat.Message](), list[chat.Message](), list[chat.Message]()
    for message in messages:
        if message.role in ABOVE:
            (waits if rest else above).append(message)
            continue
        if message.role != chat.ROLE_TOOL:
            rest.extend(map(_reminder, waits))
            waits.clear()
        rest.append(message)
    return above, [*rest, *map(_reminder, waits)]


def _reminder(message: chat.Message) -> chat.Message:
    said = [part for part in message.parts if part.text]
    parts = [chat.ContentPart(text=REMINDER.format(part.text), cache_mark=part.cache_mark) for part in said]
    return chat.Message(role=chat.ROLE_USER, parts=parts)
