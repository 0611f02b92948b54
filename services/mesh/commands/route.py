"""`tollway route`: what the router would choose and why, and what another policy would have cost."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import grpc
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape
from tollway.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tollway.router.v1 import router_pb2 as pb
from tollway.router.v1 import router_pb2_grpc

from services.mesh import running
from services.mesh.commands.calling import Key, State, key_of, ran
from services.mesh.screen import err, fail, say, table
from services.router.policies import parsed
from services.runtime.settings import BadSettings

T = TypeVar("T")
RULES = {
    "": pb.POLICY_UNSPECIFIED,
    "cheapest_above": pb.POLICY_CHEAPEST_ABOVE,
    "best_under_price": pb.POLICY_BEST_UNDER_PRICE,
    "fastest": pb.POLICY_FASTEST,
}
NANO = 1_000_000_000

route = typer.Typer(no_args_is_help=True, help="Routing: explain a choice, replay decisions.")


def called(state: Path, work: Callable[[dict[str, grpc.aio.Channel]], Awaitable[T]]) -> T:
    """Does `work` with channels to the encoder and the router of the mesh on `state`."""

    async def run() -> T:
        mesh = running.running(state)
        async with mesh.channel("encoder") as encoder, mesh.channel("router") as router:
            return await work({"encoder": encoder, "router": router})

    return ran(run())


@route.command("check")
def check(files: Annotated[list[Path], typer.Argument(help="Policies, TENANT.yaml.")]) -> None:
    """Reads policies as the router would; names every fault with its place and exits with 1."""
    faulty = False
    for file in files:
        try:
            made = parsed(file)
        except BadSettings as fault:
            err.print(f"[red]✗[/red] {escape(str(fault))}", soft_wrap=True)
            faulty = True
        else:
            err.print(f"[green]✓[/green] {file.stem}: {made.rule}, {len(made.routes)} routes")
    if faulty:
        raise typer.Exit(1)


@route.command("explain")
def explain(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    rule: Annotated[str, typer.Option(help="cheapest_above, best_under_price or fastest; the tenant's own.")] = "",
    tools: Annotated[bool, typer.Option(help="It needs tool calls.")] = False,
    vision: Annotated[bool, typer.Option(help="It needs eyes.")] = False,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the request's metadata; repeatable.")] = None,
    data_class: Annotated[str, typer.Option(help="The guard's word for what it holds.")] = "",
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Tells which route a prompt takes and why not the ones before, ranks the models, and says why each stands where it does or is left out."""
    if rule not in RULES:
        fail(f"--rule {rule}: allowed are {', '.join(filter(None, RULES))}")
    labels = dict(one.split("=", 1) if "=" in one else fail(f"--label {one}: is not NAME=VALUE") for one in label or ())
    metadata = running.bearing(key_of(state, key))
    needs = pb.Needs(tools=tools, vision=vision, input_tokens=len(text.encode()))

    async def ask(channel: dict[str, grpc.aio.Channel]) -> pb.RouteResponse:
        encoder = encoder_pb2_grpc.EncoderServiceStub(channel["encoder"])
        vectors = await encoder.Encode(encoder_pb2.EncodeRequest(texts=[text]), metadata=metadata, timeout=10)
        request = pb.RouteRequest(
            model="auto", text=text[:16384], vector=vectors.vectors[0], needs=needs, policy=RULES[rule],
            metadata=labels, data_class=data_class, explain=True,
        )  # fmt: skip
        return await router_pb2_grpc.RouterServiceStub(channel["router"]).Route(request, metadata=metadata, timeout=10)

    made = called(state, ask)
    say(f"task {made.task}")
    if made.considered:
        table(("route", "why not"), [(one.route, one.why_not or "taken") for one in made.considered])
    rows = [
        (one.model, one.provider, f"{one.quality:.3f}", f"${one.cost_nano_usd / NANO:.6f}", one.reason)
        for one in made.candidates
    ]
    table(("model", "provider", "quality", "cost", "why"), rows + [(one.model, "", "", "", one.reason) for one in made.rejected])  # fmt: skip


@route.command("replay")
def replay(
    rule: Annotated[str, typer.Option(help="cheapest_above, best_under_price, fastest or fixed.")] = "cheapest_above",
    floor: Annotated[float | None, typer.Option(help="Quality floor, 0 to 1; the tenant's own.")] = None,
    max_cost: Annotated[float, typer.Option(help="Dollars an answer; 0 for no ceiling.")] = 0.0,
    model: Annotated[list[str] | None, typer.Option(help="Choose among these alone; repeatable.")] = None,
    days: Annotated[float, typer.Option(help="Decisions of so many days; 0 for all that are kept.")] = 0.0,
    key: Key = "",
    state: State = running.STATE,
) -> None:
    """Shows what another policy would have cost and answered, decision by decision as they were made."""
    metadata = running.bearing(key_of(state, key))
    request = pb.ReplayRequest(
        rule=rule, quality_floor=floor, cost_ceiling_nano_usd=int(max_cost * NANO), models=model or ()
    )
    if days:
        since = Timestamp()
        since.GetCurrentTime()
        since.FromDatetime(since.ToDatetime() - timedelta(days=days))
        request.since.CopyFrom(since)

    async def ask(channel: dict[str, grpc.aio.Channel]) -> pb.ReplayResponse:
        stub = router_pb2_grpc.RouterServiceStub(channel["router"])
        return await stub.Replay(request, metadata=metadata, timeout=120)

    made = called(state, ask)
    if not made.decisions:
        fail("no decisions are logged yet: ask something with --model auto first")
    saved = 1 - made.cost_after_nano_usd / max(made.cost_before_nano_usd, 1)
    table(
        (f"{made.decisions} decisions", "as decided", "replayed"),
        [
            ("predicted cost", *(f"${n / NANO:.6f}" for n in (made.cost_before_nano_usd, made.cost_after_nano_usd))),
            ("predicted quality", f"{made.quality_before:.3f}", f"{made.quality_after:.3f}"),
            *((f"first: {one.model}", str(one.before), str(one.after)) for one in made.shares),
        ],
    )
    outcomes = f"; {made.good_share:.0%} of {made.outcomes} reported outcomes were good" if made.outcomes else ""
    if made.cost_before_nano_usd:
        say(f"{saved:+.1%} saved{outcomes}")
