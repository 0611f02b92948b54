"""Who calls: tokens are verified once, keys exchanged, revocations bite, nobody can forge a tenant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from services.ledger.keys import Signer
from services.ledger.store import ApiKey
from services.runtime.errors import Failure
from services.runtime.identity import (
    AccountSuspended,
    AdministratorsOnly,
    IdentityMissing,
    ScopeMissing,
    TokenRefused,
    administrator,
    caller,
    hold,
    scoped,
)
from tests.support.callers import SIGNER, identity, token


async def test_a_token_tells_who_calls() -> None:
    found = await identity().verify(token("acme/search/prod", models=("small",)))
    assert (found.tenant, found.account, found.models, found.admin) == ("acme", "acme/search/prod", ("small",), False)


async def test_an_api_key_is_exchanged_and_remembered() -> None:
    known = identity()
    assert known.remembered("tw_acme") is None
    assert (await known.verify("tw_acme")).tenant == "acme"
    found = known.remembered("tw_acme")
    assert found is not None and found.token != "tw_acme"


async def test_a_token_of_another_signer_is_refused() -> None:
    forger = Signer()
    key = ApiKey("key_1", "acme", "", b"", True, (), datetime.now(UTC))
    with pytest.raises(TokenRefused):
        await identity().verify(forger.token(key, datetime.now(UTC))[0])


async def test_an_altered_token_is_refused() -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    head, _, signature = token().split(".")
    body = jwt.encode({**claims, "tenant": "other"}, "x" * 32).split(".")[1]
    with pytest.raises(TokenRefused):
        await identity().verify(f"{head}.{body}.{signature}")


async def test_a_token_without_a_signature_is_refused() -> None:
    claims = jwt.decode(token(), options={"verify_signature": False})
    with pytest.raises(TokenRefused):
        await identity().verify(jwt.encode(claims, "", algorithm="none", headers={"kid": SIGNER.key_id}))


async def test_an_expired_token_is_refused() -> None:
    key = ApiKey("key_1", "acme", "", b"", False, (), datetime.now(UTC))
    old, _ = SIGNER.token(key, datetime.now(UTC) - timedelta(minutes=5))
    with pytest.raises(TokenRefused):
        await identity().verify(old)


async def test_a_revoked_key_is_forgotten_and_refused() -> None:
    known, made = identity(), token(key="key_7")
    await known.verify(made)
    known.revoke(["key_7"])
    assert known.remembered(made) is None
    with pytest.raises(TokenRefused):
        await known.verify(made)


async def test_a_suspended_account_is_refused_with_all_below_it_until_it_is_resumed() -> None:
    known, made = identity(), token("acme/search/api")
    found = await known.verify(made)
    for accounts in (["acme"], ["globex", "acme/search"], ["acme/search/api"]):
        known.suspend(accounts)
        assert known.remembered(made) is None and known.known(found.header) is None
        with pytest.raises(AccountSuspended):
            await known.verify(made)
    known.suspend(["acme/searching", "acm"])
    assert (await known.verify(made)).account == "acme/search/api"


async def test_a_scope_is_asked_only_of_keys_that_have_some() -> None:
    found = await identity().verify(token())
    hold(found)
    assert scoped("chat") is found
    hold(replace(found, scopes=("jobs",)))
    assert scoped("jobs").scopes == ("jobs",)
    with pytest.raises(ScopeMissing):
        scoped("chat")


def test_a_call_without_a_caller() -> None:
    hold(None)
    with pytest.raises(IdentityMissing):
        caller()


async def test_only_administrators_administer() -> None:
    known = identity()
    hold(await known.verify(token(admin=True)))
    assert administrator().admin
    hold(await known.verify(token()))
    with pytest.raises(AdministratorsOnly):
        administrator()


def test_a_token_is_no_part_of_what_is_printed() -> None:
    assert issubclass(TokenRefused, Failure)
    assert "eyJ" not in repr(TokenRefused(why="InvalidSignatureError"))
