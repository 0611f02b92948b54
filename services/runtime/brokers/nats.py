"""NATS JetStream: one stream for all topics, a durable pull consumer a group."""

import asyncio

from faststream.middlewares.acknowledgement.config import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.annotations import NatsMessage
from nats.errors import Error
from nats.js.api import ConsumerConfig

from services.runtime.brokers import CONNECTS_WITHIN_S, BrokerAway, Handler, raw

STREAM, KEY = "TOLLWAY", "tollway-key"
KEPT_S = 7 * 86_400.0
BATCH = 100


class Nats:
    def __init__(self, url: str) -> None:
        self._broker = NatsBroker(url, connect_timeout=2, max_reconnect_attempts=-1, logger=None)
        self._stream = JStream(STREAM, subjects=["tollway.>"], max_age=KEPT_S, declare=False)

    async def start(self) -> None:
        try:
            async with asyncio.timeout(CONNECTS_WITHIN_S):
                connection = await self._broker.connect()
                await connection.jetstream().add_stream(name=STREAM, subjects=["tollway.>"], max_age=KEPT_S)
                await self._broker.start()
        except (Error, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error

    async def close(self) -> None:
        await self._broker.stop()

    def consume(self, topic: str, group: str, handler: Handler) -> None:
        subscriber = self._broker.subscriber(
            topic,
            stream=self._stream,
            durable=group,
            pull_sub=PullSub(batch_size=BATCH, timeout=1.0),
            config=ConsumerConfig(ack_wait=30.0, max_ack_pending=10_000),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            decoder=raw,
        )

        @subscriber
        async def handle(body: bytes, message: NatsMessage) -> None:
            await handler(message.headers.get(KEY, ""), message.body)

    async def publish(self, topic: str, key: str, body: bytes) -> None:
        try:
            await self._broker.publish(body, topic, headers={KEY: key}, stream=STREAM, timeout=5.0)
        except (Error, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error
