"""One suite for every broker, each a real one: what is published comes to one member of each group, and again if it fails."""

import asyncio
from uuid import uuid4

import pytest

from services.runtime import brokers
from services.runtime.brokers import Broker, BrokerAway, BrokerUnknown
from tests.support.ports import free_port
from tests.support.waiting import until


class Member:
    """Of a group: keeps what it gets, and fails as often as it is told first."""

    def __init__(self, url: str, topic: str, group: str, fails: int = 0) -> None:
        self.broker: Broker = brokers.opened(url)
        self.got: list[tuple[str, bytes]] = []
        self.fails = fails
        self.broker.consume(topic, group, self.take)

    async def take(self, key: str, body: bytes) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("not this time")
        self.got.append((key, body))

    async def __aenter__(self) -> "Member":
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.broker.start()
                    return self
                except BrokerAway:
                    await asyncio.sleep(0.5)

    async def __aexit__(self, *_: object) -> None:
        await self.broker.close()


@pytest.mark.timeout(180)
async def test_every_group_gets_what_is_published_and_one_of_its_members(broker_url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    bodies = {f"m{n}".encode() for n in range(30)}
    async with (
        Member(broker_url, topic, f"one-{topic[8:]}") as first,
        Member(broker_url, topic, f"one-{topic[8:]}") as second,
        Member(broker_url, topic, f"two-{topic[8:]}") as other,
    ):
        await asyncio.sleep(0.5)
        for body in sorted(bodies):
            await first.broker.publish(topic, "acme", body)
        await until(lambda: len(first.got) + len(second.got) >= 30 and len(other.got) >= 30, within_s=40)
        assert {body for _, body in (*first.got, *second.got)} == bodies == {body for _, body in other.got}
        assert {key for key, _ in other.got} == {"acme"}


@pytest.mark.timeout(180)
async def test_what_a_member_does_not_finish_comes_again(broker_url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    async with Member(broker_url, topic, f"one-{topic[8:]}", fails=2) as member:
        await asyncio.sleep(0.5)
        await member.broker.publish(topic, "acme", b"again")
        await until(lambda: member.got, within_s=40)
        assert member.got[0] == ("acme", b"again") and member.fails == 0


@pytest.mark.timeout(180)
async def test_what_is_published_waits_for_a_member(broker_url: str) -> None:
    topic = f"tollway.{uuid4().hex}"
    async with Member(broker_url, topic, f"one-{topic[8:]}"):
        pass  # the group is known from here on
    async with Member(broker_url, "tollway.elsewhere", uuid4().hex) as publisher:
        await publisher.broker.publish(topic, "acme", b"patience")
    async with Member(broker_url, topic, f"one-{topic[8:]}") as member:
        await until(lambda: member.got, within_s=60)
        assert member.got == [("acme", b"patience")]


async def test_a_broker_that_is_away_is_said_to_be() -> None:
    for url in (f"nats://127.0.0.1:{free_port()}", f"amqp://guest:guest@127.0.0.1:{free_port()}/"):
        with pytest.raises(BrokerAway):
            await brokers.opened(url).start()


def test_an_url_of_no_broker_is_refused() -> None:
    with pytest.raises(BrokerUnknown, match="carrier-pigeon"):
        brokers.opened("carrier-pigeon://loft")
