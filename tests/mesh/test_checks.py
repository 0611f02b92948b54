"""A check of the company's own on the whole road: what it is shown, what it stops, and what becomes of requests without it."""

from uuid import uuid4

from tests.mesh.client import asking, sent
from tests.mesh.running import Mesh
from tests.peers.guardrail import guardrail
from tests.support.waiting import eventually

POLICY = "checks:\n  - {name: own, url: 'URL', on: [prompt, completion]}\n"


async def test_a_check_stands_on_the_road(mesh: Mesh) -> None:
    file, key = mesh.state / "policies" / "checked.yaml", mesh.new_key("checked/app")
    file.parent.mkdir(exist_ok=True)
    try:
        async with guardrail() as check:
            file.write_text(POLICY.replace("URL", check.url))

            async def refused() -> bool:
                made = await sent(mesh, asking(f"a forbidden thing {uuid4().hex}"), key=key)
                return made.status == 400 and "checks.own" in made.json["error"]["message"]

            await eventually(refused)
            assert (await sent(mesh, asking("a forbidden thing"))).status == 200, "other tenants have their own"
            address = f"{uuid4().hex}@example.com"
            for stream in (False, True):
                made = await sent(mesh, asking(f"A rude {address} {uuid4().hex}", stream=stream), key=key)
                text = made.streamed if stream else made.text
                assert made.status == 200 and text.startswith(f"You said: A nice {address}")
            assert address not in str(check.asked) and address not in str(mesh.provider.asked("echo"))
            *_, asked, said = (one["texts"] for one in check.asked)
            assert asked[0].startswith("A rude [EMAIL_1]") and said[0].startswith("You said: A nice [EMAIL_1]")
        away = await sent(mesh, asking(), key=key)
        assert away.status == 503 and "own" in away.json["error"]["message"]
    finally:
        file.unlink()
