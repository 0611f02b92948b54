"""Routes of a tenant, from its settings to what a model is asked."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh


@pytest.fixture(scope="module")
def key(mesh: Mesh) -> str:
    return mesh.new_key("guided/app")


async def answered(mesh: Mesh, key: str, text: str, model: str = "auto", **more: object) -> Answer:
    made = await sent(mesh, asking(text, model, **more), key=key)
    assert made.status == 200, made.raw
    return made


async def test_what_a_text_is_about_says_who_answers_and_what_is_asked(mesh: Mesh, key: str) -> None:
    made = await answered(mesh, key, f"Can my landlord evict me without a court order? {uuid4().hex[:4]}")
    assert (made.headers["x-tollway-route-taken"], made.headers["x-tollway-model"]) == ("law", "late")
    sent_on = mesh.provider.requests[-1]
    assert sent_on["messages"][0] == {"role": "system", "content": "Cite the statute."}
    assert sent_on["reasoning_effort"] == "high"
    made = await answered(mesh, key, f"Where has my parcel got to? {uuid4().hex[:4]}")
    assert (made.headers["x-tollway-route-taken"], made.headers["x-tollway-model"]) == ("parcels", "echo")
    made = await answered(mesh, key, f"Say {uuid4().hex}")
    assert "x-tollway-route-taken" not in made.headers and made.headers["x-tollway-model"] == "echo"


async def test_labels_keep_answers_apart_where_routes_look_at_them(mesh: Mesh, key: str) -> None:
    text = f"Say {uuid4().hex}"
    plain = await answered(mesh, key, text)
    gold = await answered(mesh, key, text, metadata={"tier": "gold"})
    assert [one.headers["x-tollway-cache"] for one in (plain, gold)] == ["miss", "miss"]
    assert (gold.headers["x-tollway-route-taken"], gold.headers["x-tollway-model"]) == ("gold", "story")
    assert mesh.provider.requests[-1]["chat_template_kwargs"] == {"enable_thinking": True}
    again = await answered(mesh, key, text, metadata={"tier": "gold", "team": "b"})
    assert (again.headers["x-tollway-cache"], again.headers["x-tollway-model"]) == ("exact", "story")
    other = await answered(mesh, key, text, metadata={"team": "b"})
    assert (other.headers["x-tollway-cache"], other.headers["x-tollway-model"]) == ("exact", "echo")


async def test_labels_come_in_a_header_too(mesh: Mesh, key: str) -> None:
    labels = {"x-tollway-labels": "team = b, tier=gold"}
    body = asking(f"Say {uuid4().hex}", "auto", metadata={"tier": "free", "team": "a"})
    made = await sent(mesh, body, key=key, headers=labels)
    assert made.headers["x-tollway-route-taken"] == "gold"
    for path, more in (
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": f"Say {uuid4().hex}"}]}),
        ("/v1/responses", {"input": f"Say {uuid4().hex}"}),
        ("/v1/completions", {"prompt": f"Say {uuid4().hex}"}),
    ):
        made = await sent(mesh, {"model": "auto", **more}, path=path, key=key, headers=labels)
        assert (made.status, made.headers["x-tollway-route-taken"]) == (200, "gold"), made.raw


async def test_a_route_may_keep_its_answers_out_of_the_cache(mesh: Mesh, key: str) -> None:
    text = f"Where is my parcel {uuid4().hex[:4]}?"
    found = [(await answered(mesh, key, text)).headers["x-tollway-cache"] for _ in range(2)]
    assert found == ["miss", "miss"]


@pytest.mark.parametrize(("model", "fallback"), [("broken-followed", "echo"), ("busy", "quiet")])
async def test_a_model_that_fails_has_the_fallbacks_of_its_tenant(
    mesh: Mesh, key: str, model: str, fallback: str
) -> None:
    made = await answered(mesh, key, f"Say {uuid4().hex}", model)
    assert made.json["model"] == fallback
    assert (await sent(mesh, asking(f"Say {uuid4().hex}", model))).status >= 400  # another tenant has none


def test_a_policy_is_checked_before_it_is_in_force(mesh: Mesh, tmp_path: Path) -> None:
    good, bad = tmp_path / "acme.yaml", tmp_path / "beta.yaml"
    good.write_text("routes: [{name: law, when: {subjects: [law]}, models: [echo]}]")
    bad.write_text("routes: [{name: law, when: {subjects: [laws]}}]")
    command = [sys.executable, "-m", "services.mesh", "route", "check"]
    told = subprocess.run([*command, str(good)], capture_output=True, text=True, timeout=60, check=True)
    assert "acme: cheapest_above, 1 routes" in told.stderr
    told = subprocess.run([*command, str(good), str(bad)], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1 and "beta.yaml.routes[0].when.subjects: 'laws' is none of" in told.stderr


def test_routes_are_explained(mesh: Mesh, key: str) -> None:
    told = mesh.tollway("route", "explain", "Can I appeal the verdict of a jury?", f"--key={key}")
    assert told.returncode == 0, told.stderr
    assert "metadata.tier: not there" in told.stdout and "taken" in told.stdout and "listed" not in told.stdout
    told = mesh.tollway("route", "explain", "Hello", f"--key={key}", "--label=tier=gold")
    assert "gold" in told.stdout and "story" in told.stdout
    assert "is not NAME=VALUE" in mesh.tollway("route", "explain", "x", "--label=tier").stderr
