"""Envoy AI Gateway: its manifests, as its API has them (aigateway.envoyproxy.io/docs/api), many in one file.

Models stand in the rules of its routes, by the header that it makes of a request's model; where they are and what they are shown
stands in resources of their own. Secrets are never read: their places are taken by variables.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from services.mesh.adopting.settings import (
    ELSEWHERE,
    ENTRA_INSTEAD,
    NOTHING,
    WEIGHTS,
    Adopted,
    BadFile,
    name_of,
    of_yaml,
    usual_key,
)
from services.models.presets import PRESETS

MODEL = "x-ai-eg-model"
"""The header that tells the model which a request asks for."""
ROUTE, MCP = "AIGatewayRoute", "MCPRoute"
SCHEMAS = {
    "Anthropic": "anthropic",
    "AWSAnthropic": "bedrock",
    "AWSBedrock": "bedrock",
    "AzureOpenAI": "azure",
    "Cohere": "cohere",
    "GCPAnthropic": "vertex",
    "GCPVertexAI": "vertex",
    "OpenAI": "openai",
}
BEDROCK = re.compile(r"bedrock-runtime\.([a-z0-9-]+)\.amazonaws\.com")
SUBSTITUTION = "substitution.aigw.run/env/apiKey"
"""The annotation by which its command line names a variable for a secret."""
HTTPS = 443
READ = ("AIServiceBackend", "Backend", "BackendSecurityPolicy", "BackendTLSPolicy", "Secret", ROUTE, MCP)
INSTEAD = {
    "BackendTrafficPolicy": "limits: `tollway budgets set ACCOUNT Ntokens --per minute --model NAME`; retries come out of a budget",
    "ClientTrafficPolicy": "`edge.largest_body_bytes`, `edge.listen`",
    "EnvoyProxy": "`process.otlp_endpoint` sends traces and metrics to any OpenTelemetry collector",
    "GatewayConfig": "`edge.listen`, `process`",
    "Gateway": "`edge.listen.address`; Envoy may stay in front: docs/switching.md",
    "InferencePool": "an address of the pool as a deployment: the less busy of a model's deployments is asked",
    "QuotaPolicy": "`tollway budgets set ACCOUNT Ntokens --per minute --model NAME`",
    "SecurityPolicy": "`tollway keys create ACCOUNT`, or an identity provider: docs/security.md",
    "llmRequestCosts": "every request's tokens and cost are in the ledger: `tollway usage show`",
    "timeouts": "`edge.deadline_s`, and `first_byte_s` of a model",
    "streamIdleTimeout": "`first_byte_s` of a model",
}
SILENT = (
    "GatewayClass",
    "HTTPRouteFilter",
    "ReferenceGrant",
    "Namespace",
    "Deployment",
    "Service",
    "ConfigMap",
    "ServiceAccount",
)
"""Of the cluster's own, or of no use here."""
ROUTED = frozenset(("parentRefs", "targetRefs", "schema", "rules", "hostnames"))
RULED = frozenset(("matches", "backendRefs", "modelsOwnedBy", "modelsCreatedAt"))
SECRETS = {"APIKey": "apiKey", "AnthropicAPIKey": "anthropicAPIKey", "AzureAPIKey": "azureAPIKey"}

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """All manifests of the file."""

    manifests: list[Manifest]

    def of(self, kind: str) -> Iterator[Manifest]:
        return (one for one in self.manifests if one.get("kind") == kind)

    def named(self, kind: str, name: str) -> Manifest:
        """Its spec; empty where there is none."""
        return next((_spec(one) for one in self.of(kind) if _name(one) == name), {})

    def address(self, backend: str) -> tuple[str, int]:
        """Host and port of a `Backend`; '' where the file does not say."""
        for one in self.named("Backend", backend).get("endpoints") or ():
            place = one.get("fqdn") or one.get("ip") or {}
            return str(place.get("hostname") or place.get("address") or ""), int(place.get("port") or 80)
        return "", 0

    def url(self, backend: str) -> str:
        """Where it is found, without a path."""
        host, port = self.address(backend)
        if not host:
            return ""
        safe = port == HTTPS or any(
            ref.get("name") == backend
            for one in self.of("BackendTLSPolicy")
            for ref in _spec(one).get("targetRefs") or ()
        )
        usual = HTTPS if safe else 80
        return f"http{'s' if safe else ''}://{host}" + ("" if port == usual else f":{port}")

    def security(self, backend: str) -> Manifest:
        """What an `AIServiceBackend` shows its provider."""
        older = self.named("AIServiceBackend", backend).get("backendSecurityPolicyRef") or {}
        for one in self.of("BackendSecurityPolicy"):
            targets = [ref.get("name") for ref in _spec(one).get("targetRefs") or ()]
            if backend in targets or (older and _name(one) == older.get("name")):
                return _spec(one)
        return {}

    def variable(self, secret: str) -> str:
        """The variable that stands for a secret."""
        for one in self.of("Secret"):
            if _name(one) == secret:
                told = (one.get("metadata", {}).get("annotations") or {}).get(SUBSTITUTION)
                if told:
                    return str(told)
        return re.sub(r"[^A-Z0-9]+", "_", secret.upper()).strip("_")


def adopted(text: str) -> Adopted:
    """
    Raises:
        BadFile
    """
    found = [one for one in of_yaml(text, lambda said: list(yaml.safe_load_all(said))) if one is not None]
    cluster = Cluster([each for one in found if isinstance(one, dict) for each in (one.get("items") or [one])])
    if not any(True for kind in (ROUTE, MCP) for _ in cluster.of(kind)):
        raise BadFile(f"it has neither {ROUTE} nor {MCP}: are these manifests of Envoy AI Gateway?")
    made = Adopted()
    for route in cluster.of(ROUTE):
        _route(made, cluster, _name(route), _spec(route))
    for route in cluster.of(MCP):
        _servers(made, cluster, _name(route), _spec(route))
    for one in cluster.manifests:
        if (kind := str(one.get("kind"))) not in (*READ, *SILENT):
            made.leave(f"{kind} {_name(one)}", INSTEAD.get(kind, NOTHING))
    return made


def _route(made: Adopted, cluster: Cluster, name: str, spec: Manifest) -> None:
    for key in [key for key in spec if key not in ROUTED]:
        made.leave(f"{ROUTE} {name}: {key}", INSTEAD.get(key, NOTHING))
    for n, rule in enumerate(spec.get("rules") or ()):
        where = f"{ROUTE} {name}: rules[{n}]"
        for key in [key for key in rule if key not in RULED]:
            made.leave(f"{where}.{key}", INSTEAD.get(key, NOTHING))
        refs = sorted(rule.get("backendRefs") or (), key=lambda one: int(one.get("priority") or 0))
        for model in _models(made, where, rule.get("matches") or ()):
            _model(made, cluster, where, model, refs)


def _models(made: Adopted, where: str, matches: Sequence[Manifest]) -> list[str]:
    """The models that a rule is for."""
    names = list[str]()
    for match in matches:
        headers = match.get("headers") or []
        exact = [one for one in headers if one.get("type", "Exact") == "Exact"]
        model = next((str(one["value"]) for one in exact if str(one.get("name")).lower() == MODEL), "")
        if not model or len(headers) > 1:
            told = ", ".join(str(one.get("name")) for one in headers) or "everything"
            made.leave(
                f"{where}: {told}",
                "`router.policies.TENANT.routes` look at labels, which callers set by `x-tollway-labels`",
            )
        if model:
            names.append(model)
    if not matches:
        made.leave(where, "it is for every model: name each under `models.catalogue`")
    return list(dict.fromkeys(names))


def _model(made: Adopted, cluster: Cluster, where: str, model: str, refs: list[Manifest]) -> None:
    """Places of one provider are deployments of one model; what another provider has answers when they cannot."""
    first = name_of(model)
    if len({one.get("weight") for one in refs}) > 1:
        made.leave(f"{where}.backendRefs", WEIGHTS)
    for one in refs:
        backend, at = str(one.get("name")), f"{where}: {one.get('name')}"
        if one.get("kind") == "InferencePool":
            made.leave(at, INSTEAD["InferencePool"])
            continue
        spec = cluster.named("AIServiceBackend", backend)
        schema = spec.get("schema") or {}
        if str(schema.get("name")) not in SCHEMAS:
            made.leave(at, "the file has no AIServiceBackend of that name, or none whose schema is spoken here")
            continue
        for key in [key for key in ("headerMutation", "bodyMutation") if one.get(key) or spec.get(key)]:
            made.leave(f"{at}.{key}", "a provider gets what its wire says; `defaults` of a model set how it is asked")
        provider, place = _place(made, cluster, at, backend, schema, spec)
        named = str(one.get("modelNameOverride") or model)
        name = first
        if first in made.catalogue and made.catalogue[first]["provider"] != provider:
            name = f"{first}@{provider}"
            made.follow(first, [name])
        entry = made.catalogue.setdefault(name, {"provider": provider, "model": named, "deployments": []})
        if provider == "azure" and schema.get("version"):
            entry["api_version"] = str(schema["version"])
        if (there := {"model": named, **place}) not in entry["deployments"]:
            entry["deployments"].append(there)


def _place(
    made: Adopted, cluster: Cluster, at: str, backend: str, schema: Manifest, spec: Manifest
) -> tuple[str, dict[str, Any]]:
    """Whose it is, and where and with what it is asked."""
    where = str((spec.get("backendRef") or {}).get("name"))
    host, url, shown = cluster.address(where)[0], cluster.url(where), cluster.security(backend)
    provider, place = SCHEMAS[str(schema["name"])], dict[str, Any]()
    if provider == "openai":
        prefix = str(schema.get("prefix") if schema.get("prefix") is not None else schema.get("version") or "v1").strip(
            "/"
        )
        provider = next((name for name, base in _known() if host and urlsplit(base).hostname == host), "vllm")
        place["base_url"] = f"{url}/{prefix}".rstrip("/") if url else ""
    elif provider == "azure":
        place |= {"base_url": url}
    elif provider == "bedrock":
        found = BEDROCK.fullmatch(host)
        place["region"] = str((shown.get("awsCredentials") or {}).get("region") or (found[1] if found else ""))
    elif provider == "vertex":
        google = shown.get("gcpCredentials") or {}
        place |= {"region": str(google.get("region") or ""), "project": str(google.get("projectName") or "")}
    elif provider == "cohere":
        place["base_url"] = ELSEWHERE["cohere"]
    elif host and host != urlsplit(PRESETS["anthropic"].base_url).hostname:
        place["base_url"] = f"{url}/{str(schema.get('prefix') or 'v1').strip('/')}"
    if not url and provider in ("vllm", "azure"):
        made.leave(at, "the file does not say where it is: write `base_url` into its entry")
    return provider, {key: value for key, value in place.items() if value} | _key(made, cluster, at, provider, shown)


def _known() -> Iterator[tuple[str, str]]:
    yield from ((name, one.base_url) for name, one in PRESETS.items() if one.wire == "openai")
    yield from ELSEWHERE.items()


def _key(made: Adopted, cluster: Cluster, at: str, provider: str, shown: Manifest) -> dict[str, Any]:
    kind = str(shown.get("type") or "")
    if kind in SECRETS:
        secret = str(((shown.get(SECRETS[kind]) or {}).get("secretRef") or {}).get("name"))
        return {"keys": [_secret(made, cluster, secret)]}
    if kind == "AzureCredentials":
        made.leave(at, ENTRA_INSTEAD)
        return {"keys": ["entra"]}
    if kind:
        made.leave(f"{at}: {kind}", "found as the provider's own tools find it, or `key` of the model: docs/models.md")
        return {}
    key = usual_key(provider) if provider != "vllm" else ""
    return {"keys": [key]} if key else {}


def _secret(made: Adopted, cluster: Cluster, name: str) -> str:
    """Where what it holds is to be found."""
    variable = cluster.variable(name)
    made.leave(f"Secret {name}", f"put what it holds into {variable} where Tollway runs")
    return f"env:{variable}"


def _servers(made: Adopted, cluster: Cluster, name: str, spec: Manifest) -> None:
    found = made.others.setdefault("tools", {}).setdefault("servers", {})
    for n, one in enumerate(spec.get("backendRefs") or ()):
        where, backend = f"{MCP} {name}: backendRefs[{n}]", str(one.get("name"))
        if not (url := cluster.url(backend)):
            made.leave(where, "the file does not say where it is")
            continue
        entry: dict[str, Any] = {"url": f"{url}{one.get('path') or '/mcp'}"}
        selector = one.get("toolSelector") or {}
        if selector.get("include"):
            entry["tools"] = list(selector["include"])
        if selector.get("includeRegex"):
            made.leave(f"{where}.toolSelector.includeRegex", "name the tools: `tollway tools list` tells what there is")
        if secret := (((one.get("securityPolicy") or {}).get("apiKey") or {}).get("secretRef") or {}).get("name"):
            entry["key"] = _secret(made, cluster, str(secret))
        found[re.sub(r"[^a-z0-9-]+", "-", backend.lower()).strip("-")[:32]] = entry
    for key in [key for key in spec if key not in ("parentRefs", "backendRefs", "path")]:
        made.leave(f"{MCP} {name}: {key}", "who may call: keys and `accounts` of a server, docs/tools.md")


def _name(one: Manifest) -> str:
    return str((one.get("metadata") or {}).get("name") or "")


def _spec(one: Manifest) -> Manifest:
    found = one.get("spec")
    return found if isinstance(found, dict) else {}
