"""What a routing decision costs in process: `python -m benchmarks.router_speed`.

A decision is the whole `Route`: features, prediction, ranking of six models, the answer's message. Prompts of about 35
tokens, all different.
"""

import argparse
import time
from typing import Any

import uvloop
from tollway.encoder.v1 import encoder_pb2
from tollway.router.v1 import router_pb2 as pb

from benchmarks import prompts, report
from services.encoder.app import tokenizer
from services.encoder.static import MODEL, StaticEncoder
from services.router.catalogue import Catalogue
from services.router.predictor import Predictor
from services.router.ranking import Model
from services.router.service import RouterService
from services.runtime import identity
from services.runtime.identity import Caller

CALLER = Caller("acme", "acme/app", "k", False, (), time.time() + 3600, "")
MODELS = {
    f"m{n}": Model(f"m{n}", "p", f"m{n}", 128_000, 4096, True, True, True, n / 5, 10 ** (n + 4), 10 ** (n + 4))
    for n in range(6)
}


async def main(number: int) -> None:
    identity.hold(CALLER)
    service = RouterService(Catalogue(None, None, known=MODELS), Predictor(), {})  # type: ignore[arg-type]
    encoder, texts = StaticEncoder(tokenizer()), prompts.made(number + 500)
    alone, whole = [], []
    for n, text in enumerate(report.progress(texts, "decisions")):
        began = time.perf_counter()
        vector = encoder.encode(text)
        encoded = time.perf_counter()
        request = pb.RouteRequest(
            model="auto", text=text, vector=encoder_pb2.Vector(model=MODEL, values=vector.tobytes())
        )
        await service.Route(request, None)
        ended = time.perf_counter()
        if n >= 500:
            alone.append(ended - encoded)
            whole.append(ended - began)
    p50, p99 = report.percentiles(alone)
    with50, with99 = report.percentiles(whole)
    facts: dict[str, Any] = {
        "p50_us": p50 * 1e6, "p99_us": p99 * 1e6, "decisions_per_second": len(alone) / sum(alone),
        "with_encoding_p50_us": with50 * 1e6, "with_encoding_p99_us": with99 * 1e6,
    }  # fmt: skip
    report.table("one decision", ("measure", "value"), list(facts.items()))
    report.finish(facts)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--decisions", type=int, default=20_000)
    uvloop.run(main(asked.parse_args().decisions))
