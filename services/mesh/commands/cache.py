"""`tollway cache`: what the cache did, why a prompt hits or misses, and dropping what it keeps."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import grpc
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.cache.v1 import cache_pb2 as pb
from tollway.cache.v1 import cache_pb2_grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tollway.guard.v1 import guard_pb2, guard_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, ran
from services.mesh.screen import fail, say, table

T = TypeVar("T")
CALLED = ("guard", "encoder", "cache")
NANO = 1_000_000_000
MOST_FACTS = 4
TELLING = frozenset(
    "only_a only_b numbers negation pivots names question order typos code times identifiers unlike".split()
)
"""Facts that a reader can make something of."""

cache = typer.Typer(no_args_is_help=True, help="The cache: what it did, why a prompt hits or misses, dropping answers.")


def called(state: Path, work: Callable[[dict[str, grpc.aio.Channel]], Awaitable[T]]) -> T:
    """Does `work` with channels to the services of [CALLED][] of the mesh on `state`."""

    async def run() -> T:
        mesh = running.running(state)
        async with mesh.channel("guard") as guard, mesh.channel("encoder") as encoder, mesh.channel("cache") as kept:
            return await work(dict(zip(CALLED, (guard, encoder, kept), strict=True)))

    return ran(run())


@cache.command("insight")
def insight(
    template: Annotated[str, typer.Option(help="Requests of this template alone, as NAME@VERSION.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Look-ups, hits and what they saved since the cache began; how right its hits were where somebody reported."""
    metadata = running.bearing(key_of(state, key))

    async def ask(channel: dict[str, grpc.aio.Channel]) -> pb.GetInsightResponse:
        stub = cache_pb2_grpc.CacheServiceStub(channel["cache"])
        return await stub.GetInsight(pb.GetInsightRequest(template=template), metadata=metadata, timeout=10)

    made = called(state, ask)
    say(
        f"served from a chance of {made.threshold:.3f}; at most {made.error_bound:.1%} of look-ups may be answered wrongly"
    )
    if not made.insights:
        fail("nothing was looked up yet: ask something first")
    rows = [
        (one.template or "-", f"{one.lookups:,}", f"{one.exact:,}", f"{one.semantic:,}",
         f"{(one.exact + one.semantic) / max(one.lookups, 1):.1%}", f"${one.saved_nano_usd / NANO:.6f}",
         f"{one.saved.ToTimedelta().total_seconds():,.1f} s")
        for one in made.insights
    ]  # fmt: skip
    table(("template", "look-ups", "exact", "semantic", "hit rate", "saved", "time saved"), rows)
    bins = [(f"{one.template or '-'} from {getattr(each, 'from'):.3f}", f"{each.foretold:.3f}", str(each.hits),
             str(each.right), str(each.wrong)) for one in made.insights for each in one.calibration]  # fmt: skip
    if bins:
        table(("semantic hits", "foretold", "hits", "reported right", "reported wrong"), bins)


@cache.command("explain")
def explain(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    model: Annotated[str, typer.Option(help="The model that the request names.")] = "auto",
    system: Annotated[str, typer.Option(help="Its system prompt.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Says why a prompt would hit or miss, candidate by candidate. Nothing is asked of a model, nothing counted."""
    metadata = running.bearing(key_of(state, key))
    said = [(chat.ROLE_SYSTEM, system)] if system else []
    messages = [
        chat.Message(role=role, parts=[chat.ContentPart(text=words)]) for role, words in [*said, (chat.ROLE_USER, text)]
    ]

    async def ask(channel: dict[str, grpc.aio.Channel]) -> pb.ExplainResponse:
        encoder = encoder_pb2_grpc.EncoderServiceStub(channel["encoder"])
        raw = await encoder.Encode(encoder_pb2.EncodeRequest(texts=[text]), metadata=metadata, timeout=10)
        seen = await guard_pb2_grpc.GuardServiceStub(channel["guard"]).InspectPrompt(
            guard_pb2.InspectPromptRequest(messages=messages, vector=raw.vectors[0]), metadata=metadata, timeout=10
        )
        asked, vector = messages, raw.vectors[0]
        if seen.masked:
            asked = list(seen.messages)
            masked = encoder_pb2.EncodeRequest(texts=[asked[-1].parts[0].text])
            vector = (await encoder.Encode(masked, metadata=metadata, timeout=10)).vectors[0]
        request = pb.ExplainRequest(
            chat=chat.ChatRequest(model=model, messages=asked),
            vector=vector,
            conditions=pb.Conditions(policy_version=seen.policy_version, placeholders=seen.placeholders),
        )
        return await cache_pb2_grpc.CacheServiceStub(channel["cache"]).Explain(request, metadata=metadata, timeout=10)

    made = called(state, ask)
    how = {pb.MATCH_EXACT: "exact hit", pb.MATCH_SEMANTIC: "semantic hit"}.get(made.match, f"miss: {made.miss_reason}")
    say(f"{how} {made.entry_id}".rstrip())
    if made.store_reason:
        say(f"its own answer would not be kept: {made.store_reason}")
    say(f"served from a chance of {made.threshold:.3f} ({made.error_bound:.1%} may be wrong)")
    if made.candidates:
        table(("entry", "outcome", "chance", "needed", "static", "MiniLM", "ahead", "what differs"), [_row(one) for one in made.candidates])  # fmt: skip


@cache.command("drop")
def drop(
    tag: Annotated[str, typer.Option(help="Answers with this label, such as document:ID or template:NAME.")] = "",
    model: Annotated[str, typer.Option(help="Answers of this model.")] = "",
    older: Annotated[float, typer.Option(help="Answers stored more than so many hours ago.")] = 0.0,
    everything: Annotated[bool, typer.Option("--all", help="Everything of the tenant.")] = False,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Drops stored answers of the key's tenant; conditions add up."""
    request = pb.InvalidateRequest(tag=tag, model=model, all=everything)
    if older:
        since = Timestamp()
        since.GetCurrentTime()
        since.FromDatetime(since.ToDatetime() - timedelta(hours=older))
        request.stored_before.CopyFrom(since)
    metadata = running.bearing(key_of(state, key))

    async def ask(channel: dict[str, grpc.aio.Channel]) -> pb.InvalidateResponse:
        stub = cache_pb2_grpc.CacheServiceStub(channel["cache"])
        return await stub.Invalidate(request, metadata=metadata, timeout=60)

    say(f"{called(state, ask).dropped:,} answers dropped")


def _row(one: pb.Candidate) -> tuple[str, ...]:
    shown = {name: value for name, value in one.facts.items() if name in TELLING}
    told = sorted(shown.items(), key=lambda fact: -abs(fact[1]))[:MOST_FACTS]
    numbers = (one.chance, one.needed, one.static_cosine, one.minilm_cosine, one.gap)
    facts = ", ".join(f"{name} {value:g}" for name, value in told)
    return (one.entry_id[:8], one.outcome, *(f"{value:.3f}" for value in numbers), facts)
