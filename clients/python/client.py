"""A Tollway client: a completion, a stream that is cancelled, a deadline, errors taken apart, the guard and the ledger."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2

sys.path.insert(0, str(Path(__file__).parent / "gen"))

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tollway.guard.v1 import guard_pb2, guard_pb2_grpc
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc


def setting(name: str) -> str:
    return os.environ.get(f"TOLLWAY_{name}", "")


def dial(target: str) -> grpc.Channel:
    """A channel with the balancing, health checks and retries that the archive's service config names."""
    options = (("grpc.service_config", Path(setting("SERVICE_CONFIG")).read_text()),)
    if not setting("CA"):
        return grpc.insecure_channel(target, options)  # on this machine alone
    authority, key, certificate = (Path(setting(name)).read_bytes() for name in ("CA", "KEY", "CERT"))
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(authority, key, certificate), options)


def authorized() -> Sequence[tuple[str, str]]:
    return (("authorization", f"Bearer {setting('API_KEY')}"),)


def prompt(model: str, text: str, temperature: float | None = None) -> chat.ChatRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    return chat.ChatRequest(model=model, messages=[message], temperature=temperature)


def explain(error: grpc.RpcError) -> str:
    """Takes a rich error apart: what to branch on, what to mend, when to try again."""
    words = [f"error: {error.code().name}"]
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    for detail in status_pb2.Status.FromString(raw).details:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            words.append(f"reason={info.reason}")
        elif detail.Unpack(bad):
            words += [f"field={one.field}" for one in bad.field_violations]
        elif detail.Unpack(retry):
            words.append(f"retry_after={retry.retry_delay.ToTimedelta().total_seconds():g}s")
    return " ".join(words)


def failure(stub: gateway_pb2_grpc.GatewayServiceStub, request: chat.ChatRequest, within_s: float) -> grpc.RpcError:
    try:
        stub.Complete(gateway_pb2.CompleteRequest(chat=request), metadata=authorized(), timeout=within_s)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call was expected to fail")


def main() -> None:
    model = setting("MODEL")
    with dial(setting("GATEWAY")) as channel, dial(setting("GUARD")) as guarding, dial(setting("LEDGER")) as booking:
        gateway = gateway_pb2_grpc.GatewayServiceStub(channel)
        asked = gateway_pb2.CompleteRequest(chat=prompt(model, "Hello from Python"))
        answer = gateway.Complete(asked, metadata=authorized(), timeout=30)
        print(f"completion: {answer.completion.choices[0].message.parts[0].text}")

        request = gateway_pb2.StreamCompleteRequest(chat=prompt(model, "one two three four five six seven eight"))
        stream = gateway.StreamComplete(request, metadata=authorized())
        for _ in range(3):
            next(stream)
        stream.cancel()
        print(f"stream: {stream.code().name} after 3 messages")

        print(f"deadline: {failure(gateway, prompt(model, 'too late'), 0.001).code().name}")
        print(explain(failure(gateway, prompt(model, "Hello", temperature=9), 30)))
        if setting("BUSY_MODEL"):
            print(explain(failure(gateway, prompt(setting("BUSY_MODEL"), "Hello"), 30)))

        guard = guard_pb2_grpc.GuardServiceStub(guarding)
        seen = guard.Analyze(guard_pb2.AnalyzeRequest(text="Mail ada@example.com"), metadata=authorized(), timeout=30)
        print(f"guard: {seen.findings[0].type}")

        ledger = ledger_pb2_grpc.LedgerServiceStub(booking)
        query = ledger_pb2.QueryUsageRequest(group_by="account")
        print(f"ledger: {ledger.QueryUsage(query, metadata=authorized(), timeout=30).rows[0].group}")


if __name__ == "__main__":
    main()
