"""Who may call what: every method of every contract, under every role, asked of the interceptor that all servers share."""

from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from services.runtime.access import access
from services.runtime.identity import AdministratorsOnly, Caller, ScopeMissing
from services.runtime.status import Statuses
from tests.house.test_house import rpcs
from tests.support.callers import bearing, identity

PROTOS = Path("protos")
ROAD = {"cache", "encoder", "guard", "models", "router"}
PUBLIC = {
    "ledger.Authenticate",
    "ledger.ListSigningKeys",
    "ledger.ListPrices",
    "ledger.Watch",
    "models.ListModels",
    "models.Watch",
}
ADMINISTERED = {
    "ledger.ExchangeToken", "ledger.CarveAllowance", "ledger.CreateKey", "ledger.ListKeys", "ledger.RevokeKey", "ledger.RotateKey",
    "ledger.SuspendAccount", "ledger.ResumeAccount", "ledger.ListSuspensions", "ledger.SetSafeguard",
    "ledger.DeleteSafeguard", "ledger.ListSafeguards", "ledger.RaiseAlert", "ledger.SetRoleBinding", "ledger.DeleteRoleBinding", "ledger.ListRoleBindings", "ledger.SetBudget", "ledger.DeleteBudget",
    "registry.Mirror", "registry.Watch", "registry.AppendAudit",
    "gateway.EraseTenant", "gateway.EraseSubject", "cache.Erase", "retrieval.Erase", "registry.Erase", "jobs.Erase", "ledger.Erase", "router.Erase",
    "retrieval.StartMigration", "retrieval.WatchMigration", "retrieval.CancelMigration",
}  # fmt: skip
READS = {
    "registry.GetVersion", "registry.ListVersions", "registry.ListArtifacts", "registry.DiffVersions", "registry.ListLabels",
    "registry.GetRollout", "registry.ListShadows", "registry.GetShadowReport", "registry.ListComparisons", "registry.GetRun",
    "registry.ListRuns", "registry.ListRunResults", "registry.CompareRuns", "registry.ListFeedback", "registry.ListProbes",
}  # fmt: skip
BY_SCOPE = {
    "chat": {"gateway.Complete", "gateway.StreamComplete", "gateway.GenerateImages", "gateway.Transcribe", "gateway.Speak", "gateway.Converse", "gateway.CountTokens", "registry.CompareShadow", "ledger.CreateClientSecret", "ledger.GetClientSecret"},
    "realtime": {"gateway.Converse", "ledger.GetClientSecret"},
    "embeddings": {"gateway.Embed", "gateway.Moderate", "gateway.Rerank"},
    "documents": {
        f"retrieval.{rpc}"
        for rpc in (
            "UpsertDocuments", "DeleteDocuments", "ListDocuments", "ListSources", "ResyncSource", "ListParked",
            "RetryParked", "DropParked", "Evaluate", "GetDocument", "PutCollection", "GetCollection", "ListCollections", "DeleteCollection",
        )
    },
    "usage": {"ledger.QueryUsage", "ledger.ListEntries", "ledger.ForecastUsage", "ledger.ListBudgets", "ledger.ListAlerts"},
    "read": READS,
    "propose": READS | {
        "registry.ProposeVersion", "registry.SetShadow", "registry.DeleteShadow", "registry.StartRun", "registry.SetProbe",
        "registry.DeleteProbe", "registry.RenewProbe",
    },
    "review": READS | {"registry.ReviewVersion", "registry.GetRecord", "registry.ListRecords", "registry.DecideReview"},
    "promote": READS | {"registry.MoveLabel", "registry.DeleteLabel"},
    "tools": {
        "gateway.ListTools", "gateway.CallTool", "gateway.ListPrompts", "gateway.GetPrompt", "gateway.ListResources", "gateway.ReadResource",
        *(f"tools.{name}" for package, name in rpcs() if package == "tools")},
    "audit": READS | {"registry.ListAudit"},
    "jobs": {f"jobs.{name}" for package, name in rpcs() if package == "jobs"},
}  # fmt: skip
OPEN = {
    "gateway.ListModels", "gateway.GetStatus", "retrieval.Search", "retrieval.Watch", "ledger.Reserve", "ledger.Settle",
    "ledger.Release", "registry.Resolve", "registry.ReportOutcome", "registry.RecordFeedback", "registry.RecordAnswer",
    "registry.AwaitReview",
}  # fmt: skip
"""For every caller who is known: the road is gone with the caller's own token."""
EVERY = [f"{package}.{name}" for package, name in rpcs()]


def path(method: str) -> str:
    package, name = method.split(".")
    files = (Default().FindFileByName(str(file.relative_to(PROTOS))) for file in contracts_of(package))
    (service,) = (one for file in files for one in file.services_by_name.values() if name in one.methods_by_name)
    return f"/{service.full_name}/{name}"


def contracts_of(package: str) -> list[Path]:
    return sorted(PROTOS.glob(f"tollway/{package}/v1/*.proto"))


@pytest.fixture(scope="module", autouse=True)
def contracts() -> None:
    for package in {one.split(".")[0] for one in EVERY}:
        for file in contracts_of(package):
            import_module(f"tollway.{package}.v1.{file.stem}_pb2")


def expected(method: str, scope: str, admin: bool) -> bool:
    """What the table says: `scope` '' is a key without any, which has them all."""
    if method in ADMINISTERED:
        return admin
    if method in PUBLIC or method in OPEN or method.split(".")[0] in ROAD:
        return True
    return not scope or method in BY_SCOPE[scope]


@pytest.mark.parametrize("method", EVERY)
def test_every_method_says_who_may_call_it(method: str) -> None:
    service, _, name = path(method).strip("/").partition("/")
    options = Default().FindServiceByName(service).methods_by_name[name].GetOptions()
    assert [one.full_name for one, _ in options.ListFields()] == ["tollway.access.v1.access"]


@pytest.mark.parametrize("scope", ["", *BY_SCOPE])
@pytest.mark.parametrize("admin", [False, True])
def test_the_table_of_roles(scope: str, admin: bool) -> None:
    caller = Caller("acme", "acme/app", "key", admin, (), 0.0, "", scopes=(scope,) if scope else ())
    for method in EVERY:
        try:
            access(path(method)).check(caller)
            allowed = True
        except (ScopeMissing, AdministratorsOnly):
            allowed = False
        assert allowed == expected(method, scope, admin), method


def test_what_nobody_is_asked_for_is_said_so() -> None:
    assert {one for one in EVERY if access(path(one)).public} == PUBLIC
    written = {one for one in EVERY if access(path(one)).audited}
    assert written < ADMINISTERED and {"ledger.CreateKey", "ledger.SetBudget", "ledger.SuspendAccount"} <= written


class Context:
    """A call, as far as an interceptor looks at it."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self.metadata, self.code_ = metadata, grpc.StatusCode.OK

    def invocation_metadata(self) -> Any:
        return self.metadata

    def time_remaining(self) -> None:
        return None

    async def abort_with_status(self, status: Any) -> None:
        self.code_ = status.code
        raise grpc.aio.AbortError

    def code(self) -> grpc.StatusCode:
        return self.code_


@pytest.mark.parametrize("method", ["ledger.CreateKey", "registry.MoveLabel", "jobs.WatchJob"])
async def test_a_server_asks_before_the_method_runs(method: str) -> None:
    service, _, name = path(method).strip("/").partition("/")
    described = Default().FindServiceByName(service).methods_by_name[name]
    request, ran = GetMessageClass(described.input_type)(), []

    async def once(request: Any, context: Any) -> Any:
        ran.append(request)

    async def stream(request: Any, context: Any) -> Any:
        ran.append(request)
        if ran is None:
            yield

    made = grpc.unary_stream_rpc_method_handler if described.server_streaming else grpc.unary_unary_rpc_method_handler
    handler = Statuses("test", identity()).wrap(path(method), made(stream if described.server_streaming else once))
    call = handler.unary_stream if described.server_streaming else handler.unary_unary
    context = Context(*bearing(scopes=("embeddings",)))
    with pytest.raises(grpc.aio.AbortError):
        await call(request, context)
    assert context.code_ is grpc.StatusCode.PERMISSION_DENIED and not ran
    nobody = Context()
    with pytest.raises(grpc.aio.AbortError):
        await call(request, nobody)
    assert nobody.code_ is grpc.StatusCode.UNAUTHENTICATED and not ran
