"""Erasing in a whole mesh: an end user by the command, a tenant over HTTP; what is theirs is gone everywhere, and nobody else's."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from services.mesh.running import admin_key
from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh
from tests.support.waiting import eventually

TEXT = {"content-type": "text/plain"}


@pytest.fixture
def tenant() -> str:
    return f"t{uuid4().hex[:8]}"


async def brought(mesh: Mesh, key: str, name: str, subject: str = "") -> None:
    path = f"/tollway/v1/documents/{name}" + (f"?attribute.subject={subject}" if subject else "")
    made = await sent(mesh, raw=f"{name} pays nine crowns.".encode(), path=path, method="PUT", key=key, headers=TEXT)
    assert made.status == 200, made.raw


async def found(mesh: Mesh, key: str) -> set[str]:
    said = await sent(mesh, {"query": "who pays nine crowns?"}, path="/tollway/v1/search", key=key)
    return {one["document_id"] for one in said.json["data"]}


async def asked(mesh: Mesh, key: str, **more: Any) -> dict[str, Any]:
    """A request whose answer is in the cache once this returns."""
    body = asking(**more)

    async def kept() -> bool:
        return bool((await sent(mesh, body, key=key)).headers["x-tollway-cache"] == "exact")

    await eventually(kept)
    return body


async def cached(mesh: Mesh, key: str, body: dict[str, Any]) -> str:
    only = {**body, "tollway": {"cache": {"only_if_cached": True}}}
    answer: Answer = await sent(mesh, only, key=key)
    return "hit" if answer.status == 200 else answer.code


async def test_an_end_user_is_erased(mesh: Mesh, tenant: str) -> None:
    key = await asyncio.to_thread(mesh.new_key, f"{tenant}/app")
    hers = await asked(mesh, key, user="ann", metadata={"customer": "ann", "team": "support"})
    newer = await asked(mesh, key, safety_identifier="ann")
    his = await asked(mesh, key, user="ben")
    await brought(mesh, key, "ann.md", "ann")
    await brought(mesh, key, "ben.md", "ben")
    made = await asyncio.to_thread(mesh.tollway, "erase", "subject", "ann", f"--tenant={tenant}", "--yes", "--json")
    assert made.returncode == 0, made.stderr
    receipt = json.loads(made.stdout)
    erased = {one["service"]: one["erased"] for one in receipt["erasures"]}
    assert (erased["cache"], erased["retrieval"]["documents"]) == ({"answers": "2"}, "1") and receipt["complete"]
    assert int(erased["ledger"]["entries"]) >= 2
    assert await cached(mesh, key, hers) != "hit" != await cached(mesh, key, newer)
    assert await cached(mesh, key, his) == "hit" and await found(mesh, key) == {"ben.md"}
    listed = (await sent(mesh, path="/tollway/v1/entries", method="GET", key=key)).json["data"]
    tags = [one["tags"] for one in listed]
    assert {"team": "support"} in [{k: v for k, v in one.items() if not k.startswith("tollway.")} for one in tags]
    assert not any("ann" in one.values() for one in tags)
    log = await asyncio.to_thread(mesh.tollway, "audit", "export", f"--key={key}")
    assert receipt["receipt_id"] in log.stdout and '"ann"' not in log.stdout


async def test_a_tenant_is_erased(mesh: Mesh, tenant: str) -> None:
    other, key = f"{tenant}x", await asyncio.to_thread(mesh.new_key, f"{tenant}/app")
    theirs = await asyncio.to_thread(mesh.new_key, f"{other}/app")
    for one in (key, theirs):
        await asked(mesh, one)
        await brought(mesh, one, "toll.md")
    body = {"tenant": tenant}
    refused = await sent(mesh, body, path="/tollway/v1/erasures/tenant", key=key)
    assert (refused.status, refused.code) == (403, "permission_denied")
    made = await sent(mesh, body, path="/tollway/v1/erasures/tenant", key=admin_key(mesh.state))
    assert made.status == 200, made.raw
    receipt = made.json
    assert receipt["complete"] and receipt["faults"] == {} and receipt["subject_digest"] is None
    erased = receipt["erased"]
    assert (erased["cache"]["answers"], erased["retrieval"]["documents"], erased["ledger"]["keys"]) == (1, 1, 1)
    assert erased["ledger"]["entries"] >= 2

    async def refuses() -> bool:
        return (await sent(mesh, asking(), key=key)).status in (401, 403)

    await eventually(refuses)
    assert await found(mesh, theirs) == {"toll.md"}
    usage = f"/tollway/v1/usage?account={tenant}&group_by=account"
    assert not (await sent(mesh, path=usage, method="GET", key=admin_key(mesh.state))).json["data"]
    own = await sent(mesh, {"tenant": "operator"}, path="/tollway/v1/erasures/tenant", key=admin_key(mesh.state))
    assert own.code == "failed_precondition"
    missing = await sent(mesh, {}, path="/tollway/v1/erasures/subject", key=admin_key(mesh.state))
    assert missing.status == 400 and missing.json["error"]["param"] == "subject"
