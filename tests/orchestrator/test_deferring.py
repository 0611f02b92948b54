"""Answers that are not there in time become jobs, whose work goes on; a caller's token is renewed through a long one."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.jobs.v1 import jobs_pb2

from services.orchestrator.again import Again
from services.orchestrator.deferring import Deferring
from services.orchestrator.desk import Desk
from services.orchestrator.facts import Epochs, Models, Registered
from services.orchestrator.failures import PromptRefused
from services.orchestrator.mirroring import Mirroring
from services.orchestrator.prompting import Prompting
from services.orchestrator.recording import Recording
from services.orchestrator.road import Road
from services.orchestrator.service import GatewayService
from services.orchestrator.tokens import Tokens
from services.runtime import identity
from tests.orchestrator.peers import Mesh
from tests.support import callers
from tests.support.waiting import until

Code = grpc.StatusCode


class Gateway:
    def __init__(self) -> None:
        self.mesh = Mesh()
        peers, self.desk = self.mesh.peers(), Desk()
        self.deferring = Deferring(peers.jobs, self.desk)
        self.road = Road(peers, Models(peers.models, {}, True), Epochs(peers.retrieval), self.desk, {})
        registered = Registered(peers.registry)
        mirroring, recording = Mirroring(self.road, registered), Recording(self.road, registered)
        self.service = GatewayService(
            self.road, self.deferring, Prompting(self.road), mirroring, recording, Again(self.road)
        )

    async def complete(self, after_s: float, key: str = "") -> pb.CompleteResponse:
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text="what is new?")])
        options = pb.Options(idempotency_key=key)
        options.defer_after.FromNanoseconds(int(after_s * 1e9))
        asked = pb.CompleteRequest(chat=chat.ChatRequest(model="auto", messages=[message]), options=options)
        return await self.service.Complete(asked, None)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    identity.hold(await callers.identity().verify(callers.token("acme/app")))
    made = Gateway()
    yield made
    await made.deferring.close()
    await made.desk.cleared(5)
    made.road.epochs.close()


async def test_an_answer_that_is_there_in_time_is_no_job(gateway: Gateway) -> None:
    made = await gateway.complete(5)
    assert made.completion.choices[0].message.parts[0].text == "one two" and not made.deferred_job_id
    assert "jobs.CreateJob" not in gateway.mesh.asked


async def test_a_late_answer_becomes_the_result_of_a_job_and_is_made_but_once(gateway: Gateway) -> None:
    gateway.mesh.gate.clear()
    made = await gateway.complete(0.05)
    assert made.deferred_job_id and not made.HasField("completion")
    created = gateway.mesh.messages["jobs.CreateJob"]
    reserved = gateway.mesh.messages["ledger.Reserve"].reservation_id
    assert created.holding.job_id == made.deferred_job_id == created.chat.options.idempotency_key
    await until(lambda: gateway.mesh.asked.count("jobs.ReportJob") >= 2)
    assert gateway.mesh.job.state == jobs_pb2.STATE_RUNNING, "who works at it says so until it is done"
    gateway.mesh.gate.set()
    await until(lambda: gateway.mesh.job.state == jobs_pb2.STATE_SUCCEEDED)
    assert gateway.mesh.job.result.completion.completion.choices[0].message.parts[0].text == "one two"
    assert gateway.mesh.asked.count("models.Generate") == 1
    await until(lambda: "ledger.Settle" in gateway.mesh.asked)
    assert gateway.mesh.messages["ledger.Settle"].reservation_id == reserved


async def test_the_same_key_collects_the_same_job(gateway: Gateway) -> None:
    gateway.mesh.slow_s = 0.2
    first = await gateway.complete(0.05, key="k")
    again = await gateway.complete(0.05, key="k")
    assert again.deferred_job_id == first.deferred_job_id
    collected = await gateway.complete(5, key="k")
    assert collected.completion.choices[0].message.parts[0].text == "one two"
    assert gateway.mesh.asked.count("models.Generate") == 1


async def test_without_jobs_the_caller_waits_after_all(gateway: Gateway) -> None:
    gateway.mesh.slow_s, gateway.mesh.away = 0.2, {"jobs": Code.UNAVAILABLE}
    made = await gateway.complete(0.05)
    assert made.completion.choices[0].message.parts[0].text == "one two" and not made.deferred_job_id


async def test_a_failure_is_reported_with_its_reason(gateway: Gateway) -> None:
    gateway.mesh.slow_s = 0.2
    assert (await gateway.complete(0.05)).deferred_job_id
    gateway.mesh.away = {"guard": Code.PERMISSION_DENIED}
    await until(lambda: "jobs.ReportJob" in gateway.mesh.asked)
    await until(lambda: gateway.mesh.messages["jobs.ReportJob"].HasField("error"))
    assert gateway.mesh.messages["jobs.ReportJob"].error.code == Code.PERMISSION_DENIED.value[0]
    await until(lambda: "ledger.Settle" in gateway.mesh.asked)  # what the model wrote is paid for


async def test_a_failure_in_time_is_the_callers(gateway: Gateway) -> None:
    gateway.mesh.blocked = True
    with pytest.raises(PromptRefused):
        await gateway.complete(5)


async def test_work_ends_when_its_job_is_lost(gateway: Gateway) -> None:
    gateway.mesh.slow_s, gateway.mesh.lost = 30.0, True
    assert (await gateway.complete(0.05)).deferred_job_id
    await until(lambda: not gateway.deferring._works)
    await until(lambda: "ledger.Release" in gateway.mesh.asked)


async def test_work_ends_when_its_caller_leaves_in_time(gateway: Gateway) -> None:
    gateway.mesh.slow_s = 30.0
    task = asyncio.create_task(gateway.complete(5))
    await until(lambda: "models.Generate" in gateway.mesh.asked)
    task.cancel()
    await until(lambda: not gateway.deferring._works)
    assert "jobs.CreateJob" not in gateway.mesh.asked


async def test_a_process_that_ends_gives_its_work_to_a_worker(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.deferring.LAST_S", 0.05)
    gateway.mesh.slow_s = 30.0
    assert (await gateway.complete(0.05)).deferred_job_id
    await gateway.deferring.close()
    said = gateway.mesh.messages["jobs.ReportJob"].error
    assert (said.code, said.reason) == (Code.UNAVAILABLE.value[0], "SHUTTING_DOWN")


async def test_a_token_is_renewed_before_it_ends() -> None:
    mesh = Mesh()
    tokens, held = Tokens(mesh.peers().ledger, "tw_own"), await callers.identity().verify(callers.token())
    identity.hold(held)
    await tokens.fresh()
    assert identity.caller() is held, "a token that lives is left alone"
    identity.hold(replace(held, expires=time.time() + 3))
    await Tokens(mesh.peers().ledger, "").fresh()
    assert identity.caller().token == held.token, "nobody can renew it without a key"
    await tokens.fresh()
    now = identity.caller()
    assert (now.token, now.account) == (f"new for {held.key_id}", held.account) and now.expires > time.time() + 60
    assert now.header == f"Bearer {now.token}"
