"""People who come with a token of their company's own issuer, through the whole mesh."""

import asyncio
import json

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh, running
from tests.peers import issuer as peer
from tests.peers.issuer import AUDIENCE
from tests.peers.provider import provider


async def told(mesh: Mesh, *arguments: str) -> str:
    made = await asyncio.to_thread(mesh.tollway, *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout


async def test_a_person_does_what_their_roles_let_them() -> None:
    async with peer.issuer() as made:
        trusted = json.dumps({made.url: {"audience": AUDIENCE}})
        with provider() as upstream, running(upstream, TOLLWAY_LEDGER__OIDC=trusted) as mesh:
            token = made.token()
            stranger = await sent(mesh, asking(), key=token)
            assert stranger.status == 403, stranger.raw
            await told(mesh, "roles", "bind", "group:ml", "developer", "acme/app")
            answer = await sent(mesh, asking("hello"), key=token)
            assert answer.status == 200 and answer.text == "You said: hello", answer.raw
            denied = await sent(mesh, path="/tollway/v1/artifacts", method="GET", key=token)
            assert (denied.status, denied.code) == (403, "scope_missing")
            await told(mesh, "roles", "bind", "user:ann@example.com", "auditor", "acme/app")
            later = made.token(sub="s1", jti="another")
            log = await sent(mesh, path="/tollway/v1/audit", method="GET", key=later)
            assert log.status == 200, log.raw
            actions = [json.loads(one["json"])["action"] for one in log.json["data"]]
            assert actions == ["ledger.SetRoleBinding"] * 2
            assert (await told(mesh, "roles", "list", "acme")).count("acme/app") == 2
            batch = {"input": "hello", "model": "echo", "background": True}
            begun = await sent(mesh, batch, path="/v1/responses", key=later)
            async with asyncio.timeout(20):
                while (done := await sent(mesh, path=f"/v1/responses/{begun.json['id']}", method="GET", key=later)).json["status"] != "completed":  # fmt: skip
                    await asyncio.sleep(0.2)
            assert "You said: hello" in done.raw.decode(), "work in the background goes on under the person's roles"
            forged = await sent(mesh, asking(), key=f"{token[:-8]}AAAAAAAA")
            assert forged.status == 401, forged.raw
