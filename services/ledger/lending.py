"""Makes secrets for browsers, and tells what they open."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg
from tollway.ledger.v1 import client_secrets_pb2 as pb
from tollway.ledger.v1.client_secrets_pb2_grpc import ClientSecretsServiceServicer

from services.ledger.client_secrets import ClientSecret, ClientSecrets, derived
from services.ledger.keys import digest
from services.ledger.messages import stamp
from services.runtime import identity
from services.runtime.errors import Failure, Kind
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)

FORGOTTEN_EVERY_S = 60.0


class ClientSecretUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "CLIENT_SECRET_UNKNOWN"
    text = "there is no such client secret"


class RequestIdReused(Failure):
    kind, reason = Kind.REUSED, "REQUEST_ID_REUSED"
    text = "a client secret was made under {request_id} for another session"
    field = "request_id"


class ModelNotAllowed(Failure):
    kind, reason = Kind.DENIED, "MODEL_NOT_ALLOWED"
    text = "the API key may not use model {model}"
    field = "models"


@dataclass(frozen=True, slots=True)
class ClientSecretsService(ClientSecretsServiceServicer):
    kept: ClientSecrets
    secret: bytes = field(repr=False)
    """Shared by all replicas: secrets are made of it."""

    async def CreateClientSecret(
        self, request: pb.CreateClientSecretRequest, context: object
    ) -> pb.CreateClientSecretResponse:
        caller, now = identity.caller(), datetime.now(UTC)
        for model in request.models:
            if not caller.allows(model):
                raise ModelNotAllowed(model=model)
        secret = derived(self.secret, caller.key_id, request.request_id)
        expires = now + request.lifetime.ToTimedelta()
        asked = ClientSecret(digest(secret), caller.key_id, tuple(request.models), request.session, expires)
        await self.kept.forget(now)  # or a request that is repeated late would have one that opens nothing
        made = await self.kept.keep(asked)
        if (made.models, made.session) != (asked.models, asked.session):
            raise RequestIdReused(request_id=request.request_id)
        return pb.CreateClientSecretResponse(secret=secret, expires=stamp(made.expires))

    async def GetClientSecret(self, request: pb.GetClientSecretRequest, context: object) -> pb.GetClientSecretResponse:
        found = await self.kept.find(digest(request.secret), datetime.now(UTC))
        if found is None or found.key_id != identity.caller().key_id:
            raise ClientSecretUnknown
        return pb.GetClientSecretResponse(models=found.models, session=found.session, expires=stamp(found.expires))

    async def run(self) -> None:
        """Forgets what has ended, until cancelled."""
        while True:
            try:
                await self.kept.forget(datetime.now(UTC))
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("client secrets that have ended are still kept: %s", type(error).__name__)
            await asyncio.sleep(FORGOTTEN_EVERY_S)
