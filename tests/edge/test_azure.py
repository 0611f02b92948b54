"""Paths and bodies as Azure OpenAI has them, told in OpenAI's words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.wire.azure import DEPLOYED, asking, translated
from services.edge.wire.multipart import Upload

names = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=30)
JSON = b"application/json"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/openai/deployments/gpt-4o/chat/completions", ("/v1/chat/completions", "gpt-4o")),
        ("/openai/deployments/gpt-4o/completions", ("/v1/completions", "gpt-4o")),
        ("/openai/deployments/meta/llama-3/embeddings", ("/v1/embeddings", "meta/llama-3")),
        ("/openai/deployments/chat/completions", ("/v1/completions", "chat")),
        ("/openai/deployments/embeddings", ("/v1/deployments/embeddings", "")),
        ("/openai/models", ("/v1/models", "")),
        ("/openai/files/f-1/content", ("/v1/files/f-1/content", "")),
        ("/openai/v1/responses", ("/v1/responses", "")),
    ],
)
def test_a_path_is_told_as_openai_has_it(path: str, told: tuple[str, str]) -> None:
    assert translated(path) == told


@given(names, st.sampled_from(DEPLOYED))
def test_any_deployment_is_found(name: str, what: str) -> None:
    assert translated(f"/openai/deployments/{name}/{what}") == (f"/v1/{what}", name)


json_values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)  # fmt: skip


@given(names, st.dictionaries(st.text(), json_values))
def test_a_body_asks_for_the_deployment_and_else_for_what_it_did(name: str, body: dict[str, object]) -> None:
    assert json.loads(asking(name, json.dumps(body).encode(), JSON)) == {**body, "model": name}


@given(st.binary(max_size=60))
def test_what_is_no_object_is_left_to_whoever_reads_it(raw: bytes) -> None:
    try:
        known = isinstance(json.loads(raw), dict)
    except ValueError:
        known = False
    if not known:
        assert asking("gpt", raw, JSON) == raw and asking("gpt", raw, b"") == raw


@pytest.mark.parametrize("said", (b"", b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n'))
def test_a_form_asks_for_the_deployment(said: bytes) -> None:
    file = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nbytes--edge--not\r\n'
    kind = b"multipart/form-data; boundary=edge"
    upload = Upload(kind)
    assert upload.feed(asking("whisper", said + file + b"--edge--\r\n", kind)) == b"bytes--edge--not"
    upload.finish()
    assert upload.fields == {"model": "whisper"}
    assert asking("whisper", file, kind)  # cut short: refused by whoever reads it
