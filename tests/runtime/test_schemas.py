"""Schemas of others: what they say of a value, and that they fetch nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from services.runtime.schemas import validator


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "integer"}')

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/schema.json", asked
    server.shutdown()
    server.server_close()


def test_nothing_is_fetched(elsewhere: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = elsewhere
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}')
    for reference in (address, file.as_uri()):
        with pytest.raises(ValueError, match="refers to what is not in it"):
            validator({"$ref": reference})
    assert not asked
    inside = validator({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})
    assert inside.is_valid(1) and not inside.is_valid("1")


def test_values_are_shown_unless_they_are_hidden() -> None:
    (fault,) = validator({"type": "integer"}, hides=True).iter_errors("4111")
    assert fault.message == 'the value is not of type "integer"'
    (fault,) = validator({"type": "integer"}).iter_errors("4111")
    assert "4111" in fault.message
