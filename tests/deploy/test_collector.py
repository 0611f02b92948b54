"""A real OpenTelemetry Collector under deploy/collector.yaml receives what the split mesh sends: traces, metrics and logs."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.mesh.plan import TIERS
from tests.mesh.client import asking, sent
from tests.mesh.running import free_row, running
from tests.peers.provider import provider
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
COLLECTOR = ROOT / ".tools" / "bin" / "otelcol"
CONFIG = ROOT / "deploy" / "collector.yaml"
ROAD = {f"tollway-{name}" for tier in TIERS for name in tier} - {
    "tollway-retrieval",
    "tollway-jobs",
    "tollway-registry",
    "tollway-tools",
}
REQUESTS = 20

pytestmark = pytest.mark.skipif(not COLLECTOR.exists(), reason="`make tools` builds a collector where Go is")


def test_the_configuration_is_one_that_the_collector_takes() -> None:
    said = subprocess.run(
        [str(COLLECTOR), "validate", f"--config={CONFIG}"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr


@contextmanager
def collecting(log: Path) -> Iterator[str]:
    """Runs the collector as it is deployed, but for its addresses and for how much it tells of what it gets."""
    port = free_row(2)
    changed = {
        "receivers.otlp.protocols.grpc.endpoint": f"127.0.0.1:{port}",
        "exporters.debug.verbosity": "detailed",
        "exporters.otlphttp/prometheus.endpoint": f"http://127.0.0.1:{port + 1}",
        "service.pipelines.metrics.exporters": "[debug]",
    }
    command = [str(COLLECTOR), f"--config={CONFIG}", *(f"--set={name}={value}" for name, value in changed.items())]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def spans(text: str) -> dict[str, dict[str, set[str]]]:
    """By trace: the names of its spans by service, as the collector tells them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    service = trace = ""
    for line in text.splitlines():
        if match := re.search(r"service\.name: Str\((.*?)\)", line):
            service = match[1]
        elif match := re.search(r"^    Trace ID +: ([0-9a-f]{32})", line):
            trace = match[1]
        elif (match := re.search(r"^    Name +: (.*)", line)) and trace:
            found[trace][service].add(match[1])
    return found


@pytest.mark.timeout(180)
async def test_one_trace_across_the_processes_and_no_span_is_lost_on_shutdown(tmp_path: Path) -> None:
    log = tmp_path / "collector.log"
    with collecting(log) as endpoint, provider() as peer:
        await until(lambda: "Everything is ready" in log.read_text())
        how = {"TOLLWAY_PROCESS__OTLP_ENDPOINT": endpoint, "TOLLWAY_EDGE__TRACING__SHARE": "1"}
        with running(peer, "--split", **how) as mesh:
            answers = [await sent(mesh, asking(stream=n % 2 == 0)) for n in range(REQUESTS)]
        assert [one.status for one in answers] == [200] * REQUESTS
    text = log.read_text()
    found = spans(text)
    for answer in answers:
        services = found[answer.headers["x-tollway-trace"]]
        assert set(services) == ROAD, answer.headers["x-tollway-trace"]
        for rpc in (
            "ledger.v1.LedgerService/Settle",
            "cache.v1.CacheService/Store",
        ):  # what comes after the answer, too
            service = f"tollway-{rpc.partition('.')[0]}"
            assert any(name.endswith(rpc) for name in services[service]), (rpc, services[service])
    assert "Name: tollway.rpc.server.calls" in text
    assert re.search(r"Body: Str\(tollway\.guard\.v1\.GuardService serves on unix:", text)
    assert "You said" not in text, "no prompt and no answer is in any signal"
