"""No read ever crosses a tenant, a project, a key or what an answer depends on: random writes and reads against a model."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tollway.cache.v1 import cache_pb2 as pb
from tollway.chat.v1 import chat_pb2 as chat

from services.cache.bound import Bounds
from services.cache.cache import Age, Cache
from services.cache.keys import Keys, keys
from services.cache.memory import MemoryStore
from services.cache.proof import Prover
from services.cache.screen import Screen
from services.cache.store import Entry, entry_id
from services.cache.verifier import Verifier
from tests.support.encoders import Encoder, static

TEXTS = ("What is a toll?", "what's a toll", "Please tell me: what is a toll?", "Define toll", "How much is the toll?")
ENCODER = Encoder()

Write = st.fixed_dictionaries(
    {
        "account": st.sampled_from(["acme/a", "acme/b", "acmex/a", "beta/a"]),
        "key": st.sampled_from(["k1", "k2"]),
        "scope": st.sampled_from([pb.SCOPE_UNSPECIFIED, pb.SCOPE_PROJECT, pb.SCOPE_TENANT, pb.SCOPE_KEY]),
        "text": st.sampled_from(TEXTS),
        "system": st.sampled_from(["", "be brief"]),
        "ground": st.sampled_from(["", "board"]),
        "placeholders": st.sampled_from(["", "EMAIL_1"]),
    }
)


def owner(step: dict[str, Any]) -> tuple[Any, ...]:
    """Who may share what this step writes, and under which conditions: written down apart from the code under test."""
    tenant = step["account"].split("/")[0]
    who = {pb.SCOPE_TENANT: ("tenant", tenant), pb.SCOPE_KEY: ("key", step["account"], step["key"])}
    return (*who.get(step["scope"], ("project", step["account"])), step["system"], step["ground"], step["placeholders"])


def keyed(step: dict[str, Any]) -> Keys:
    messages = [chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=step["text"])])]
    if step["system"]:
        messages.insert(0, chat.Message(role=chat.ROLE_SYSTEM, parts=[chat.ContentPart(text=step["system"])]))
    conditions = pb.Conditions(ground=step["ground"], placeholders=step["placeholders"])
    return keys(chat.ChatRequest(model="m", messages=messages), conditions, step["scope"], step["account"], step["key"])


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(st.booleans(), Write), min_size=2, max_size=30))
def test_what_is_read_was_written_by_one_who_shares_it(steps: list[tuple[bool, dict[str, Any]]]) -> None:
    asyncio.run(lived(steps))


async def lived(steps: list[tuple[bool, dict[str, Any]]]) -> None:
    prover = Prover(Screen(), Verifier(ENCODER))  # type: ignore[arg-type]
    cache = Cache(MemoryStore(), prover, Bounds(0.5, 0.5), now=lambda: 1.0)
    for writes, step in steps:
        found, vector = keyed(step), static().encode(step["text"])
        if writes:
            said = repr(owner(step)).encode()
            one = entry_id(found.exact)
            await cache.keep(
                Entry(one, found.tenant, found.scope, found.exact, found.text, vector, said, "m", (), 1.0, 9.0)
            )
            continue
        hit, _ = await cache.find(found, vector, Age())
        assert hit is None or hit.entry.completion == repr(owner(step)).encode()
