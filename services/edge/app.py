"""Builds the edge from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tollway.cache.v1 import cache_pb2_grpc
from tollway.gateway.v1 import gateway_pb2_grpc
from tollway.guard.v1 import guard_pb2_grpc
from tollway.jobs.v1 import conversations_pb2_grpc, jobs_pb2_grpc
from tollway.ledger.v1 import client_secrets_pb2_grpc, ledger_pb2_grpc
from tollway.ledger.v1 import ledger_pb2 as ledger
from tollway.registry.v1 import registry_pb2_grpc
from tollway.retrieval.v1 import retrieval_pb2_grpc
from tollway.router.v1 import router_pb2_grpc

from services.edge import traces
from services.edge.application import Application
from services.edge.batches import Batches
from services.edge.books import Books
from services.edge.chat import Chat
from services.edge.choices import Choices
from services.edge.client_secrets import ClientSecrets
from services.edge.completions import Completions
from services.edge.console import assets
from services.edge.conversations import Conversations
from services.edge.documents import Documents
from services.edge.door import Door
from services.edge.embeddings import Embeddings
from services.edge.erasures import Erasures
from services.edge.files import Files
from services.edge.gemini import Gemini
from services.edge.images import Images
from services.edge.jobs import Jobs
from services.edge.kept import Keeping, Kept
from services.edge.mcp import Mcp
from services.edge.message_batches import MessageBatches
from services.edge.messages import COUNT, Messages
from services.edge.models import Models
from services.edge.moderations import Moderations
from services.edge.realtime import Realtime
from services.edge.registry import Registry
from services.edge.reranking import PATHS as RERANKING
from services.edge.reranking import Reranking
from services.edge.response_sockets import ResponseSockets
from services.edge.responses import Responses
from services.edge.safety import Safety
from services.edge.server import Listening
from services.edge.sign_in import SignIn, SignInSettings
from services.edge.sockets import Handler as SocketHandler
from services.edge.speech import Speech
from services.edge.transcriptions import Transcriptions
from services.edge.vector_stores import VectorStores
from services.edge.waiting import (
    Behind,
    CacheAway,
    GuardAway,
    Handler,
    JobsAway,
    RegistryAway,
    RetrievalAway,
    RouterAway,
)
from services.edge.wire.gemini import PATH as GEMINI
from services.edge.wire.generated import refused as refused_generated
from services.edge.wire.mcp import PATH as MCP
from services.edge.wire.mcp import refused as refused_mcp
from services.edge.wire.message import refused as refused_message
from services.edge.wire.message_batch import BATCHES as MESSAGE_BATCHES
from services.edge.wire.messages import PATH as MESSAGES
from services.runtime import channels
from services.runtime.channels import PLAIN, Tls
from services.runtime.identity import Directory, identified
from services.runtime.telemetry import Sampler

SIGN_IN = "/console/sign-in"
PROMPTS = {
    "/v1/audio/speech": "input",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/images/edits": "prompt",
    "/v1/images/generations": "prompt",
    "/v1/moderations": "input",
    **dict.fromkeys(RERANKING, "documents"),
    "/v1/responses": "input",
    f"{GEMINI}/": "contents",
}
"""What is read by a model, where a body does not call it `messages`."""
REFUSED = {
    **dict.fromkeys((MESSAGES, COUNT, MESSAGE_BATCHES, f"{MESSAGE_BATCHES}/"), refused_message),
    **dict.fromkeys((GEMINI, f"{GEMINI}/"), refused_generated),
    **dict.fromkeys((MCP, f"{MCP}/"), refused_mcp),
}
"""How a refusal looks where it does not look as OpenAI's."""
LARGEST_BATCH_BYTES = 256 << 20
"""As jobs takes them."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """Which requests make spans: the first of each second, then a share. A sampled caller is always followed."""

    per_second: int = 5
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """Section `edge` of the file, `TOLLWAY_EDGE__*` in the environment."""

    listen: Listening = field(default_factory=Listening)
    orchestrator: str = "127.0.0.1:50057"
    ledger: str = "127.0.0.1:50055"
    jobs: str = "127.0.0.1:50059"
    registry: str = "127.0.0.1:50060"
    retrieval: str = "127.0.0.1:50056"
    guard: str = "127.0.0.1:50051"
    cache: str = "127.0.0.1:50053"
    router: str = "127.0.0.1:50054"
    tls: Tls = PLAIN
    """The edge's own side of its calls to the mesh."""
    largest_body_bytes: int = 24 << 20
    """Of a request, once unpacked."""
    largest_file_bytes: int = 200 << 20
    """Of an upload, which is passed on as it comes."""
    deadline_s: float = 120.0
    """How long a request may take that is not streamed; a stream may take ten times as long."""
    session_s: float = 3600.0
    """How long a session of speech and text may last."""
    responses: Keeping = field(default_factory=Keeping)
    conversation_idle_s: float = 30 * 86_400.0
    """A conversation goes when nobody has gone on from it for so long, ten years at most."""
    tracing: Tracing = field(default_factory=Tracing)
    sign_in: SignInSettings = field(default_factory=SignInSettings)


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Application]:
    """Opens what the edge owns, yields the ASGI application, closes in reverse order."""
    async with (
        channels.open(settings.ledger, settings.tls, waits=True) as directory,
        channels.open(settings.orchestrator, settings.tls, waits=True) as channel,
        channels.open(settings.jobs, settings.tls, waits=True, largest_message_bytes=LARGEST_BATCH_BYTES) as slow,
        channels.open(settings.registry, settings.tls, waits=True) as kept,
        channels.open(settings.retrieval, settings.tls, waits=True) as shelves,
        channels.open(settings.guard, settings.tls, waits=True) as guard,
        channels.open(settings.cache, settings.tls, waits=True) as cache,
        channels.open(settings.router, settings.tls, waits=True) as router,
        identified(Directory(ledger_pb2_grpc.LedgerServiceStub(directory), ledger)) as identity,
    ):
        gateway = gateway_pb2_grpc.GatewayServiceStub(channel)
        sampler = Sampler(settings.tracing.per_second, settings.tracing.share)
        door = Door(identity, sampler, settings.deadline_s, channel)
        models, stub = Models(gateway), jobs_pb2_grpc.JobsServiceStub(slow)
        files, batches, letters = Files(stub, settings.largest_file_bytes), Batches(stub), MessageBatches(stub)
        slowly, kept_by = Behind(slow, JobsAway), Behind(kept, RegistryAway)
        registry = Registry(registry_pb2_grpc.RegistryServiceStub(kept))
        shelf, found_by = retrieval_pb2_grpc.RetrievalServiceStub(shelves), Behind(shelves, RetrievalAway)
        documents, stores = Documents(shelf), VectorStores(shelf, stub)
        talks = Conversations(
            conversations_pb2_grpc.ConversationsServiceStub(slow), slowly.reach, settings.conversation_idle_s
        )
        responses, jobs = Responses(gateway, Kept(stub, slowly.reach, settings.responses), talks), Jobs(stub)
        choices = Choices(cache_pb2_grpc.CacheServiceStub(cache), router_pb2_grpc.RouterServiceStub(router))
        sign_in, books = SignIn(settings.sign_in), Books(ledger_pb2_grpc.LedgerServiceStub(directory), gateway)
        secrets = ClientSecrets(client_secrets_pb2_grpc.ClientSecretsServiceStub(directory))
        yield Application(
            door=door,
            largest_body_bytes=settings.largest_body_bytes,
            routes={
                **_of_the_gateway(gateway),
                "/v1/files": {"GET": slowly(files.list), "POST": slowly(files.create)},
                "/v1/batches": {"GET": slowly(batches.list), "POST": slowly(batches.create)},
                "/tollway/v1/jobs": {"GET": slowly(jobs.list)},
                SIGN_IN: {"GET": sign_in.offer, "POST": sign_in.trade},
                **books.routes(),
                **responses.routes(),
                **talks.routes(),
                **secrets.routes(),
                **letters.routes(slowly),
                **registry.routes(kept_by),
                **documents.routes(found_by),
                **stores.routes(found_by),
                **Safety(guard_pb2_grpc.GuardServiceStub(guard)).routes(Behind(guard, GuardAway)),
                **choices.routes(Behind(cache, CacheAway), Behind(router, RouterAway)),
            },
            prefixes={
                "/v1/models/": {"GET": models.get},
                "/v1/files/": {"GET": slowly(files.get), "DELETE": slowly(files.delete)},
                "/v1/batches/": {"GET": slowly(batches.get), "POST": slowly(batches.cancel)},
                "/tollway/v1/jobs/": {"GET": slowly(jobs.get), "POST": slowly(jobs.act), "DELETE": slowly(jobs.delete)},
                "/tollway/v1/traces/": {"GET": traces.get},
                **responses.prefixes(),
                **talks.prefixes(),
                **letters.prefixes(slowly),
                **Mcp(gateway).prefixes(),
                **Gemini(gateway, models).prefixes(),
                **registry.prefixes(kept_by),
                **documents.prefixes(found_by),
                **stores.prefixes(found_by),
            },
            public=frozenset({SIGN_IN}),
            uploads=frozenset({"/v1/files"}),
            refused=REFUSED,
            prompts=PROMPTS,
            assets=assets(),
            sockets=_sockets(gateway, secrets, responses, settings.session_s),
        )


def _sockets(
    gateway: gateway_pb2_grpc.GatewayServiceStub, secrets: ClientSecrets, responses: Responses, longest_s: float
) -> dict[str, SocketHandler]:
    return Realtime(gateway, secrets, longest_s).routes() | ResponseSockets(responses, longest_s).routes()


def _of_the_gateway(gateway: gateway_pb2_grpc.GatewayServiceStub) -> dict[str, dict[str, Handler]]:
    """What the gateway alone answers."""
    return {
        "/v1/models": {"GET": Models(gateway).list},
        "/v1/chat/completions": {"POST": Chat(gateway).answer},
        "/v1/completions": {"POST": Completions(gateway).answer},
        "/v1/embeddings": {"POST": Embeddings(gateway).answer},
        MESSAGES: {"POST": Messages(gateway).answer},
        COUNT: {"POST": Messages(gateway).count},
        "/v1/moderations": {"POST": Moderations(gateway).answer},
        "/v1/images/generations": {"POST": Images(gateway).answer},
        "/v1/images/edits": {"POST": Images(gateway).change},
        "/v1/audio/speech": {"POST": Speech(gateway).answer},
        "/v1/audio/transcriptions": {"POST": Transcriptions(gateway).answer},
        "/v1/audio/translations": {"POST": Transcriptions(gateway, translate=True).answer},
        **Reranking(gateway).routes(),
        **Mcp(gateway).routes(),
        **Gemini(gateway, Models(gateway)).routes(),
        **Erasures(gateway).routes(),
    }
