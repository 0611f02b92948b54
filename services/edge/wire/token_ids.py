"""Texts that come as ids of tokens, in words again: the guard reads words, and every model has tokens of its own.

Ids are OpenAI's `cl100k_base`, of all its models that embed; LangChain sends nothing else, whichever model it asks. The table is the one
that OpenAI publishes for `tiktoken` (MIT licence), packed.
"""

import lzma
from binascii import a2b_base64
from functools import lru_cache
from pathlib import Path

from services.edge.wire.errors import Refusal

TABLE = Path(__file__).parent.parent / "artefacts" / "cl100k_base.tiktoken.xz"


@lru_cache(maxsize=1)
def vocabulary() -> list[bytes]:
    """The bytes of each token. It takes 70 ms, once."""
    lines = lzma.decompress(TABLE.read_bytes()).splitlines()
    return [a2b_base64(line.partition(b" ")[0]) for line in lines]


def text_of(ids: list[int], at: str) -> str:
    """What the ids say; a character that begins or ends in another piece of the text is replaced.

    Raises:
        Refusal: one that stands for no text. `at` says where they are.
    """
    table = vocabulary()
    for n, one in enumerate(ids):
        if not 0 <= one < len(table):
            raise Refusal(400, "invalid_value", f"invalid value for {at}[{n}]: no token of cl100k_base", param="input")
    return b"".join(map(table.__getitem__, ids)).decode(errors="replace")
