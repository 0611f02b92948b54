"""What one call costs over each transport: CPU and time of client and server together, in one process and one run.

The call is a real one: `LedgerService.ListPrices` with a token, validation, statuses and counting on, about 200 bytes
each way. Rounds alternate between the transports, so that a noisy machine disturbs all alike; medians are reported.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from typing import Any

import uvloop
from tollway.ledger.v1 import ledger_pb2 as pb
from tollway.ledger.v1 import ledger_pb2_grpc

from benchmarks import report
from services.ledger.client_secrets import MemoryClientSecrets
from services.ledger.keys import Signer
from services.ledger.memory import MemoryStore
from services.ledger.oidc import Issuers
from services.ledger.people import MemoryPeople
from services.ledger.prices import PriceBook
from services.ledger.replica import Replica
from services.ledger.service import LedgerService
from services.runtime import channels
from services.runtime.server import Service, Serving, serving

ASKED = pb.ListPricesRequest(models=[pb.PricedModel(model="unpriced", provider="nobody", provider_model="m" * 100)])


class Quick(LedgerService):
    """Answers at once: what is measured is the way there and back."""

    async def ListPrices(self, request: pb.ListPricesRequest, context: object) -> pb.ListPricesResponse:
        return pb.ListPricesResponse(prices=[pb.ModelPrice(model=request.models[0].provider_model, known=True)])


async def rounds(stubs: dict[str, Any], number: int, calls: int) -> dict[str, dict[str, list[float]]]:
    seen: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in stubs}
    for n in report.progress(range(number), "rounds"):
        for name, stub in stubs.items():
            many = calls if name == "inproc" else calls // 10
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(many):
                await stub.ListPrices(ASKED)
            if n:  # the first round warms up
                seen[name]["cpu"].append((time.process_time() - cpu) / many * 1e6)
                seen[name]["wall"].append((time.perf_counter() - wall) / many * 1e6)
    return seen


async def main(number: int, calls: int) -> None:
    store = MemoryStore()
    service = Quick(
        store, Replica(store), Signer(), PriceBook({}), b"secret", MemoryPeople(), Issuers({}), MemoryClientSecrets()
    )
    register = partial(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, service)
    served = Service("tollway.ledger.v1.LedgerService", "ledger.tollway", register)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        async with (
            serving(served, Serving(f"unix:{folder}/s", lame_duck_s=0), inproc="hops"),
            serving(served, Serving("127.0.0.1:0", lame_duck_s=0)) as tcp,
            channels.open("inproc:hops") as inproc_channel,
            channels.open(f"unix:{folder}/s") as unix_channel,
            channels.open(tcp) as tcp_channel,
        ):
            named = {"inproc": inproc_channel, "unix": unix_channel, "tcp": tcp_channel}
            stubs = {name: ledger_pb2_grpc.LedgerServiceStub(channel) for name, channel in named.items()}
            seen = await rounds(stubs, number, calls)
    cpu = {name: statistics.median(one["cpu"]) for name, one in seen.items()}
    wall = {name: statistics.median(one["wall"]) for name, one in seen.items()}
    rows = [(name, cpu[name], wall[name], cpu[name] / cpu["inproc"]) for name in seen]
    report.table("one call, client and server together", ("transport", "CPU us", "us", "times in process"), rows)
    report.finish(
        {
            **{f"{name}_us": value for name, value in cpu.items()},
            **{f"{name}_wall_us": value for name, value in wall.items()},
            "inproc_vs_unix_speedup": cpu["unix"] / cpu["inproc"],
        }
    )


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=12)
    asked.add_argument("--calls", type=int, default=3000, help="a round in process; a tenth of it over sockets")
    args = asked.parse_args()
    uvloop.run(main(args.rounds, args.calls))
