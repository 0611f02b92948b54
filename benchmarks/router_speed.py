"""What a routing decision costs in process: `python -m benchmarks.router_speed`.

A decision is the whole `Route`: features, prediction, ranking of six models, the answer's message. Prompts of about 35
tokens, all different. Then the same for a tenant with ten routes, by words, patterns and labels, none of which holds; and
for one with a route by subject, MiniLM's vector included.
"""

import argparse
import time
from typing import Any

import uvloop
from tollway.encoder.v1 import encoder_pb2
from tollway.router.v1 import router_pb2 as pb

from benchmarks import prompts, report
from benchmarks.local_encoder import LocalEncoder
from services.encoder.app import tokenizer
from services.encoder.static import MODEL, StaticEncoder
from services.router.catalogue import Catalogue
from services.router.meaning import Meaning
from services.router.policies import Policies
from services.router.policy import Policy, Route
from services.router.predictor import Predictor
from services.router.ranking import Model
from services.router.service import RouterService
from services.router.when import When
from services.runtime import identity
from services.runtime.identity import Caller

PLAIN = [
    *(Route(f"words-{n}", When(words=tuple(f"w{n}{m}" for m in range(20)))) for n in range(4)),
    *(Route(f"patterns-{n}", When(patterns=(rf"TICKET-{n}\d+",))) for n in range(3)),
    *(Route(f"labels-{n}", When(metadata={"tier": (f"t{n}",)})) for n in range(3)),
]
"""Ten routes, of which none holds."""
POLICIES = {"routed": Policy(routes=tuple(PLAIN)), "about": Policy(routes=(Route("law", When(subjects=("law",))),))}
WARM = 500
"""Decisions that are not counted."""
FEWER = 20
"""A transformer is so much dearer."""
MODELS = {
    f"m{n}": Model(f"m{n}", "p", f"m{n}", 128_000, 4096, True, True, True, n / 5, 10 ** (n + 4), 10 ** (n + 4))
    for n in range(6)
}


def caller(tenant: str) -> Caller:
    return Caller(tenant, f"{tenant}/app", "k", False, (), time.time() + 3600, "")


async def decided(tenant: str, number: int) -> tuple[list[float], list[float]]:
    """Seconds of each decision, without and with encoding."""
    identity.hold(caller(tenant))
    meaning = Meaning(LocalEncoder(1))  # type: ignore[arg-type]
    service = RouterService(Catalogue(None, None, known=MODELS), Predictor(), Policies(POLICIES), None, meaning)  # type: ignore[arg-type]
    encoder, texts = StaticEncoder(tokenizer()), prompts.made(number + WARM)
    alone, whole = [], []
    for n, text in enumerate(report.progress(texts, f"decisions, {tenant}")):
        began = time.perf_counter()
        vector = encoder.encode(text)
        encoded = time.perf_counter()
        request = pb.RouteRequest(
            model="auto", text=text, vector=encoder_pb2.Vector(model=MODEL, values=vector.tobytes())
        )
        await service.Route(request, None)
        ended = time.perf_counter()
        if n >= WARM:
            alone.append(ended - encoded)
            whole.append(ended - began)
    return alone, whole


async def main(number: int) -> None:
    alone, whole = await decided("acme", number)
    routed, about = (await decided("routed", number))[0], (await decided("about", number // FEWER))[0]
    p50, p99 = report.percentiles(alone)
    with50, with99 = report.percentiles(whole)
    facts: dict[str, Any] = {
        "p50_us": p50 * 1e6, "p99_us": p99 * 1e6, "decisions_per_second": len(alone) / sum(alone),
        "with_encoding_p50_us": with50 * 1e6, "with_encoding_p99_us": with99 * 1e6,
        "ten_routes_p50_us": report.percentiles(routed)[0] * 1e6, "by_subject_p50_us": report.percentiles(about)[0] * 1e6,
    }  # fmt: skip
    report.table("one decision", ("measure", "value"), list(facts.items()))
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--decisions", type=int, default=20_000)
    uvloop.run(main(asked.parse_args().decisions))
