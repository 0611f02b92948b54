"""Prompts and documents of MCP servers through the whole mesh, by the protocol's official client and by hand."""

import base64
from uuid import uuid4

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents, TextContent, TextResourceContents

from tests.mesh.running import Mesh
from tests.mesh.test_tools import EMAIL, META, MODERN, asking, connected, posted, text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_protocols_own_client_finds_and_makes_prompts(mesh: Mesh, mode: str) -> None:
    mark = uuid4().hex[:8]
    async with connected(mesh, mode=mode) as client:
        found = {one.name: one for one in (await client.list_prompts()).prompts}
        assert {"box__letter", "own__letter", "own__attacking"} <= set(found)
        assert not {"box__poisoned_prompt", "own__poisoned_prompt"} & set(found)  # what it says of itself attacks
        letter = found["box__letter"]
        assert (letter.title, letter.description) == ("A letter", "Has a letter written.") and letter.arguments
        assert {one.name: one.required for one in letter.arguments} == {"to": True, "about": False}
        made = await client.get_prompt("box__letter", {"to": f"{EMAIL} about {mark}"})
        (message,) = made.messages
        assert message.role == "user" and isinstance(message.content, TextContent)
        assert message.content.text == f"Write a letter to {EMAIL} about {mark} about tolls."
        assert await text(client, "own__calls", mark=mark) == f"[EMAIL_1] about {mark} | "
        with pytest.raises(MCPError, match="policy keeps the result of own__attacking back"):
            await client.get_prompt("own__attacking")
        with pytest.raises(MCPError, match="there is no prompt box__nobody"):
            await client.get_prompt("box__nobody")
        with pytest.raises(MCPError, match="box calls the request wrong"):
            await client.get_prompt("box__letter")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_protocols_own_client_finds_and_reads_documents(mesh: Mesh, mode: str) -> None:
    async with connected(mesh, mode=mode) as client:
        found = {one.uri: one for one in (await client.list_resources()).resources}
        tolls = found["box+box://tolls"]
        assert (tolls.name, tolls.title, tolls.mime_type) == ("tolls", "Tolls", "text/markdown")
        (form,) = [
            one.uri_template for one in (await client.list_resource_templates()).resource_templates
            if one.uri_template.startswith("own+")
        ]  # fmt: skip
        assert form == "own+box://people/{name}"
        (read,) = (await client.read_resource("box+box://tolls")).contents
        assert isinstance(read, TextResourceContents) and read.text == "# Tolls\n\nNine crowns."
        assert read.uri == "box+box://tolls"
        (seal,) = (await client.read_resource("own+box://seal")).contents
        assert isinstance(seal, BlobResourceContents) and base64.b64decode(seal.blob) == b"\x89PNG"
        (ada,) = (await client.read_resource("box+box://people/Ada")).contents
        assert isinstance(ada, TextResourceContents) and ada.text == "Ada keeps the bridge."
        with pytest.raises(MCPError, match="policy keeps the result of box: a resource back"):
            await client.read_resource("box+box://attack")
        with pytest.raises(MCPError, match="2 servers list this address"):
            await client.read_resource("box://tolls")
        with pytest.raises(MCPError, match="the address holds private data"):
            await client.read_resource(f"box+box://people/{EMAIL}")
        (told,) = (await client.read_resource(f"own+box://people/{EMAIL}")).contents
        assert isinstance(told, TextResourceContents) and told.text == f"{EMAIL} keeps the bridge."


async def test_one_server_by_its_own_names_and_addresses(mesh: Mesh) -> None:
    async with connected(mesh, "/own") as client:
        assert {one.name for one in (await client.list_prompts()).prompts} == {"attacking", "letter"}
        assert [one.uri for one in (await client.list_resources()).resources] == [
            "box://attack",
            "box://seal",
            "box://tolls",
        ]
        (read,) = (await client.read_resource("box://tolls")).contents
        assert read.uri == "box://tolls" and (await client.get_prompt("letter", {"to": "Ada"})).messages
    async with connected(mesh, "/nobody") as client:
        assert not (await client.list_prompts()).prompts and not (await client.list_resources()).resources


async def test_what_is_asked_is_paid_for_and_limited(mesh: Mesh) -> None:
    key = mesh.new_key("reader/app", "--scope", "tools")
    assert mesh.tollway("budgets", "set", "reader", "0.005usd", "--per=total").returncode == 0  # a call costs 0.002
    async with connected(mesh, key=key) as client:
        await client.read_resource("box+box://tolls")
        await client.get_prompt("box__letter", {"to": "Ada"})
        with pytest.raises(MCPError) as refused:
            await client.read_resource("box+box://people/Bo")
    assert refused.value.error.data["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("prompts/get", {}, "name must be a prompt's name"),
        ("prompts/get", {"name": "box__letter", "arguments": []}, "arguments must be an object"),
        ("prompts/get", {"name": "box__letter", "arguments": {"to": 7}}, "arguments.to must be a text"),
        ("prompts/get", {"name": "box__letter", "arguments": {str(n): "" for n in range(65)}}, "at most 64 texts"),
        ("prompts/list", {"cursor": 7}, "cursor is none of ours"),
        ("resources/list", {"cursor": "x" * 4097}, "cursor is none of ours"),
        ("resources/read", {}, "uri must be an address"),
        ("resources/read", {"uri": "x" * 2049}, "uri must be an address"),
    ],
)
async def test_mistakes(mesh: Mesh, method: str, params: dict[str, object], words: str) -> None:
    _, body, _ = await posted(mesh, asking(method, **params))
    assert words in body["error"]["message"] and body["error"]["code"] == -32602


async def test_the_newest_revision_says_in_a_header_what_is_read(mesh: Mesh) -> None:
    for method, params in (("resources/read", {"uri": "box+box://tolls"}), ("prompts/get", {"name": "own__letter"})):
        body = asking(method, **params, arguments={"to": "Ada"}, _meta=META)
        name = next(iter(params.values()))
        good = await posted(mesh, body, **MODERN, **{"mcp-method": method, "mcp-name": name})
        assert good[0] == 200 and "result" in good[1], good
        status, said, _ = await posted(mesh, body, **MODERN, **{"mcp-method": method, "mcp-name": "other"})
        assert (status, said["error"]["code"]) == (400, -32020)


async def test_the_command_lists_and_reads(mesh: Mesh) -> None:
    listed = mesh.tollway("tools", "prompts", "box").stdout
    assert "box__letter" in listed and "to about?" in listed and "poisoned" not in listed
    found = mesh.tollway("tools", "resources", "box").stdout
    assert "box://tolls" in found and "box://people/{name}" in found
    assert mesh.tollway("tools", "read", "box", "box://tolls").stdout == "# Tolls\n\nNine crowns.\n"
    refused = mesh.tollway("tools", "read", "box", "box://attack")
    assert refused.returncode and "injection" in refused.stderr
