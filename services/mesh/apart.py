"""One process a service, over unix sockets: started tier by tier, stopped the other way, each with its own log."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh.plan import READY_WITHIN_S, TIERS, Ended, NotReady, Plan, Told, Up
from services.runtime import channels

DRAIN_S = 60.0


async def run(
    plan: Plan, environ: Mapping[str, str], told: Told, stopped: Callable[[list[Up]], Awaitable[None]]
) -> None:
    """Runs every service of `plan` in a process of its own until `stopped` returns."""
    begun: list[list[asyncio.subprocess.Process]] = []
    ups: list[Up] = []
    try:
        for tier in TIERS:
            processes = [await _started(plan, name, environ) for name in tier]
            begun.append(processes)
            for name, process in zip(tier, processes, strict=True):
                await _healthy(plan, name, process)
                address = plan.address(name) if name != "edge" else f"http://127.0.0.1:{plan.port}"
                ups.append(Up(name, address, f"process {process.pid}, log {_log(plan, name)}"))
                told(ups[-1])
        waiting = asyncio.ensure_future(stopped(ups))
        ends = [asyncio.ensure_future(one.wait()) for processes in begun for one in processes]
        done, others = await asyncio.wait([waiting, *ends], return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        if waiting not in done:
            raise Ended(f"a service ended; its log in {plan.run} says why")
    finally:
        for processes in reversed(begun):
            for process in processes:
                if process.returncode is None:
                    process.terminate()
            for process in processes:
                await _gone(process)


async def _started(plan: Plan, name: str, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    with _log(plan, name).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{name}",
            env={**os.environ, **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupt from the terminal is for us, who stop them in order
        )


def _log(plan: Plan, name: str) -> Path:
    return plan.run / f"{name}.log"


async def _healthy(plan: Plan, name: str, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while not await _serves(plan, name):
                if process.returncode is not None:
                    last = _log(plan, name).read_text(errors="replace").strip().splitlines()[-1:]
                    raise Ended(f"{name} ended with {process.returncode}: {''.join(last)}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotReady(f"{name} is not ready after {READY_WITHIN_S:.0f} s; see {_log(plan, name)}") from None


async def _serves(plan: Plan, name: str) -> bool:
    if name == "edge":
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", plan.port)
        except OSError:
            return False
        writer.close()
        return True
    async with channels.open(plan.address(name)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            said = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError:
            return False
    return bool(said.status == health_pb2.HealthCheckResponse.SERVING)


async def _gone(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
