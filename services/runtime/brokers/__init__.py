"""What carries tickets and events, chosen by its URL: NATS JetStream, RabbitMQ or Kafka, each through FastStream."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from services.runtime.errors import Failure, Kind

if TYPE_CHECKING:
    from faststream import StreamMessage

Handler = Callable[[str, bytes], Awaitable[None]]
"""Takes a message's key and body; the message is acknowledged once it returns, and comes again when it fails."""


CONNECTS_WITHIN_S = 5.0
"""Clients that try for ever are told to stop: whoever starts a broker tries again."""


class BrokerAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "BROKER_AWAY"
    text = "the broker does not answer: {why}"


class BrokerUnknown(ValueError):
    """The URL names no broker that we speak to."""


class Broker(Protocol):
    async def start(self) -> None:
        """Connects, and begins to consume.

        Raises:
            BrokerAway
        """
        ...

    async def close(self) -> None: ...

    def consume(self, topic: str, group: str, handler: Handler) -> None:
        """Members of a `group` share what comes on `topic`. Asked for before `start`."""
        ...

    async def publish(self, topic: str, key: str, body: bytes) -> None:
        """Durable with the broker when it returns. Messages of a key keep their order where the broker keeps any.

        Raises:
            BrokerAway
        """
        ...


async def raw(message: "StreamMessage[Any]") -> bytes:
    """A body as it came: FastStream would make JSON of what looks like it."""
    return bytes(message.body)


def opened(url: str) -> Broker:
    """
    Raises:
        BrokerUnknown
    """
    scheme = url.partition("://")[0]
    match scheme:
        case "nats" | "tls":
            from services.runtime.brokers.nats import Nats

            return Nats(url)
        case "amqp" | "amqps":
            from services.runtime.brokers.rabbit import Rabbit

            return Rabbit(url)
        case "kafka":
            from services.runtime.brokers.kafka import Kafka

            return Kafka(url.partition("://")[2])
    raise BrokerUnknown(f"{scheme}: say nats://, amqp:// or kafka://")
