"""What a platform team's collector gets of calls of models: names and attributes as the GenAI conventions have them, and no more."""

import asyncio
from typing import Any
from uuid import uuid4

from tests.mesh.client import Answer, asking, sent
from tests.mesh.running import Mesh
from tests.peers.collector import Collector
from tests.support.waiting import until

CALL = {
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.request.max_tokens", "server.address",
    "server.port",
}  # fmt: skip
ANSWERED = {
    "gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
}  # fmt: skip
STREAMED = {"gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"}
SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
CLIENT, ERROR = 3, 2


async def traced(mesh: Mesh, spans: Collector, body: Any) -> tuple[Answer, list[Any]]:
    """The answer, and the spans of its trace once they are all there."""
    answer = await sent(mesh, body, headers={"x-tollway-trace": "1"})
    trace = answer.headers["x-tollway-trace"]
    await until(lambda: any(span.name.startswith("edge ") for span in spans.of(trace)))
    await asyncio.sleep(1.0)
    return answer, spans.of(trace)


def of(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def calls(found: list[Any], name: str) -> list[Any]:
    return [span for span in found if span.name == name]


async def test_a_chat(mesh: Mesh, spans: Collector) -> None:
    _, found = await traced(mesh, spans, asking(temperature=0.5, n=2, seed=7, stop=["x"]))
    (call,) = calls(found, "chat echo")
    said = of(call)
    more = {
        "gen_ai.request.temperature",
        "gen_ai.request.choice.count",
        "gen_ai.request.seed",
        "gen_ai.request.stop_sequences",
    }
    assert set(said) == CALL | ANSWERED | more and call.kind == CLIENT
    assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"], said["gen_ai.request.model"]) == (
        "chat",
        "test",
        "echo",
    )
    assert said["server.address"] == "127.0.0.1" and said["server.port"] > 0 and said["gen_ai.usage.input_tokens"] == 10
    assert {one.string_value for one in said["gen_ai.response.finish_reasons"].values} == {"stop"}


async def test_a_stream(mesh: Mesh, spans: Collector) -> None:
    _, found = await traced(mesh, spans, asking(stream=True))
    (call,) = calls(found, "chat echo")
    said = of(call)
    assert set(said) == CALL | ANSWERED | STREAMED and said["gen_ai.request.stream"] is True
    assert said["gen_ai.response.time_to_first_chunk"] > 0


async def test_a_tool_call(mesh: Mesh, spans: Collector) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    _, found = await traced(mesh, spans, asking(model="tools", tools=[tool]))
    (call,) = calls(found, "chat tools")
    said = of(call)
    assert set(said) == CALL | ANSWERED
    assert [one.string_value for one in said["gen_ai.response.finish_reasons"].values] == ["tool_calls"]


async def test_a_cache_hit_is_no_call_of_a_model(mesh: Mesh, spans: Collector) -> None:
    body = asking()
    await sent(mesh, body)
    answer, found = await traced(mesh, spans, body)
    assert answer.headers["x-tollway-cache"] == "exact"
    assert not [span for span in found if span.name.startswith("chat ")]
    (whole,) = [span for span in found if span.name.endswith("GatewayService/Complete")]
    said = of(whole)
    assert said["tollway.cache.hit"] is True
    assert {name for name in said if name.startswith("gen_ai.")} == {"gen_ai.operation.name", "gen_ai.workflow.name"}
    assert (said["gen_ai.operation.name"], said["gen_ai.workflow.name"]) == ("invoke_workflow", "tollway.chat")


async def test_an_error(mesh: Mesh, spans: Collector) -> None:
    answer, found = await traced(mesh, spans, asking(model="broken-traced"))
    assert answer.status == 502
    every = calls(found, "chat broken-traced")
    assert every and all(set(of(span)) == CALL | {"error.type"} and span.status.code == ERROR for span in every)
    assert {of(span)["error.type"] for span in every} == {"PROVIDER_BROKE"}
    (whole,) = [span for span in found if span.name.endswith("GatewayService/Complete")]
    assert of(whole)["error.type"] == "PROVIDER_BROKE"


async def test_what_is_measured(mesh: Mesh, spans: Collector) -> None:
    """Histograms with the conventions' own bounds, and a trace for an example."""
    for body in (asking(), asking(stream=True), asking(model="broken-measured")):
        await sent(mesh, body, headers={"x-tollway-trace": "1"})
    base = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "test", "gen_ai.request.model": "echo"}

    def points(name: str, **more: str) -> list[Any]:
        wanted = {**base, **{key.replace("__", "."): value for key, value in more.items()}}
        return [
            point for (one, attributes), point in list(spans.metrics.spreads.items())
            if one == name and wanted.items() <= dict(attributes).items()
        ]  # fmt: skip

    def failures() -> list[Any]:
        failed = {"gen_ai__request__model": "broken-measured", "error__type": "PROVIDER_BROKE"}
        return points("gen_ai.client.operation.duration", **failed)

    names = ("operation.duration", "token.usage", "operation.time_to_first_chunk", "operation.time_per_output_chunk")
    await until(lambda: all(points(f"gen_ai.client.{name}") for name in names) and failures(), within_s=40)
    duration = points("gen_ai.client.operation.duration")[0]
    assert list(duration.explicit_bounds) == SECONDS and duration.count == sum(duration.bucket_counts) > 0
    assert duration.exemplars and len(duration.exemplars[0].trace_id) == 16
    for kind in ("input", "output"):
        (tokens,) = points("gen_ai.client.token.usage", gen_ai__token__type=kind, gen_ai__response__model="echo")
        assert list(tokens.explicit_bounds)[:3] == [1, 4, 16] and tokens.sum > 0
    flows = [dict(attributes) for name, attributes in spans.metrics.spreads if name == "gen_ai.workflow.duration"]
    assert {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "tollway.chat"} in flows


async def test_a_search_and_its_embeddings(mesh: Mesh, spans: Collector) -> None:
    body = asking(f"what of {uuid4().hex}?", tollway={"grounding": {"collection": "handbook"}})
    _, found = await traced(mesh, spans, body)
    (search,) = calls(found, "retrieval handbook")
    assert of(search) == {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "handbook"}
