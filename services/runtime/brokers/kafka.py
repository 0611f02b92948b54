"""Kafka: a topic as it is named, a consumer group a group; a key's messages keep their order in its partition."""

from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from faststream.middlewares.acknowledgement.config import AckPolicy

from services.runtime.brokers import BrokerAway, Handler, raw


class Kafka:
    def __init__(self, servers: str) -> None:
        self._broker = KafkaBroker(servers.split(","), acks="all", logger=None)

    async def start(self) -> None:
        try:
            await self._broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error

    async def close(self) -> None:
        await self._broker.stop()

    def consume(self, topic: str, group: str, handler: Handler) -> None:
        subscriber = self._broker.subscriber(
            topic,
            group_id=group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            max_poll_records=100,
            decoder=raw,
        )

        @subscriber
        async def handle(body: bytes, message: KafkaMessage) -> None:
            raw = message.raw_message
            key = (raw[0] if isinstance(raw, tuple) else raw).key or b""
            await handler(key.decode(), message.body)

    async def publish(self, topic: str, key: str, body: bytes) -> None:
        try:
            await self._broker.publish(body, topic, key=key.encode() or None)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(why=type(error).__name__) from error
