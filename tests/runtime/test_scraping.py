"""Metrics for a Prometheus that comes for them."""

import socket
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.mesh.apart import in_row
from services.mesh.groups import groups
from services.mesh.plan import Plan
from services.runtime import metrics
from services.runtime.server import Process
from services.runtime.settings import BadSettings
from tests.mesh.running import free_row

Samples = dict[tuple[str, str], float]


def scraped(address: str) -> Samples:
    """By name and the values of its labels, without the service's."""
    with urlopen(f"http://{address}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert {one.labels["service_name"] for family in families for one in family.samples if "wait" in one.name} == {
        "tollway-tests"
    }
    return {
        (one.name, " ".join(value for name, value in one.labels.items() if name != "service_name")): one.value
        for family in families
        for one in family.samples
    }


def test_what_is_counted_measured_and_read_has_the_names_of_otlp() -> None:
    counted = metrics.Counted("test.waited", "USD", "What waiting cost.", ("by",))
    measured = metrics.Distribution("test.wait.duration", "s", "How long.", (0.1, 1.0), ("by",))
    address = f"127.0.0.1:{free_row(1)}"
    with Process(metrics_address=address).observed("tollway-tests"):
        metrics.gauge("test.wait.share", "1", "A part.", lambda: [(0.5, {"by": "ada"})])
        counted.add(2.5, "ada")
        measured.add(0.05, "ada")
        measured.add(5.0, "ada")
        found = scraped(address)
        assert found["test_waited_USD_total", "ada"] == 2.5
        assert found["test_wait_share_ratio", "ada"] == 0.5
        buckets = {
            labels: value for (name, labels), value in found.items() if name == "test_wait_duration_seconds_bucket"
        }
        assert buckets == {"ada 0.1": 1, "ada 1.0": 1, "ada +Inf": 2}
        assert found["test_wait_duration_seconds_sum", "ada"] == 5.05
        assert found["process_resident_memory_bytes", ""] > 0
        counted.add(1.0, "ada")
        metrics.Counted("test.waited.late", "USD", "Of what came in later.", ("by",)).add(4.0, "ada")
        found = scraped(address)
        assert (found["test_waited_USD_total", "ada"], found["test_waited_late_USD_total", "ada"]) == (3.5, 4.0)
    with pytest.raises(OSError):
        scraped(address)


@pytest.mark.parametrize("address", ["nine", "127.0.0.1:http", "127.0.0.1:99999", "127.0.0.1:{taken}"])
def test_an_address_that_cannot_be_served_is_a_fault_of_the_settings(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        process = Process(metrics_address=address.format(taken=holder.getsockname()[1]))
        with pytest.raises(BadSettings, match="metrics_address"), process.observed("tollway-tests"):
            pytest.fail("it served")


def test_services_in_processes_of_their_own_have_one_each() -> None:
    place = {one.name: one.place for tier in groups(Plan(Path()), {}) for one in tier}
    assert [in_row("0.0.0.0:9464", place[name]) for name in ("guard", "registry", "tools", "edge")] == [
        "0.0.0.0:9464",
        "0.0.0.0:9473",
        "0.0.0.0:9474",
        "0.0.0.0:9475",
    ]
    with pytest.raises(BadSettings):
        in_row("9464 or so", 0)
