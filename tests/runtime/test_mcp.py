"""What the mesh calls tools, and headers as MCP has them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.mcp import as_header, named, of_header, own_name, server_of

SERVERS = st.from_regex(r"[a-z0-9](?:[-_]?[a-z0-9]){0,31}", fullmatch=True)
OWN = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=128)


@given(server=SERVERS, own=OWN)
def test_a_name_tells_the_server_and_its_own_name_for_the_tool(server: str, own: str) -> None:
    name = named(server, own)
    assert (server_of(name), own_name(name, server)) == (server, own)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_header_stands_for_its_text(text: str) -> None:
    said = as_header(text)
    assert said.isascii() and said.isprintable() and said == said.strip()
    assert of_header(said.encode()) == text


@pytest.mark.parametrize("value", [b"=?base64?!?=", b"=?base64?/w==?="])
def test_base64_that_is_none_stands_for_nothing(value: bytes) -> None:
    assert of_header(value) is None
