"""A network between a caller and a service that fails at first: every method says UNAVAILABLE once, then passes calls on."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc


class Flaky(grpc.GenericRpcHandler):
    def __init__(self, behind: grpc.Channel) -> None:
        self.behind = behind
        self.asked: Counter[str] = Counter()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Passes unary calls on as bytes, whatever they are."""
        method = details.method
        if not method.startswith("/tollway."):
            return None  # no health here: callers take that for well

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked[method] += 1
            if self.asked[method] == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            call: Any = self.behind.unary_unary(method)
            passed: bytes = call(request, metadata=_kept(context), timeout=10)
            return passed

        return grpc.unary_unary_rpc_method_handler(call)


def _kept(context: grpc.ServicerContext) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in context.invocation_metadata() if key == "authorization"]


@contextmanager
def flaky(target: str, files: Any) -> Iterator[tuple[str, Flaky]]:
    """Stands before `target` under the certificate of `files`; yields its address."""

    def read(file: str) -> bytes:
        with open(file, "rb") as raw:
            return raw.read()

    authority, key, certificate = read(files.authority), read(files.key), read(files.certificate)
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(authority, key, certificate)) as behind:
        handler = Flaky(behind)
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((handler,))
        secured = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", secured)
        server.start()
        try:
            yield f"127.0.0.1:{port}", handler
        finally:
            server.stop(1).wait()
