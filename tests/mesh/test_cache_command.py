"""`tollway cache`, on a running mesh: a rewording is served, a near miss is not, and both say why."""

import asyncio
from uuid import uuid4

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh
from tests.support.waiting import eventually


async def test_the_cache_explains_itself_and_what_it_did(mesh: Mesh) -> None:
    key = mesh.new_key(f"c{uuid4().hex[:8]}/app")
    text = f"How do I reach station k{uuid4().hex[:6]} of ada@example.com by train?"
    empty = mesh.tollway("cache", "explain", text, "--model=echo", f"--key={key}")
    assert "miss: NO_CANDIDATE" in empty.stdout, empty.stderr
    await sent(mesh, asking(text), key=key)

    async def kept() -> bool:
        said = await asyncio.to_thread(mesh.tollway, "cache", "explain", text, "--model=echo", f"--key={key}")
        return "exact hit" in said.stdout

    await eventually(kept)
    polite = mesh.tollway("cache", "explain", f"Hello! {text.lower()} Thanks", "--model=echo", f"--key={key}")
    assert "semantic hit" in polite.stdout and "SAME_WORDS" in polite.stdout
    hit = await sent(mesh, asking(f"Hello! {text} Thanks"), key=key)
    assert hit.headers["x-tollway-cache"] == "semantic" and hit.text == f"You said: {text}"
    other = text.replace("station ", "station 9")
    assert "miss: NOT_PROVEN" in mesh.tollway("cache", "explain", other, "--model=echo", f"--key={key}").stdout
    told = mesh.tollway("cache", "insight", f"--key={key}")
    assert "1.0%" in told.stdout and "50.0%" in told.stdout, told
    assert "1 answers dropped" in mesh.tollway("cache", "drop", "--all", f"--key={key}").stdout
    assert (await sent(mesh, asking(text), key=key)).headers["x-tollway-cache"] == "miss"
