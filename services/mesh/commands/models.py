"""`tollway models`: the models there are, what they cost and how they fare."""

from pathlib import Path

from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from tollway.models.v1 import models_pb2 as pb
from tollway.models.v1 import models_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import State, ran
from services.mesh.screen import fail, table

NANO = 1_000_000_000
WITHIN_S = 10.0


def models(state: State = running.STATE) -> None:
    """Lists the models with their prices, in dollars for a million tokens, and their health."""
    listed, healths, prices = ran(_read(state))
    if not listed:
        fail("there is no model: name one with `tollway up --model NAME=PROVIDER:MODEL`")
    rows = []
    for one in listed:
        price, health = prices.get(one.name), healths.get(one.name, pb.Health(available=True))
        cost = "unknown"
        if price is not None and price.known:
            cost = " / ".join(
                f"${n / NANO:.2f}" for n in (price.input_nano_usd_per_million, price.output_nano_usd_per_million)
            )
            if price.nano_usd_per_hour:
                cost += f" + ${price.nano_usd_per_hour / NANO:.2f}/h"
            if price.nano_usd_per_call:
                cost += f" + ${price.nano_usd_per_call / NANO:.4g}/call"
            if one.web_search:
                cost += f" + ${price.nano_usd_per_web_search / NANO:.4g}/search"
        took = health.latency.ToMilliseconds()
        rows.append(
            (
                one.name,
                f"{one.provider}:{one.provider_model}",
                one.wire,
                ", ".join(one.regions),
                cost,
                "well" if health.available else "resting",
                f"{health.error_rate:.0%}",
                f"{took} ms" if took else "",
                f"{health.saturation:.0%}",
            )
        )
    table(("name", "model", "wire", "regions", "price in / out", "state", "errors", "first piece", "load"), rows)


async def _read(
    state: Path,
) -> tuple[list[pb.Model], dict[str, pb.Health], dict[str, ledger_pb2.ModelPrice]]:
    mesh = running.running(state)
    metadata = running.bearing(running.admin_key(state))
    async with mesh.channel("models") as channel, mesh.channel("ledger") as other:
        stub = models_pb2_grpc.ModelsServiceStub(channel)
        listed = list((await stub.ListModels(pb.ListModelsRequest(), timeout=WITHIN_S)).models)
        if not listed:
            return [], {}, {}
        watch = stub.Watch(pb.WatchRequest(), timeout=WITHIN_S)
        told = await watch.read()
        watch.cancel()
        asked = [
            ledger_pb2.PricedModel(model=one.name, provider=one.provider, provider_model=one.provider_model)
            for one in listed
        ]
        priced = await ledger_pb2_grpc.LedgerServiceStub(other).ListPrices(
            ledger_pb2.ListPricesRequest(models=asked), metadata=metadata, timeout=WITHIN_S
        )
    healths = {one.model: one for one in told.models} if isinstance(told, pb.WatchResponse) else {}
    return listed, healths, {one.model: one for one in priced.prices}
