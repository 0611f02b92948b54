"""`POST /v1/realtime/client_secrets`: secrets that open sessions, for who may not have a key, such as a browser."""

import uuid
from dataclasses import dataclass

import grpc
from tollway.ledger.v1 import client_secrets_pb2 as pb
from tollway.ledger.v1 import client_secrets_pb2_grpc

from services.edge.door import Door
from services.edge.exchange import Exchange
from services.edge.waiting import Handler
from services.edge.wire import client_secret, options
from services.edge.wire.errors import Refusal, of_failure

PATH = "/v1/realtime/client_secrets"


@dataclass(frozen=True, slots=True)
class ClientSecrets:
    stub: client_secrets_pb2_grpc.ClientSecretsServiceStub

    def routes(self) -> dict[str, dict[str, Handler]]:
        return {PATH: {"POST": self.create}}

    async def create(self, exchange: Exchange, door: Door) -> None:
        """The same `Idempotency-Key` gives the same secret."""
        request_id = options.idempotency_key(exchange.headers) or str(uuid.uuid4())
        asked, session = client_secret.request(exchange.body, request_id)
        try:
            made = await self.stub.CreateClientSecret(asked)
        except grpc.aio.AioRpcError as error:
            refusal = of_failure(error)
            if refusal.param == "models":
                refusal.param = "session.model"
            raise refusal from None
        await exchange.answer(client_secret.shown(made, session))

    async def opens(self, secret: str) -> pb.GetClientSecretResponse:
        """What the caller's secret opens.

        Raises:
            Refusal: it has ended this moment.
        """
        try:
            found: pb.GetClientSecretResponse = await self.stub.GetClientSecret(
                pb.GetClientSecretRequest(secret=secret)
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise Refusal(401, "invalid_api_key", "the client secret has ended: make another") from None
            raise
        return found
