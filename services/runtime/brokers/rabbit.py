"""RabbitMQ: a topic exchange, a quorum queue a group; what cannot be handled after some tries goes to the dead-letter queue."""

import asyncio

from aio_pika.exceptions import AMQPError
from faststream.middlewares.acknowledgement.config import AckPolicy
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from services.runtime.brokers import CONNECTS_WITHIN_S, BrokerAway, Handler, raw

EXCHANGE, DEAD, KEY = "tollway", "tollway.dead", "tollway-key"
PREFETCH, MOST_TRIES = 100, 20


class Rabbit:
    def __init__(self, url: str) -> None:
        self._broker = RabbitBroker(url, logger=None, default_channel=Channel(prefetch_count=PREFETCH))
        self._exchange = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True)

    async def start(self) -> None:
        try:
            async with asyncio.timeout(CONNECTS_WITHIN_S):
                await self._broker.connect()
                await self._broker.declare_exchange(self._exchange)
                dead = await self._broker.declare_exchange(RabbitExchange(DEAD, type=ExchangeType.FANOUT, durable=True))
                kept = await self._broker.declare_queue(RabbitQueue(DEAD, queue_type=QueueType.QUORUM, durable=True))
                await kept.bind(dead)
                await self._broker.start()
        except (AMQPError, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error

    async def close(self) -> None:
        await self._broker.stop()

    def consume(self, topic: str, group: str, handler: Handler) -> None:
        queue = RabbitQueue(
            f"{group}.{topic}",
            queue_type=QueueType.QUORUM,
            durable=True,
            routing_key=topic,
            arguments={"x-dead-letter-exchange": DEAD, "x-delivery-limit": MOST_TRIES},
        )

        @self._broker.subscriber(queue, self._exchange, ack_policy=AckPolicy.NACK_ON_ERROR, decoder=raw)
        async def handle(body: bytes, message: RabbitMessage) -> None:
            await handler(str(message.headers.get(KEY, "")), message.body)

    async def publish(self, topic: str, key: str, body: bytes) -> None:
        try:
            await self._broker.publish(
                body,
                exchange=self._exchange,
                routing_key=topic,
                persist=True,
                mandatory=False,
                headers={KEY: key},
                timeout=5.0,
            )
        except (AMQPError, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error
