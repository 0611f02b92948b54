"""Templates in a whole mesh: from files to answers, and a canary that fails and is taken back while nobody notices."""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh, running
from tests.peers.provider import provider
from tests.support.waiting import eventually

NAME = "support/answer"


def written(folder: Path, text: str, model: str = "echo", **more: Any) -> Path:
    file = folder / f"{NAME}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    turns = [{"text": {"role": "system", "text": text}}, {"conversation": True}]
    template = {"variables": [{"name": "product"}], "turns": turns, "settings": {"model": model}}
    file.write_text(json.dumps({"template": template, **more}))  # JSON is YAML, too
    return folder


def did(mesh: Mesh, key: str, *arguments: str) -> str:
    done = mesh.tollway(*arguments, f"--key={key}")
    assert done.returncode == 0, done.stderr
    return done.stdout


async def prompted(mesh: Mesh, key: str, text: str = "", **more: Any) -> Answer:
    said = asking(text)["messages"]
    prompt = {"id": NAME, "variables": {"product": "boats"}}
    return await sent(mesh, {"prompt": prompt, "messages": said, **more}, key=key)


def system_of(mesh: Mesh, text: str) -> list[str]:
    """The first message of what the provider was asked with `text` last."""
    asked = [one for one in mesh.provider.requests if text in json.dumps(one)]
    return [one["messages"][0]["content"] for one in asked]


async def test_a_folder_of_files_answers_requests(mesh: Mesh, tmp_path: Path) -> None:
    key = mesh.new_key(f"t{uuid4().hex[:8]}/app")
    (tmp_path / "rules.yaml").write_text("snippet: {text: Never lie.}")
    folder = written(tmp_path, 'You sell {{ product }}. {% include "rules" %}', labels=["production"])
    assert f"? {NAME}: not checked" in did(mesh, key, "registry", "apply", str(folder), "--dry-run")
    assert f"+ {NAME}@1" in did(mesh, key, "registry", "apply", str(folder))
    assert did(mesh, key, "registry", "apply", str(folder)) == ""
    text = f"hello {uuid4().hex}"
    for body in ({}, {"stream": True}):
        answer = await prompted(mesh, key, text, **body)
        assert answer.status == 200, answer.raw
        assert answer.headers["x-tollway-prompt"].startswith(f"{NAME}@1;sha256:")
    assert system_of(mesh, text) == ["You sell boats. Never lie."]
    response = {"prompt": {"id": NAME, "version": "1", "variables": {"product": "cars"}}, "input": f"and {text}"}
    answer = await sent(mesh, response, path="/v1/responses", key=key)
    assert answer.status == 200 and system_of(mesh, f"and {text}") == ["You sell cars. Never lie."]
    assert "ledger.CreateKey" in did(mesh, key, "audit", "list"), "administrative calls stand there, too"
    changed = tmp_path / "changed"
    written(changed, "You sell {{ product }} gladly.")
    shown = did(mesh, key, "registry", "apply", str(changed), "--dry-run")
    assert "+      text: You sell {{ product }} gladly." in shown and f"+++ {NAME}@new" in shown, shown
    out = tmp_path / "out"
    did(mesh, key, "registry", "export", str(out))
    assert did(mesh, key, "registry", "apply", str(out)) == "", "what was exported is what is there"


async def test_the_meshs_own_answers_are_shadowed(mesh: Mesh, tmp_path: Path) -> None:
    key = mesh.new_key(f"t{uuid4().hex[:8]}/app")
    did(mesh, key, "registry", "apply", str(written(tmp_path, "one {{ product }}", labels=["production"])))
    did(mesh, key, "shadow", "set", "own", f"--template={NAME}", "--candidate-model=quiet", "--measure=similarity:0.5")
    assert "own" in did(mesh, key, "shadow", "list")
    secret, before = f"ann.{uuid4().hex[:8]}@example.com", len(mesh.provider.asked("quiet"))

    async def as_good() -> bool:
        for stream in (False, True):
            answer = await prompted(mesh, key, f"write to {secret}, {uuid4().hex}", stream=stream)
            assert answer.status == 200, answer.raw
        found = await sent(mesh, path="/tollway/v1/shadows/own", method="GET", key=key)
        return bool(found.json["verdict"] == "better")

    await eventually(as_good, 60)
    assert secret not in str(mesh.provider.requests), "what a shadow asks is masked, too"
    asked = mesh.provider.asked("quiet")[before:]
    assert asked and all(one["messages"][0]["content"] == "one boats" for one in asked)


async def test_what_does_not_fit_is_told_in_openais_words(mesh: Mesh, tmp_path: Path) -> None:
    key = mesh.new_key(f"t{uuid4().hex[:8]}/app")
    missing = await prompted(mesh, key)
    assert (missing.status, missing.code) == (404, "prompt_not_found")
    did(mesh, key, "registry", "apply", str(written(tmp_path, "{{ product }}", labels=["production"])))
    wrong = await sent(mesh, {"prompt": {"id": NAME, "variables": {"produce": 1}}}, key=key)
    assert (wrong.status, wrong.code, wrong.json["error"]["param"]) == (
        400, "invalid_prompt_variables", "prompt.variables",
    )  # fmt: skip
    assert "produce: no such variable" in wrong.json["error"]["message"]
    unknown = await sent(mesh, {"prompt": {"id": NAME, "colour": "red"}}, key=key)
    assert (unknown.status, unknown.json["error"]["param"]) == (400, "prompt.colour")
    bare = await sent(mesh, {"prompt": {"id": "No Good"}}, key=key)
    assert (bare.status, bare.json["error"]["param"]) == (400, "prompt.id")


async def legacy_alone(mesh: Mesh, key: str, count: int) -> None:
    """Another system answers its callers, and hands what it answered to a shadow."""
    for _ in range(count):
        text = f"hello {uuid4().hex}"
        said = {**asking(text, "old"), "answer": f"You said: {text}", "variables": {"product": "boats"}, "took_s": 1.5}
        handed = await sent(mesh, said, path="/tollway/v1/shadows/move/compare", key=key)
        assert handed.status == 202, handed.raw


async def test_from_another_system_to_a_canary_that_fails_and_a_better_one(mesh: Mesh, tmp_path: Path) -> None:
    """Legacy answers alone; a shadow finds the candidate as good; a canary fails and is taken back; a fixed one is promoted."""
    key = mesh.new_key(f"t{uuid4().hex[:8]}/app")
    did(mesh, key, "registry", "apply", str(written(tmp_path, "one {{ product }}")))
    did(
        mesh, key, "shadow", "set", "move", "--legacy", "--share=0.2", f"--candidate-prompt={NAME}@1", "--measure=exact"
    )

    async def as_good() -> bool:
        await legacy_alone(mesh, key, 50)
        found = await sent(mesh, path="/tollway/v1/shadows/move", method="GET", key=key)
        return bool(found.json["verdict"] == "better")

    await eventually(as_good, 90)
    said = mesh.tollway("shadow", "report", "move", f"--key={key}")
    assert said.stdout.startswith("better\n") and "1.50 s" in said.stdout, said
    assert "done" in did(mesh, key, "shadow", "comparisons", "move")
    did(mesh, key, "shadow", "remove", "move")
    did(mesh, key, "registry", "apply", str(written(tmp_path, "one {{ product }}", labels=["production"])))
    did(mesh, key, "registry", "apply", str(written(tmp_path, "two {{ product }}", model="broken-canary")))
    failed: list[Answer] = []
    stop = asyncio.Event()

    async def client(chance: random.Random) -> None:
        while not stop.is_set():
            body: dict[str, Any] = {"user": uuid4().hex, "stream": chance.random() < 0.5}
            answer = await prompted(mesh, key, **body)
            if answer.status != 200 or (body["stream"] and answer.events[-1] != "[DONE]"):
                failed.append(answer)
            await asyncio.sleep(0)

    clients = [asyncio.create_task(client(random.Random(n))) for n in range(4)]
    try:
        did(mesh, key, "registry", "rollout", f"{NAME}@2", "--share=0.1", "--why=try it")

        async def back() -> bool:
            made = await asyncio.to_thread(mesh.tollway, "registry", "status", NAME, f"--key={key}")
            return "moved by rules rolled back" in made.stderr.replace("\n", " ")

        await eventually(back, 60)
        did(mesh, key, "registry", "apply", str(written(tmp_path, "three {{ product }}")))
        ramp = ("--share=0.2", "--ramp=0.6", "--step-s=0", "--step-answers=5", "--promote")
        did(mesh, key, "registry", "rollout", f"{NAME}@3", *ramp)

        async def promoted() -> bool:
            listed = await asyncio.to_thread(mesh.tollway, "registry", "list", f"--key={key}")
            return "production 3" in listed.stdout and "+" not in listed.stdout

        await eventually(promoted, 60)
    finally:
        stop.set()
        await asyncio.gather(*clients)
    assert not failed, (len(failed), failed[0].status, failed[0].raw[:300])

    async def by_the_better_one() -> bool:
        text = f"last {uuid4().hex}"
        await prompted(mesh, key, text)
        return system_of(mesh, text) == ["three boats"]

    await eventually(by_the_better_one)
    log = tmp_path / "audit.jsonl"
    did(mesh, key, "audit", "export", str(log))
    head = did(mesh, key, "audit", "verify").strip()
    actors = [json.loads(json.loads(line)["json"])["actor"] for line in log.read_text().splitlines()]
    assert actors.count("rules") == 3  # taken back, a step, promoted
    assert did(mesh, key, "audit", "verify", str(log), f"--head={head}").strip() == head
    raw = bytearray(log.read_bytes())
    at = raw.index(b"try it")
    raw[at] ^= 1
    log.write_bytes(raw)
    altered = mesh.tollway("audit", "verify", str(log))
    assert altered.returncode == 1 and "was altered" in altered.stderr
    assert "missing at its end" in mesh.tollway("audit", "verify", f"--key={key}", f"--head={'0' * 64}").stderr


async def test_a_person_looks_at_answers_and_corrects_them(tmp_path: Path) -> None:
    rules = "{'*': {share: 0, review: {labels: {stakes=high: hold, stakes=some: after}}}}"
    with provider() as peer, running(peer, TOLLWAY_REGISTRY__RECORDS=rules) as mesh:
        key = mesh.new_key("acme/app")
        secret = f"ann.{uuid4().hex[:8]}@example.com"

        async def decided(decision: str, correction: str = "") -> None:
            async def marked() -> str:
                page = await sent(mesh, path="/tollway/v1/records?review=waiting", method="GET", key=key)
                return str(page.json["data"][0]["id"]) if page.json["data"] else ""

            await eventually(marked)
            record_id = await marked()
            whole = await sent(mesh, path=f"/tollway/v1/records/{record_id}", method="GET", key=key)
            assert secret not in whole.raw.decode() and "[EMAIL_1]" in whole.json["answer"], "masked"
            body = {"decision": decision, "correction": correction, "reason": "because"}
            done = await sent(mesh, body, path=f"/tollway/v1/records/{record_id}/decide", key=key)
            assert done.status == 200 and done.json["review"] == decision, done.raw

        text = f"write to {secret}, {uuid4().hex}"
        for stream in (False, True):
            waiting = asyncio.create_task(sent(mesh, asking(text, metadata={"stakes": "high"}, stream=stream), key=key))
            await decided("corrected", f"No: [EMAIL_1] {stream}")
            answer = await waiting
            assert (answer.streamed if stream else answer.text) == f"No: {secret} {stream}", answer.raw
            text = f"{text} {uuid4().hex}"
        waiting = asyncio.create_task(sent(mesh, asking(text, metadata={"stakes": "high"}), key=key))
        await decided("rejected")
        assert ((await waiting).status, (await waiting).code) == (403, "rejected_by_review")
        other = f"{text} {uuid4().hex}"
        after = await sent(mesh, asking(other, metadata={"stakes": "some"}), key=key)
        assert after.text == f"You said: {other}"
        await decided("approved")
        assert "2 of 2" in (await asyncio.to_thread(mesh.tollway, "eval", "run", "corrections@2", "--model=echo", "--measure=exact", f"--key={key}")).stderr  # fmt: skip

        body = asking()
        first, again = await sent(mesh, body, key=key), await sent(mesh, body, key=key)
        assert again.headers["x-tollway-cache"] == "exact"
        said = {"trace_id": first.headers["x-tollway-trace"], "score": -1, "comment": "no"}
        told = await sent(mesh, said, path="/tollway/v1/feedback", key=key)
        assert told.status == 202 and told.json["stored"] == 1, told.raw
        (kept,) = (await sent(mesh, path="/tollway/v1/feedback?limit=1", method="GET", key=key)).json["data"]
        assert (kept["feedback"]["score"], kept["feedback"]["comment"]) == (-1, "no") and kept["at"] and kept["by"]
        assert (await sent(mesh, body, key=key)).headers["x-tollway-cache"] == "miss", (
            "what was wrong is not served again"
        )


GRADER = """
def polite(case, answer):
    assert case["expected"]
    return 1.0 if "please" in answer else 0.5
"""


async def test_an_evaluation_passes_or_fails_by_its_exit_code(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = mesh.new_key(f"t{uuid4().hex[:8]}/app")
    cases = [
        {"case_id": f"c{n}", "messages": [{"role": "user", "text": f"{text}, please"}], "variables_json": '{"product": "x"}',
         "expected": f"You said: {text}, please"}
        for n, text in enumerate(("one", "two", "three"))
    ]  # fmt: skip
    (tmp_path / "questions.yaml").write_text(json.dumps({"dataset": {"cases": cases}, "labels": ["production"]}))
    did(mesh, key, "registry", "apply", str(written(tmp_path, "sell {{ product }}", labels=["production"])))
    (tmp_path / "graders.py").write_text(GRADER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    arguments = ("eval", "run", "questions", f"--prompt={NAME}", "--measure=exact", f"--key={key}")
    good = await asyncio.to_thread(
        mesh.tollway, *arguments, "--min=exact=1", "--min=python=1", "--grader=graders:polite"
    )
    assert good.returncode == 0 and "3 of 3 judged" in good.stderr, good.stderr
    first = good.stdout.split()[-1]
    (tmp_path / "questions.yaml").unlink()
    bad = await asyncio.to_thread(mesh.tollway, *arguments[:4], "--model=private", *arguments[4:], f"--against={first}")
    assert bad.returncode == 1 and "exact is worse than in" in bad.stderr and "worse by exact: c0" in bad.stderr, bad
    low = await asyncio.to_thread(mesh.tollway, *arguments, "--min=exact=1.5")
    assert low.returncode == 1 and "is under 1.5" in low.stderr
    assert first in did(mesh, key, "eval", "list", "questions")
    assert did(mesh, key, "eval", "show", first).splitlines()[1].split()[:2] == ["exact", "1.000"]
