"""What a failed call says."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status

from services.runtime.status import info_of


def failing(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """What a peer raises that is told to fail."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "as asked", None)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """The code and the reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), info_of(caught.value).reason


async def field_of(call: Awaitable[Any]) -> str:
    """The first field that an INVALID_ARGUMENT names."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status, broken = rpc_status.from_call(caught.value), BadRequest()  # type: ignore[arg-type]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value
    assert status is not None and any(detail.Unpack(broken) for detail in status.details)
    return str(broken.field_violations[0].field)
