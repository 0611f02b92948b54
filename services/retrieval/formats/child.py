"""Reads files for its parent, one after the other: `python -m services.retrieval.formats.child`.

A length of four bytes and a media type, a length and a file come on standard input; a length and JSON go out. A file that makes a
library run wild takes this process with it, and nobody else.
"""

import json
import os
import resource
import sys
from typing import BinaryIO

from services.retrieval.formats import Unreadable, read

MEMORY_BYTES = 4 << 30
NICE = 5


def frame(source: BinaryIO) -> bytes | None:
    head = source.read(4)
    return source.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def answer(media_type: str, content: bytes) -> dict[str, str]:
    try:
        made = read(media_type, content)
    except Unreadable as error:
        return {"fault": str(error)}
    except Exception as error:  # noqa: BLE001 - libraries fail in ways of their own: each is this file's fault, told by name
        return {"fault": f"it cannot be read: {type(error).__name__}"}
    return {"text": made.text, "shape": made.shape, "title": made.title}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.nice(NICE)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between our frames
    while (media_type := frame(sys.stdin.buffer)) is not None and (content := frame(sys.stdin.buffer)) is not None:
        said = json.dumps(answer(media_type.decode(), content)).encode("utf-8", "surrogatepass")
        out.write(len(said).to_bytes(4, "big") + said)
        out.flush()


if __name__ == "__main__":
    main()
