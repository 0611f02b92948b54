"""Server-sent events, as the HTML standard frames them: a body a message, with its name where a wire names its events."""

from typing import Any

import orjson


def data(said: Any) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(said)


def event(name: str, said: Any) -> bytes:
    return b"event: %s\n%s" % (name.encode(), data(said))
