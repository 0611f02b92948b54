"""Tells webhooks what has ended: signed as Standard Webhooks says, tried again for days, each try in the books."""

import asyncio
import hmac
import ipaddress
import logging
import random
import socket
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import aiohttp
from standardwebhooks import Webhook
from yarl import URL

from services.jobs.store import Delivery, Store
from services.runtime.postgres import AWAY

log = logging.getLogger(__name__)

WAITS_S = (5, 60, 300, 1800, 7200, 18_000, 36_000, 36_000)
WITHIN_S = 15.0
MOST, LOOKS_EVERY_S = 32, 0.2


class Forbidden(Exception):
    """Where a webhook may not go."""


@dataclass(frozen=True, slots=True)
class Egress:
    """Where webhooks may go: nowhere private, unless it is told."""

    allowed: Sequence[str] = ()
    """Hosts; empty for every public one."""
    private: bool = False
    """Whether private and loopback addresses may be called."""

    async def checked(self, url: str) -> None:
        """
        Raises:
            Forbidden
        """
        host, port = URL(url).host or "", URL(url).port or 443
        if self.allowed and host not in self.allowed:
            raise Forbidden(f"{host} is not among the hosts that webhooks may call")
        if self.private:
            return
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise Forbidden(f"{host} has no address") from None
        for *_, address in found:
            if not ipaddress.ip_address(address[0]).is_global:
                raise Forbidden(f"{host} is a private address")


@dataclass(slots=True)
class Webhooks:
    store: Store
    egress: Egress
    key: str = field(repr=False)

    def secret(self, tenant: str) -> str:
        """What a tenant's webhooks are signed with: the same for as long as the service's key is."""
        return "whsec_" + b64encode(hmac.digest(self.key.encode(), f"webhooks/{tenant}".encode(), sha256)).decode()

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as http:
            while True:
                try:
                    due = await self.store.deliveries(MOST, timedelta(seconds=4 * WITHIN_S))
                    await asyncio.gather(*(self._one(http, one) for one in due))
                except AWAY as error:
                    log.warning("webhooks wait: %s", type(error).__name__)
                    due = []
                if not due:
                    await asyncio.sleep(LOOKS_EVERY_S)

    async def _one(self, http: aiohttp.ClientSession, delivery: Delivery) -> None:
        status, why = await self._told(http, delivery)
        good = 200 <= status < 300
        last = status == 410 or delivery.attempts >= len(WAITS_S)  # 410: nobody wants to hear of it any more
        again = None
        if not good and not last:
            wait = WAITS_S[delivery.attempts - 1] * (0.8 + 0.4 * random.random())
            again = datetime.now(UTC) + timedelta(seconds=wait)
        if not good:
            log.info("webhook %s, try %d: %s", delivery.webhook_id, delivery.attempts, why or status)
        await self.store.delivered(delivery, status, why, again)

    async def _told(self, http: aiohttp.ClientSession, delivery: Delivery) -> tuple[int, str]:
        now, name = datetime.now(UTC), delivery.webhook_id
        headers = {
            "content-type": "application/cloudevents+json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret(delivery.tenant)).sign(name, now, delivery.body.decode()),
        }
        try:
            await self.egress.checked(delivery.url)
            async with http.post(delivery.url, data=delivery.body, headers=headers, allow_redirects=False) as answer:
                return answer.status, ""
        except Forbidden as error:
            return 0, str(error)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return 0, type(error).__name__
