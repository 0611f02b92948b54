"""Callers for tests of one service: real tokens, signed with a key of the tests' own."""

from datetime import UTC, datetime

from services.ledger.keys import Signer
from services.ledger.store import ApiKey
from services.runtime.identity import Identity

SIGNER = Signer()


def token(
    account: str = "acme/search",
    *,
    admin: bool = False,
    models: tuple[str, ...] = (),
    key: str = "key_1",
    scopes: tuple[str, ...] = (),
    regions: tuple[str, ...] = (),
) -> str:
    made, _ = SIGNER.token(
        ApiKey(key, account, "", b"", admin, models, datetime.now(UTC), scopes=scopes, regions=regions),
        datetime.now(UTC),
    )
    return made


def bearing(account: str = "acme/search", **more: object) -> tuple[tuple[str, str], ...]:
    """Metadata of a call by `account`."""
    return (("authorization", f"Bearer {token(account, **more)}"),)  # type: ignore[arg-type]


def identity() -> Identity:
    """Knows tokens of [token][]; API keys `tw_ACCOUNT` are exchanged for one of that account."""

    async def exchange(api_key: str) -> str:
        return token(api_key.removeprefix("tw_"))

    async def keys() -> dict[str, bytes]:
        return {SIGNER.key_id: SIGNER.public}

    return Identity(exchange, keys)
