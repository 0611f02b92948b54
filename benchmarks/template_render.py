"""What a prompt from a template costs in process: `python -m benchmarks.template_render`.

`render` is the template alone: 8 variables, a loop over 5 items, an include, two examples. `resolve` is the registry's whole `Resolve`: reference, label,
version, variables, rendering, settings of a configuration, the answer's message. Jinja2's sandbox renders the same texts beside it.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from typing import Any

import uvloop
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tollway.registry.v1 import registry_pb2 as pb

from benchmarks import report
from services.registry import versions
from services.registry.memory import MemoryStore
from services.registry.outcomes import Outcomes
from services.registry.promoting import Approvals
from services.registry.rendering import Compiled
from services.registry.service import RegistryService
from services.registry.shelf import Shelf
from services.registry.versions import Actor, Label, Version
from services.runtime import identity
from services.runtime.identity import Caller

TENANT, ME = "acme", Actor("key", "acme/app")
NAMES = ("company", "product", "tone", "customer", "plan", "city", "question")
RULE = "Never promise a refund. Never name a colleague."
SYSTEM = """You work for {{ company }} and help with {{ product }} in a {{ tone }} tone.
The customer is {{ customer }} of {{ city }}, on plan {{ plan }}.
{% for one in orders %}- order {{ one.id }}: {{ one.state }}
{% endfor %}"""
SHOTS = (
    {"user": "Where is my order?", "assistant": "Let me look that up."},
    {"user": "Hello", "assistant": "Good day."},
)
VALUES: dict[str, Any] = {
    **{name: f"the {name} of this request" for name in NAMES},
    "orders": [{"id": n, "state": "sent"} for n in range(5)],
}


def version(name: str, content: dict[str, Any], **more: Any) -> Version:
    return Version(TENANT, name, 0, next(iter(content)), content, ME, datetime.now(UTC), **more)


def template() -> dict[str, Any]:
    variables = [{"name": name} for name in NAMES] + [{"name": "orders", "type": "list"}]
    turns = [
        {"text": {"role": "system", "text": SYSTEM + '{% include "rule" %}'}},
        {"shots": {"shots": list(SHOTS)}},
        {"text": {"role": "user", "text": "{{ question }}"}},
    ]
    return {"template": {"variables": variables, "turns": turns, "configuration": "fast"}}


async def main(number: int) -> None:
    store = MemoryStore()
    rule, _ = await store.propose(version("rule", {"snippet": {"text": RULE}}))
    await store.propose(version("fast", {"configuration": {"model": "auto", "temperature": 0.2}}))
    made, _ = await store.propose(version("answer", template(), includes={"rule": rule.digest}))
    for name in ("fast", "answer"):
        await store.move(Label(TENANT, name, versions.DEFAULT_LABEL, 1, 0, None, ME, datetime.now(UTC)))
    compiled, sandbox = Compiled(made, {rule.digest: rule}), ImmutableSandboxedEnvironment()
    texts = [
        sandbox.from_string(one)
        for one in (SYSTEM + RULE, *(text for shot in SHOTS for text in shot.values()), "{{ question }}")
    ]
    identity.hold(Caller(TENANT, ME.account, ME.key_id, False, (), time.time() + 3600, ""))
    service = RegistryService(store, Shelf(store), Outcomes(store), Approvals({}), None, None, None, None, None)  # type: ignore[arg-type]
    request = pb.ResolveRequest(reference="answer", variables_json=json.dumps(VALUES))
    took: dict[str, list[float]] = {"render": [], "resolve": [], "jinja2": []}
    for _ in report.progress(range(number), "prompts"):
        at = [time.perf_counter()]
        turns = compiled.render(VALUES)
        at.append(time.perf_counter())
        await service.Resolve(request, None)
        at.append(time.perf_counter())
        peers = [one.render(VALUES) for one in texts]
        at.append(time.perf_counter())
        for name, began, ended in zip(took, at, at[1:], strict=False):
            took[name].append(ended - began)
    assert [turn.text for turn in turns] == peers
    facts: dict[str, Any] = {}
    for name, samples in took.items():
        p50, p99 = report.percentiles(samples)
        facts |= {f"{name}_p50_us": p50 * 1e6, f"{name}_p99_us": p99 * 1e6}
    facts["speedup_vs_jinja2"] = facts["jinja2_p50_us"] / facts["render_p50_us"]
    report.table("one prompt", ("measure", "value"), list(facts.items()))
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--prompts", type=int, default=5000)
    uvloop.run(main(asked.parse_args().prompts))
