"""The Helm chart: rendered by the real helm, each object held against Kubernetes' own schemas, and against the services."""

import copy
import importlib
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.mesh.plan import CALLS, PORTS
from services.runtime.channels import Tls
from services.runtime.settings import load

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "tollway"
HELM = ROOT / ".tools" / "bin" / "helm"
KUBERNETES = "1.31.0"
SIZES = ("kind", "small", "large", "road")
SERVICES = ("edge", *PORTS)
EMBEDDED = ("cache", "retrieval")
SECRETS = {
    "database-url": "postgresql://ledger",
    "admin-key": "tw_admin",
    "seal-keys": "sealing",
    "broker": "nats://nats",
    "cache-key": "kept",
}

pytestmark = pytest.mark.skipif(not HELM.exists(), reason="`make tools` builds helm where Go is")


@cache
def rendered(size: str) -> list[dict[str, Any]]:
    command = [str(HELM), "template", "tollway", str(CHART), f"--kube-version={KUBERNETES}"]
    text = subprocess.run(
        [*command, f"--values={CHART / f'values-{size}.yaml'}"], capture_output=True, text=True, check=True
    ).stdout
    return [one for one in yaml.safe_load_all(text) if one]


def of(size: str, kind: str, name: str = "") -> list[dict[str, Any]]:
    return [
        one
        for one in rendered(size)
        if one["kind"] == kind and (not name or one["metadata"]["name"] == f"tollway-{name}")
    ]


@cache
def road(size: str) -> tuple[str, ...]:
    """The services that share a pod."""
    values = yaml.safe_load((CHART / f"values-{size}.yaml").read_text())
    return tuple(values.get("road", {}).get("services", ()))


def home(size: str, name: str) -> str:
    """The pod of a service."""
    return "road" if name in road(size) else name


def deployment(size: str, name: str) -> dict[str, Any]:
    (found,) = of(size, "Deployment", home(size, name))
    return found


def pod(size: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = deployment(size, name)["spec"]["template"]["spec"]
    return found


def container(size: str, name: str) -> dict[str, Any]:
    (made,) = pod(size, name)["containers"]
    found: dict[str, Any] = made
    return found


def port_of(size: str, name: str) -> int:
    """Where its pod says that it listens."""
    called = "http" if name == "edge" else name if name in road(size) else "grpc"
    (found,) = (one["containerPort"] for one in container(size, name)["ports"] if one["name"] == called)
    return int(found)


def settings(size: str, name: str) -> Any:
    """As the pod has them: its settings file, and its environment over it."""
    (config,) = of(size, "ConfigMap", "settings")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(config["data"]["tollway.yaml"])
        file.flush()
        said = {}
        for one in container(size, name)["env"]:
            secret = one.get("valueFrom", {}).get("secretKeyRef", {}).get("key", "")
            said[one["name"]] = one.get("value") or SECRETS.get(secret, "s3cret")
        assert said.pop("TOLLWAY_CONFIG") == "/etc/tollway/tollway.yaml"
        module = importlib.import_module(f"services.{name}.app")
        return load(module.Settings, {**said, "TOLLWAY_CONFIG": file.name}, name)


@pytest.mark.parametrize("size", SIZES)
def test_every_object_is_one_that_kubernetes_knows(size: str) -> None:
    for made in rendered(size):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)


def faults(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same object with a mistake of each sort that people make: a word misspelt, a wrong type, something left out."""
    for spoil in ("misspelt", "mistyped"):
        wrong = copy.deepcopy(made)
        holder = wrong["spec"] if isinstance(wrong.get("spec"), dict) else wrong["metadata"]
        name = next(iter(holder))
        if spoil == "misspelt":
            holder[f"{name}x"] = holder.pop(name)
        else:
            holder[name] = [["neither", "this"]]
        yield wrong


KINDS = ("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PersistentVolumeClaim",
         "PodDisruptionBudget", "Service", "ServiceAccount")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_in_any_kind_of_object_is_caught(kind: str) -> None:
    assert {one["kind"] for one in rendered("large")} == set(KINDS)
    for wrong in faults(of("large", kind)[0]):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_runs_its_service_where_the_chart_says(size: str, name: str) -> None:
    made, found = container(size, name), settings(size, name)
    if together := road(size) if name in road(size) else ():
        assert made["args"] == ["services.mesh", "serve", "--name=road", *together]
    else:
        assert made["args"] == [f"services.{name}"] and (ROOT / "services" / name / "__main__.py").exists()
    where, port = found.listen if name == "edge" else found.serve, port_of(size, name)
    assert where.address == f"0.0.0.0:{port}"
    (service,) = of(size, "Service", name)
    assert service["spec"]["ports"][0]["targetPort"] == port
    assert service["spec"]["selector"] == deployment(size, name)["spec"]["selector"]["matchLabels"]
    assert (service["spec"].get("clusterIP") == "None") == (name != "edge"), "callers balance by themselves"
    asked = port_of(size, "edge") if together else port  # of those that share a pod the one that answers last of all
    for probe in ("startupProbe", "livenessProbe"):
        assert made[probe]["tcpSocket"]["port"] == asked
    secured = size == "large"
    ready = made["readinessProbe"]
    if name == "edge" or together:
        assert ready["httpGet"] == {"path": "/readyz", "port": asked}
    elif secured:
        assert ready["exec"]["command"] == ["tollway", "health", f"localhost:{port}"]
    else:
        assert ready["grpc"]["port"] == port
    if name == "edge":
        assert bool(found.tls) == secured
    elif secured:
        assert where.tls == Tls("/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt") and not where.plain_text
    else:
        assert where.plain_text and not where.tls


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_prometheus_finds_its_metrics_where_they_are_served(size: str, name: str) -> None:
    (config,) = of(size, "ConfigMap", "settings")
    address = yaml.safe_load(config["data"]["tollway.yaml"])["process"].get("metrics_address", "")
    ports = [one["containerPort"] for one in container(size, name)["ports"] if one["name"] == "metrics"]
    assert ports == ([int(address.removeprefix("0.0.0.0:"))] if address else [])
    assert bool(ports) == (size == "large")
    marks = deployment(size, name)["spec"]["template"]["metadata"]["annotations"]
    assert marks.get("prometheus.io/port") == (str(ports[0]) if ports else None)
    for policy in of(size, "NetworkPolicy", home(size, name)):
        opened = [rule for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] in ports]
        assert [rule["from"][0]["namespaceSelector"]["matchLabels"] for rule in opened] == [
            {"kubernetes.io/metadata.name": "monitoring"} for _ in ports
        ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_has_the_time_to_drain(size: str, name: str) -> None:
    found = settings(size, name)
    where = found.listen if name == "edge" else found.serve
    waits = int(container(size, name)["lifecycle"]["preStop"]["exec"]["command"][1])
    lame = where.lame_duck_s if name == "edge" else where.longest_lame_s
    assert pod(size, name)["terminationGracePeriodSeconds"] >= waits + lame + where.drain_s


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_it_calls_its_peers_and_the_network_lets_it(size: str, name: str) -> None:
    found = settings(size, name)
    for peer in CALLS.get(name, ()):
        port = port_of(size, peer)
        assert getattr(found, peer) == f"dns:///tollway-{peer}:{port}"
        if home(size, name) == home(size, peer) == "road":
            continue  # a call of one to the other stays in the process
        if policies := of(size, "NetworkPolicy", home(size, peer)):
            (rule,) = (
                one for one in policies[0]["spec"]["ingress"] if one["ports"] == [{"port": port, "protocol": "TCP"}]
            )
            callers = [
                one["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                for one in rule["from"]
                if "podSelector" in one
            ]
            assert home(size, name) in callers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_it_runs_as_nobody_and_keeps_no_secret(size: str, name: str) -> None:
    made, around = container(size, name), pod(size, name)
    inner = made["securityContext"]
    assert around["securityContext"]["runAsNonRoot"] and around["enableServiceLinks"] is False
    assert inner["readOnlyRootFilesystem"] and inner["capabilities"] == {"drop": ["ALL"]}
    assert not inner["allowPrivilegeEscalation"] and around["automountServiceAccountToken"] is False
    for one in made["env"]:
        secret = (
            any(word in one["name"] for word in ("KEY", "URL", "PASSWORD", "BROKER")) and "_TLS_" not in one["name"]
        )
        assert ("valueFrom" in one) == secret, one["name"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SERVICES)
def test_what_can_have_replicas_has_them(size: str, name: str) -> None:
    """An embedded store is one replica's: it is replaced, not surged; the others are never short of one."""
    found, spec = settings(size, name), deployment(size, name)["spec"]
    embedded = name in EMBEDDED and not str(found.store).startswith("http")
    assert spec["strategy"]["type"] == ("Recreate" if embedded else "RollingUpdate")
    if embedded:
        assert spec["replicas"] == 1 and not of(size, "HorizontalPodAutoscaler", name)
        assert of(size, "PersistentVolumeClaim", name) and str(found.store).removeprefix("edge:").startswith("/state")
    elif size != "kind":
        (scaler,) = of(size, "HorizontalPodAutoscaler", home(size, name))
        assert "replicas" not in spec and 2 <= scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
        assert of(size, "PodDisruptionBudget", home(size, name))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{guard,cash}", "there is no service cash"),
        ("{guard,cache}", "cache keeps its store in its own pod, a single replica: set qdrant.url"),
        ("{guard,retrieval}", "retrieval keeps its store in its own pod"),
    ],
)
def test_what_cannot_share_a_pod_is_refused(said: str, why: str) -> None:
    command = [str(HELM), "template", "tollway", str(CHART), f"--kube-version={KUBERNETES}"]
    done = subprocess.run([*command, f"--set=road.services={said}"], capture_output=True, text=True, check=False)
    assert done.returncode and why in done.stderr
