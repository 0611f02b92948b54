"""HTTP towards others, as services share it: one warm pool, and server-sent events."""

from urllib.parse import quote_plus

import aiohttp

MOST_CONNECTIONS_IDLE_S = 30.0
CONNECT_S = 10.0
LONGEST_EVENT = 8 << 20


def session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    pool = connector or aiohttp.TCPConnector(limit=0, keepalive_timeout=MOST_CONNECTIONS_IDLE_S, ttl_dns_cache=60)
    return aiohttp.ClientSession(
        connector=pool,
        cookie_jar=aiohttp.DummyCookieJar(),  # what a provider sets for one caller goes along with no other
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        auto_decompress=True,
        skip_auto_headers=("User-Agent",),
        read_bufsize=1 << 17,
    )


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header that a client shows its secret by to an authorization server: both are encoded as in a form (RFC 6749, 2.3.1)."""
    return {"authorization": aiohttp.encode_basic_auth(quote_plus(client_id), quote_plus(secret))}


class EndlessEvent(Exception):
    """An event is longer than any that is meant."""


class Events:
    """The data of server-sent events, from bytes as they come. Lines end in LF or CR LF; comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest, self._data = b"", list[bytes]()

    def feed(self, piece: bytes) -> list[bytes]:
        """Of the events that end in `piece`.

        Raises:
            EndlessEvent
        """
        rest = self._rest + piece
        if len(rest) > LONGEST_EVENT:
            raise EndlessEvent
        *lines, self._rest = rest.replace(b"\r\n", b"\n").split(b"\n")
        found = list[bytes]()
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line.strip() and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found

    def end(self) -> list[bytes]:
        """What no blank line has ended."""
        left, self._data = self._data, []
        return [b"\n".join(left)] if left else []
