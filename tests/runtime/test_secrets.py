"""Keys by reference: the environment, files, and Vault on its own wire."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from services.runtime.http import session
from services.runtime.secrets import SecretMissing, Secrets


class Vault:
    """Answers as Vault's KV engine does, both versions."""

    def __init__(self) -> None:
        self.secret, self.asked, self.away = "v-1", 0, False
        self.url = ""

    async def read(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.away:
            return web.json_response({"errors": ["Vault is sealed"]}, status=503)
        if request.headers.get("X-Vault-Token") != "root" or request.headers.get("X-Vault-Namespace") != "ai":
            return web.json_response({"errors": ["permission denied"]}, status=403)
        fields = {"key": self.secret, "other": "o"}
        if request.path.startswith("/v1/secret/data/"):
            return web.json_response({"data": {"data": fields, "metadata": {"version": 3}}})
        return web.json_response({"data": fields})


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    made, application = Vault(), web.Application()
    application.router.add_get("/v1/{path:.*}", made.read)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_the_environment_files_and_plain_words(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("f-1\n")
    async with session() as http:
        secrets = Secrets(http, {"NAME": "e-1"})
        assert await secrets.read("env:NAME") == "e-1" and await secrets.read("env:NONE") == ""
        assert await secrets.read(f"file:{file}") == "f-1"
        file.write_text("f-2")  # rotated: in use at once
        assert await secrets.read(f"file:{file}") == "f-2"
        assert await secrets.read("sk-plain") == "sk-plain"
        with pytest.raises(SecretMissing, match="cannot be read: No such file"):
            await secrets.read(f"file:{tmp_path / 'none'}")


async def test_vault_both_versions_kept_a_while(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("services.runtime.secrets.time.monotonic", lambda: clock[0])
    async with session() as http:
        secrets = Secrets(http, {"VAULT_ADDR": vault.url, "VAULT_TOKEN": "root", "VAULT_NAMESPACE": "ai"})
        assert await secrets.read("vault:secret/data/openai") == "v-1"
        assert await secrets.read("vault:kv/openai#other") == "o"
        vault.secret = "v-2"
        assert await secrets.read("vault:secret/data/openai") == "v-1" and vault.asked == 2
        clock[0] = 61.0
        assert await secrets.read("vault:secret/data/openai") == "v-2"
        clock[0], vault.away = 200.0, True
        assert await secrets.read("vault:secret/data/openai") == "v-2"  # the last that it gave
        with pytest.raises(SecretMissing, match="Vault answers 503"):
            await secrets.read("vault:secret/data/unseen")


async def test_vault_says_no(vault: Vault) -> None:
    async with session() as http:
        denied = Secrets(http, {"VAULT_ADDR": vault.url, "VAULT_TOKEN": "wrong"})
        with pytest.raises(SecretMissing, match="Vault answers 403"):
            await denied.read("vault:secret/data/openai")
        allowed = Secrets(http, {"VAULT_ADDR": vault.url, "VAULT_TOKEN": "root", "VAULT_NAMESPACE": "ai"})
        with pytest.raises(SecretMissing, match="no such field"):
            await allowed.read("vault:secret/data/openai#none")
        away = Secrets(http, {"VAULT_ADDR": "http://127.0.0.1:1"})
        with pytest.raises(SecretMissing, match="ClientConnectorError"):
            await away.read("vault:secret/data/openai")
