"""The service over every transport, its worker behind it, before a gateway and a ledger that only obey."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp
from standardwebhooks import Webhook
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import conversations_pb2_grpc, jobs_pb2_grpc
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2

from services.jobs.alerts import Alerts, Hooks
from services.jobs.app import MIGRATIONS, register
from services.jobs.calling import Calling
from services.jobs.conversations import Conversations
from services.jobs.conversing import ConversationsService
from services.jobs.files import Files
from services.jobs.postgres import PostgresStore
from services.jobs.relay import Relay
from services.jobs.service import JobsService
from services.jobs.webhooks import Egress, Webhooks
from services.jobs.worker import Worker
from services.runtime import postgres
from services.runtime.background import running
from services.runtime.server import Service
from tests.support.callers import identity
from tests.support.refusals import failing, field_of, refused
from tests.support.scale import sized
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import eventually, until

LEASE = timedelta(seconds=30)


class Gateway:
    """Answers what it is asked; `busy` asks for another try once, `never` always, `wrong` is refused."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.tokens: list[str] = []
        self.running = self.most = 0

    async def Complete(self, request: gateway_pb2.CompleteRequest, metadata: Any, **_: Any) -> Any:
        self.keys.append(request.options.idempotency_key)
        self.tokens.append(dict(metadata)["authorization"])
        text = request.chat.messages[0].parts[0].text
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if text == "slow":
                await asyncio.sleep(30)
            await asyncio.sleep(0.01)
        finally:
            self.running -= 1
        if "Grade the answer" in text:
            text = "8 of 10" if "yes" in text.partition("<answer>")[2] else "that depends"
        if text == "wrong":
            raise failing(grpc.StatusCode.INVALID_ARGUMENT)
        if text == "never" or (text == "busy" and self.keys.count(request.options.idempotency_key) == 1):
            raise failing(grpc.StatusCode.UNAVAILABLE)
        message = chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text=f"You said: {text}")])
        made = chat.ChatCompletion(choices=[chat.Choice(message=message)])
        return gateway_pb2.CompleteResponse(completion=made)

    async def Embed(self, request: gateway_pb2.EmbedRequest, metadata: Any, **_: Any) -> Any:
        return gateway_pb2.EmbedResponse(embeddings=[models_pb2.Embedding(values=[1.0]) for _ in request.texts])

    async def Moderate(self, request: gateway_pb2.ModerateRequest, metadata: Any, **_: Any) -> Any:
        self.keys.append(request.idempotency_key)
        judged = [models_pb2.Moderation(flagged="foul" in text) for text in request.texts]
        return gateway_pb2.ModerateResponse(moderations=judged, model=request.model or "judge")

    async def StreamComplete(self, request: gateway_pb2.StreamCompleteRequest, **_: Any) -> Any:
        made = await self.Complete(
            gateway_pb2.CompleteRequest(chat=request.chat, options=request.options), _["metadata"]
        )
        for word in made.completion.choices[0].message.parts[0].text.split():
            chunk = chat.ChatChunk(choices=[chat.ChoiceDelta(content=f"{word} ")])
            yield gateway_pb2.StreamCompleteResponse(chunk=chunk)
            await asyncio.sleep(0.2)
        road = gateway_pb2.Road(model="echo", cost_nano_usd=7)
        yield gateway_pb2.StreamCompleteResponse(road=road, completion=made.completion)


class Ledger:
    """Exchanges tokens, and has the alerts that it is given."""

    def __init__(self) -> None:
        self.alerts: list[ledger_pb2.Alert] = []

    async def ListAlerts(self, request: ledger_pb2.ListAlertsRequest, **_: Any) -> Any:
        assert request.account == "*"
        return ledger_pb2.ListAlertsResponse(alerts=[one for one in self.alerts if one.alert_id > request.after])

    async def ExchangeToken(self, request: ledger_pb2.ExchangeTokenRequest, **_: Any) -> Any:
        return ledger_pb2.ExchangeTokenResponse(token=f"for {request.key_id}", expires=Timestamp(seconds=2_000_000_000))


class Silence:
    """A broker that carries nothing: workers look by themselves."""

    async def publish(self, topic: str, key: str, body: bytes) -> None:
        return


class Jobs:
    conversations: Called

    def __init__(self, pool: Any) -> None:
        self.gateway, self.pool, self.files = Gateway(), pool, Files(pool)
        self.store = PostgresStore(pool)
        self.relay = Relay(self.store, Silence())  # type: ignore[arg-type]
        self.webhooks = Webhooks(self.store, Egress(private=True), "one key")
        self.ledger = Ledger()
        calling = Calling(self.gateway, self.ledger, "tw_admin")  # type: ignore[arg-type]
        self.alerts = Alerts(pool, self.ledger, "tw_admin", self.noted)  # type: ignore[arg-type]
        self.worker = Worker(self.store, calling, slots=8, per_tenant=4, lease=LEASE, noted=self.noted)

    def noted(self) -> None:
        self.worker.wake.set()
        self.relay.wake.set()

    def service(self) -> Service:
        kept = Conversations(self.pool)
        made = JobsService(
            self.store, self.webhooks.secret, self.noted, 1000, self.files, LEASE, Hooks(self.pool), kept
        )
        return Service(
            name="tollway.jobs.v1.JobsService",
            domain="jobs.tollway",
            register=partial(register, made, ConversationsService(kept)),
            identity=identity(),
        )


@asynccontextmanager
async def served(url: str, transport: str, works: bool = True) -> AsyncIterator[tuple[Jobs, Called]]:
    async with postgres.opened(url, "jobs", MIGRATIONS, 6) as pool:
        jobs = Jobs(pool)
        loops = [jobs.worker.run(), jobs.relay.run(), jobs.webhooks.run(), jobs.alerts.run()] if works else []
        async with running(*loops), channel_to(jobs.service(), transport) as channel:
            jobs.conversations = Called(conversations_pb2_grpc.ConversationsServiceStub(channel))
            yield jobs, Called(jobs_pb2_grpc.JobsServiceStub(channel))


@asynccontextmanager
async def listening(bad: int = 1) -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A webhook that answers 500 to the first `bad` messages, and what it heard."""
    heard: list[tuple[dict[str, str], bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=500 if len(heard) <= bad else 204)

    application = web.Application()
    application.router.add_post("/hook", hook)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", heard
    finally:
        await runner.cleanup()


@pytest.fixture(params=TRANSPORTS)
async def both(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[tuple[Jobs, Called]]:
    async with served(postgres_url, request.param) as made:
        yield made


def asking(text: str) -> pb.Chat:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    return pb.Chat(chat=chat.ChatRequest(model="echo", messages=[message]))


async def ended(stub: Called, job_id: str) -> pb.Job:
    last = pb.Job()
    async for told in stub.WatchJob(pb.WatchJobRequest(job_id=job_id)):
        last = told.job
    return last


async def test_a_job_from_first_to_last(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    asked = pb.CreateJobRequest(request_id="r1", chat=asking("hello"), metadata={"order": "4711"})
    job = (await stub.CreateJob(asked)).job
    assert job.state == pb.STATE_QUEUED and job.kind == "chat" and job.account == "acme/search"
    over = await ended(stub, job.job_id)
    assert over.state == pb.STATE_SUCCEEDED and over.metadata == {"order": "4711"} and not over.HasField("error")
    assert over.result.completion.completion.choices[0].message.parts[0].text == "You said: hello"
    assert (await stub.CreateJob(asked)).job.job_id == job.job_id
    assert (await stub.GetJob(pb.GetJobRequest(job_id=job.job_id))).job == over
    assert jobs.gateway.keys == [job.job_id] and jobs.gateway.tokens == ["Bearer for key_1"]


async def test_a_batch_and_its_results_page_by_page(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    lines = [pb.Line(custom_id=f"l{n}", chat=asking("wrong" if n == 3 else f"text {n}")) for n in range(6)]
    lines.append(pb.Line(custom_id="vectors", embedding=pb.Embedding(model="static", texts=["a", "b"])))
    lines.append(pb.Line(custom_id="judged", moderation=pb.Moderation(texts=["fair", "foul"])))
    job = (await stub.CreateJob(pb.CreateJobRequest(batch=pb.Batch(lines=lines)))).job
    over = await ended(stub, job.job_id)
    assert (over.state, over.total, over.succeeded, over.failed) == (pb.STATE_SUCCEEDED, 8, 7, 1)
    found, token_ = [], ""
    while True:
        page = await stub.ListResults(pb.ListResultsRequest(job_id=job.job_id, page_size=3, page_token=token_))
        found += page.results
        if not (token_ := page.next_page_token):
            break
    assert [one.custom_id for one in found] == [line.custom_id for line in lines]
    assert found[3].state == pb.STATE_FAILED and found[3].error.reason == "INVALID_ARGUMENT"
    assert len(found[6].result.embeddings.embeddings) == 2
    assert [one.flagged for one in found[7].result.moderations.moderations] == [False, True]


async def test_texts_are_judged_by_a_job_of_their_own(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(moderation=pb.Moderation(model="m", texts=["foul"])))).job
    over = await ended(stub, job.job_id)
    assert (over.kind, over.state, over.result.moderations.model) == ("moderation", pb.STATE_SUCCEEDED, "m")
    assert over.result.moderations.moderations[0].flagged and jobs.gateway.keys == [job.job_id]


async def test_what_may_pass_is_tried_again_under_the_same_key(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("busy")))).job
    over = await ended(stub, job.job_id)
    assert over.state == pb.STATE_SUCCEEDED and over.attempts == 2
    assert jobs.gateway.keys == [job.job_id] * 2, "one reservation for both tries"


async def test_a_job_that_is_cancelled_stops(both: tuple[Jobs, Called], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, stub = both
    jobs.worker.lease = timedelta(seconds=0.6)
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("slow")))).job
    await until(lambda: jobs.gateway.running == 1)
    assert (await stub.CancelJob(pb.CancelJobRequest(job_id=job.job_id))).job.state == pb.STATE_CANCELLED
    code, reason = await refused(stub.CancelJob(pb.CancelJobRequest(job_id=job.job_id)))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED")
    code, reason = await refused(stub.RetryJob(pb.RetryJobRequest(job_id=job.job_id)))
    assert reason == "JOB_NOT_ENDED"


async def test_a_failed_job_is_retried(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("wrong")))).job
    assert (await ended(stub, job.job_id)).state == pb.STATE_FAILED
    assert (await stub.RetryJob(pb.RetryJobRequest(job_id=job.job_id))).job.state == pb.STATE_QUEUED
    assert (await ended(stub, job.job_id)).state == pb.STATE_FAILED


async def test_nobody_sees_anothers_jobs(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("mine")))).job
    other = stub.by("globex/app")
    for call in (
        other.GetJob(pb.GetJobRequest(job_id=job.job_id)),
        other.CancelJob(pb.CancelJobRequest(job_id=job.job_id)),
        other.RetryJob(pb.RetryJobRequest(job_id=job.job_id)),
        other.ListResults(pb.ListResultsRequest(job_id=job.job_id)),
        stub.GetJob(pb.GetJobRequest(job_id=str(uuid4()))),
    ):
        assert await refused(call) == (grpc.StatusCode.NOT_FOUND, "JOB_UNKNOWN")
    assert not (await other.ListJobs(pb.ListJobsRequest())).jobs
    assert (await refused(other.ListJobs(pb.ListJobsRequest(everybody=True))))[1] == "ADMINISTRATORS_ONLY"
    admin = stub.by("operator", admin=True)
    assert [one.job_id for one in (await admin.ListJobs(pb.ListJobsRequest(everybody=True))).jobs] == [job.job_id]


async def test_jobs_are_listed_newest_first_page_by_page(postgres_url: str) -> None:
    async with served(postgres_url, "inproc", works=False) as (_, stub):
        made = [(await stub.CreateJob(pb.CreateJobRequest(chat=asking(f"{n}")))).job.job_id for n in range(5)]
        first = await stub.ListJobs(pb.ListJobsRequest(page_size=3, state=pb.STATE_QUEUED))
        rest = await stub.ListJobs(pb.ListJobsRequest(page_size=3, page_token=first.next_page_token))
        assert [one.job_id for one in (*first.jobs, *rest.jobs)] == made[::-1] and not rest.next_page_token


async def test_what_is_wrong_is_named(postgres_url: str) -> None:
    async with served(postgres_url, "inproc", works=False) as (_, stub):
        lines = [pb.Line(custom_id="same", chat=asking("a")), pb.Line(custom_id="same", chat=asking("b"))]
        assert await field_of(stub.CreateJob(pb.CreateJobRequest(batch=pb.Batch(lines=lines)))) == "batch.lines"
        past = Timestamp(seconds=int((datetime.now(UTC) - timedelta(hours=1)).timestamp()))
        assert await field_of(stub.CreateJob(pb.CreateJobRequest(chat=asking("a"), deadline=past))) == "deadline"
        assert await field_of(stub.CreateJob(pb.CreateJobRequest())) == "work"
        assert await field_of(stub.GetJob(pb.GetJobRequest(job_id="7"))) == "job_id"
        many = pb.Batch(lines=[pb.Line(custom_id=str(n), chat=asking("a")) for n in range(1001)])
        assert (await refused(stub.CreateJob(pb.CreateJobRequest(batch=many))))[1] == "QUEUE_FULL"


async def test_a_tenant_with_many_jobs_delays_no_other(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    many = sized(150, 400)
    lines = [pb.Line(custom_id=str(n), chat=asking(f"text {n}")) for n in range(many)]
    big = (await stub.CreateJob(pb.CreateJobRequest(batch=pb.Batch(lines=lines)))).job
    await until(lambda: len(jobs.gateway.keys) >= 10, 60)
    small = stub.by("globex/app")
    before = len(jobs.gateway.keys)
    single = (await small.CreateJob(pb.CreateJobRequest(chat=asking("me, too")))).job
    await until(lambda: single.job_id in jobs.gateway.keys, 60)
    waited = jobs.gateway.keys.index(single.job_id) - before
    assert waited <= 3 * jobs.worker.slots, f"{waited} of the other's went first"
    assert jobs.gateway.most <= jobs.worker.slots
    assert (await ended(stub, big.job_id)).succeeded == many


async def test_a_webhook_is_signed_and_told_again_until_it_is_heard(
    both: tuple[Jobs, Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.jobs.webhooks.WAITS_S", (0.1, 0.1, 0.1))
    _, stub = both
    async with listening() as (url, heard):
        job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("hello"), webhook_url=url))).job
        asked = pb.ListDeliveriesRequest(job_id=job.job_id)

        async def written() -> bool:
            return any(one.HasField("delivered") for one in (await stub.ListDeliveries(asked)).deliveries)

        await eventually(written)  # what was heard is written down after it was
    (sent,) = (await stub.ListDeliveries(asked)).deliveries
    assert len(heard) == 2 and (sent.webhook_id, sent.attempts, sent.status) == (heard[0][0]["webhook-id"], 2, 204)
    assert sent.HasField("delivered") and not sent.HasField("due") and sent.type == "dev.tollway.job.succeeded"
    assert (await refused(stub.by("globex/app").ListDeliveries(asked)))[1] == "JOB_UNKNOWN"
    secret = (await stub.GetWebhookSecret(pb.GetWebhookSecretRequest())).secret
    for headers, body in heard:
        event = Webhook(secret).verify(body, headers)
        assert event["subject"] == job.job_id and event["type"] == "dev.tollway.job.succeeded"
        assert "hello" not in body.decode()
    assert heard[0][0]["webhook-id"] == heard[1][0]["webhook-id"]
    assert json.loads(heard[0][1]) == json.loads(heard[1][1])
    assert secret != (await stub.by("globex/app").GetWebhookSecret(pb.GetWebhookSecretRequest())).secret


@pytest.mark.parametrize("url", ["http://127.0.0.1/hook", "http://localhost:80/", "http://169.254.169.254/latest"])
async def test_a_webhook_goes_nowhere_private(url: str) -> None:
    from services.jobs.webhooks import Forbidden

    with pytest.raises(Forbidden):
        await Egress().checked(url)
    await Egress(private=True).checked(url)
    with pytest.raises(Forbidden, match="not among"):
        await Egress(allowed=("hooks.example.com",), private=True).checked(url)


async def test_a_request_id_stands_for_one_work(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    first = await stub.CreateJob(pb.CreateJobRequest(chat=asking("a"), request_id="r"))
    again = await stub.CreateJob(pb.CreateJobRequest(chat=asking("a"), request_id="r", priority=3))
    assert again.job.job_id == first.job.job_id
    other = stub.CreateJob(pb.CreateJobRequest(chat=asking("b"), request_id="r"))
    assert await refused(other) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_an_answer_is_shown_as_it_grows(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("one two three"), partial=True))).job
    seen = [one.job async for one in stub.WatchJob(pb.WatchJobRequest(job_id=job.job_id))]
    texts = [one.partial for one in seen if one.partial]
    assert texts == sorted(texts, key=len) and any(text in ("You ", "You said: one ") for text in texts), texts
    assert seen[-1].state == pb.STATE_SUCCEEDED and not seen[-1].partial
    parts = seen[-1].result.completion.completion.choices[0].message.parts
    assert (
        "".join(part.text for part in parts) == "You said: one two three"
        and seen[-1].result.completion.road.model == "echo"
    )
    batch = pb.CreateJobRequest(batch=pb.Batch(lines=[pb.Line(custom_id="1", chat=asking("x"))]), partial=True)
    assert (await refused(stub.CreateJob(batch)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_job_tells_what_was_handed_in_when_asked(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("a")))).job
    assert not (await stub.GetJob(pb.GetJobRequest(job_id=job.job_id))).job.HasField("chat")
    assert (await stub.GetJob(pb.GetJobRequest(job_id=job.job_id, with_request=True))).job.chat == asking("a")


async def test_an_answer_that_was_given_at_once_is_kept(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    name, asked = str(uuid4()), asking("a")
    message = chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text="b")])
    choice = chat.Choice(message=message, finish_reason=chat.FINISH_REASON_STOP)
    said = gateway_pb2.CompleteResponse(completion=chat.ChatCompletion(choices=[choice]))
    keep = pb.KeepAnswerRequest(job_id=name, chat=asked, completion=said, asked=Timestamp(seconds=1_700_000_000))
    await stub.KeepAnswer(keep)
    await stub.KeepAnswer(keep)  # the same once more
    found = (await stub.GetJob(pb.GetJobRequest(job_id=name, with_request=True))).job
    assert (found.kind, found.state, found.created.seconds) == ("answer", pb.STATE_SUCCEEDED, 1_700_000_000)
    assert found.chat == asked and found.result.completion == said and not jobs.gateway.keys
    assert not (await stub.ListJobs(pb.ListJobsRequest())).jobs
    assert [one.job_id for one in (await stub.ListJobs(pb.ListJobsRequest(kind="answer"))).jobs] == [name]
    assert (await refused(stub.by("globex/app").GetJob(pb.GetJobRequest(job_id=name))))[1] == "JOB_UNKNOWN"
    keep.chat.chat.model = "another"
    assert (await refused(stub.KeepAnswer(keep))) == (grpc.StatusCode.ALREADY_EXISTS, "JOB_ID_REUSED")
    await stub.DeleteJob(pb.DeleteJobRequest(job_id=name))
    assert (await refused(stub.GetJob(pb.GetJobRequest(job_id=name))))[1] == "JOB_UNKNOWN"


async def test_an_evaluation_is_a_batch_with_scores(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    measures = [
        pb.Measure(name="same", kind=pb.Measure.KIND_EXACT, ignore_case=True),
        pb.Measure(name="in it", kind=pb.Measure.KIND_CONTAINS),
        pb.Measure(name="alike", kind=pb.Measure.KIND_SIMILARITY),
    ]
    cases = [
        pb.Case(case_id="good", chat=asking("yes"), expected="you said: yes"),
        pb.Case(case_id="bad", chat=asking("yes"), expected="said"),
        pb.Case(case_id="none", chat=asking("wrong"), expected="anything"),
    ]
    work = pb.Evaluation(cases=cases, measures=measures)
    job = (await stub.CreateJob(pb.CreateJobRequest(evaluation=work))).job
    assert (job.kind, job.total) == ("evaluation", 3)
    over = await ended(stub, job.job_id)
    assert (over.state, over.succeeded, over.failed) == (pb.STATE_SUCCEEDED, 2, 1)
    made = (await stub.GetJob(pb.GetJobRequest(job_id=job.job_id))).job
    assert dict(made.scores) == {"same": 0.5, "in it": 0.5, "alike": 1.0}
    lines = (await stub.ListResults(pb.ListResultsRequest(job_id=job.job_id))).results
    assert dict(lines[0].scores) == {"same": 1.0, "in it": 0.0, "alike": 1.0}
    assert lines[2].state == pb.STATE_FAILED and not lines[2].scores
    assert [one.job_id for one in (await stub.ListJobs(pb.ListJobsRequest(kind="evaluation"))).jobs] == [job.job_id]
    assert not (await stub.ListJobs(pb.ListJobsRequest(kind="batch"))).jobs
    twice = pb.Evaluation(cases=cases, measures=[*measures, measures[0]])
    assert await field_of(stub.CreateJob(pb.CreateJobRequest(evaluation=twice))) == "evaluation.measures"
    number = pb.Evaluation(cases=cases, measures=[pb.Measure(name="n", kind=pb.Measure.KIND_NUMERIC)])
    assert await field_of(stub.CreateJob(pb.CreateJobRequest(evaluation=number))) == "evaluation.cases"


async def test_answers_are_judged_that_are_there_already(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    measures = [
        pb.Measure(name="form", kind=pb.Measure.KIND_REGEX, pattern=r"^\w+ said", ignore_case=True),
        pb.Measure(name="shape", kind=pb.Measure.KIND_SCHEMA, schema_json='{"required": ["city"]}'),
        pb.Measure(name="grade", kind=pb.Measure.KIND_JUDGE, judge="strong"),
    ]
    cases = [
        pb.Case(case_id="asked", chat=asking("yes")),
        pb.Case(case_id="given", chat=asking("yes"), answer='yes: {"city": "Oslo"}'),
    ]
    job = (await stub.CreateJob(pb.CreateJobRequest(evaluation=pb.Evaluation(cases=cases, measures=measures)))).job
    await ended(stub, job.job_id)
    asked, given = (await stub.ListResults(pb.ListResultsRequest(job_id=job.job_id))).results
    assert dict(asked.scores) == {"form": 1.0, "shape": 0.0, "grade": 0.8}
    assert dict(given.scores) == {"form": 0.0, "shape": 1.0, "grade": 0.8}
    assert asked.result.completion.road.cost_nano_usd == 7 and asked.result.took.nanos > 0
    assert not given.result.completion.road.cost_nano_usd and not given.result.HasField("took")


async def test_a_judge_that_gives_no_grade_is_asked_again(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    measures = [pb.Measure(name="grade", kind=pb.Measure.KIND_JUDGE, judge="strong")]
    cases = [pb.Case(case_id="1", chat=asking("no"), answer="no")]
    job = (await stub.CreateJob(pb.CreateJobRequest(evaluation=pb.Evaluation(cases=cases, measures=measures)))).job

    async def tried() -> bool:
        (line,) = (await stub.ListResults(pb.ListResultsRequest(job_id=job.job_id))).results
        return bool(line.error.reason == "JUDGE_UNCLEAR" and line.state == pb.STATE_QUEUED)

    await eventually(tried)


@pytest.mark.parametrize(
    "measure",
    [
        pb.Measure(name="m", kind=pb.Measure.KIND_REGEX),
        pb.Measure(name="m", kind=pb.Measure.KIND_REGEX, pattern="("),
        pb.Measure(name="m", kind=pb.Measure.KIND_SCHEMA, schema_json="{"),
        pb.Measure(name="m", kind=pb.Measure.KIND_SCHEMA, schema_json='{"type": "nothing"}'),
        pb.Measure(name="m", kind=pb.Measure.KIND_JUDGE),
    ],
)
async def test_a_measure_that_cannot_judge_is_refused(both: tuple[Jobs, Called], measure: pb.Measure) -> None:
    _, stub = both
    work = pb.Evaluation(cases=[pb.Case(case_id="1", chat=asking("x"))], measures=[measure])
    assert await field_of(stub.CreateJob(pb.CreateJobRequest(evaluation=work))) == "evaluation.measures"


async def test_whoever_began_a_job_reports_how_it_ends(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    job_id, holder, other = str(uuid4()), str(uuid4()), str(uuid4())
    handed = pb.CreateJobRequest(chat=asking("mine"), holding=pb.Holding(job_id=job_id, holder=holder))
    made = await stub.CreateJob(handed)
    assert (made.job.job_id, made.job.state, made.lease.seconds) == (job_id, pb.STATE_RUNNING, 30)
    assert (await stub.CreateJob(handed)).job.job_id == job_id, "asked again it is the same"
    await stub.ReportJob(pb.ReportJobRequest(job_id=job_id, holder=holder))
    wrong = stub.ReportJob(pb.ReportJobRequest(job_id=job_id, holder=other))
    assert await refused(wrong) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_LOST")
    result = pb.Result(completion=gateway_pb2.CompleteResponse(road=gateway_pb2.Road(model="held")))
    await stub.ReportJob(pb.ReportJobRequest(job_id=job_id, holder=holder, result=result))
    over = await ended(stub, job_id)
    assert over.state == pb.STATE_SUCCEEDED and over.result.completion.road.model == "held" and not jobs.gateway.keys


async def test_a_worker_takes_up_what_its_holder_gave_up(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    job_id, holder = str(uuid4()), str(uuid4())
    await stub.CreateJob(pb.CreateJobRequest(chat=asking("go on"), holding=pb.Holding(job_id=job_id, holder=holder)))
    gone = pb.Error(code=grpc.StatusCode.UNAVAILABLE.value[0], reason="SHUTTING_DOWN")
    await stub.ReportJob(pb.ReportJobRequest(job_id=job_id, holder=holder, error=gone))
    over = await ended(stub, job_id)
    assert over.state == pb.STATE_SUCCEEDED and over.attempts == 2 and jobs.gateway.keys == [job_id]


async def test_a_job_that_has_ended_can_be_removed(both: tuple[Jobs, Called]) -> None:
    _, stub = both
    running = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("slow")))).job
    refusal = stub.DeleteJob(pb.DeleteJobRequest(job_id=running.job_id))
    assert (await refused(refusal))[1] == "JOB_NOT_ENDED"
    await stub.CancelJob(pb.CancelJobRequest(job_id=running.job_id))
    await stub.DeleteJob(pb.DeleteJobRequest(job_id=running.job_id))
    assert (await refused(stub.GetJob(pb.GetJobRequest(job_id=running.job_id))))[1] == "JOB_UNKNOWN"


async def test_alerts_reach_the_webhooks_of_their_account_and_those_above_once(both: tuple[Jobs, Called]) -> None:
    jobs, stub = both
    top = stub.by("acme")
    async with listening(bad=0) as (url, heard), listening(bad=0) as (other, nothing):
        assert (await top.SetAlertHook(pb.SetAlertHookRequest(hook=pb.AlertHook(url=url)))).hook.account == "acme"
        theirs = pb.SetAlertHookRequest(hook=pb.AlertHook(url=other))
        await stub.by("globex/app").SetAlertHook(theirs)
        theirs.hook.account = "acme/search"
        assert (await refused(stub.by("globex/app").SetAlertHook(theirs)))[1] == "OTHER_ACCOUNT"
        for n, account in enumerate(("acme/search/api", "acmebeside/x", "acme"), 1):
            one = ledger_pb2.Alert(alert_id=n, kind="loop", account=account, subject="key_1", text="it loops")
            jobs.ledger.alerts.append(one)
        await until(lambda: len(heard) == 2)
        await asyncio.sleep(1.2)
        assert len(heard) == 2 and not nothing, "each is told once"
    secret = (await top.GetWebhookSecret(pb.GetWebhookSecretRequest())).secret
    events = [Webhook(secret).verify(body, headers) for headers, body in heard]
    assert {event["subject"] for event in events} == {"acme/search/api", "acme"}
    assert {event["type"] for event in events} == {"dev.tollway.alert.loop"}
    assert [hook.account for hook in (await top.ListAlertHooks(pb.ListAlertHooksRequest())).hooks] == ["acme"]
    await top.DeleteAlertHook(pb.DeleteAlertHookRequest())
    assert (await refused(top.DeleteAlertHook(pb.DeleteAlertHookRequest())))[1] == "HOOK_UNKNOWN"


async def test_a_job_that_is_claimed_during_a_heartbeat_goes_on(postgres_url: str) -> None:
    async with served(postgres_url, "inproc", works=False) as (jobs, stub):
        asked, goes_on = asyncio.Event(), asyncio.Event()
        kept = jobs.store.beat

        async def slow(*arguments: Any) -> Any:
            held = await kept(*arguments)
            asked.set()
            await goes_on.wait()
            return held

        jobs.store.beat = slow  # type: ignore[assignment, method-assign]
        jobs.worker.lease = timedelta(seconds=0.6)
        async with running(jobs.worker.run()):
            await asked.wait()
            job = (await stub.CreateJob(pb.CreateJobRequest(chat=asking("slow")))).job
            await until(lambda: jobs.worker.running)
            goes_on.set()
            await asyncio.sleep(0.1)
            assert [str(one) for one in jobs.worker.running] == [job.job_id]


async def test_what_an_end_user_handed_in_is_erased(both: tuple[Jobs, Called]) -> None:
    _, stub = both

    def of(user: str, text: str = "hello") -> pb.Chat:
        made = asking(text)
        made.chat.user = user
        return made

    lines = [pb.Line(custom_id=user, chat=of(user)) for user in ("ann", "ben")]
    many = (await stub.CreateJob(pb.CreateJobRequest(batch=pb.Batch(lines=lines)))).job
    alone = (await stub.CreateJob(pb.CreateJobRequest(chat=of("ann")))).job
    cases = [pb.Case(case_id="c", chat=of("ann"), expected="You said: hello")]
    measures = [pb.Measure(name="right", kind=pb.Measure.KIND_EXACT)]
    judged = (await stub.CreateJob(pb.CreateJobRequest(evaluation=pb.Evaluation(cases=cases, measures=measures)))).job
    for one in (many, alone, judged):
        await ended(stub, one.job_id)
    body = {"custom_id": "1", "body": {"user": "ann", "messages": []}}
    for text in (json.dumps(body) + "\n", json.dumps({**body, "body": {"user": "ben", "note": "ann"}})):
        pieces = [
            pb.CreateFileRequest(info=pb.FileInfo(name="f", purpose="batch")),
            pb.CreateFileRequest(piece=text.encode()),
        ]
        await stub.CreateFile(iter(pieces))
    admin = stub.by("operator", admin=True)
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", subject="ann"))
    assert gone.erased == {"jobs": 3, "files": 1, "conversations": 0}
    first, second = (await stub.ListResults(pb.ListResultsRequest(job_id=many.job_id))).results
    assert (first.custom_id, first.state, first.error.reason) == ("erased-0", pb.STATE_CANCELLED, "ERASED")
    assert not first.HasField("result") and second.custom_id == "ben" and second.HasField("result")
    assert (await refused(stub.GetJob(pb.GetJobRequest(job_id=alone.job_id))))[1] == "JOB_UNKNOWN"
    over = (await stub.GetJob(pb.GetJobRequest(job_id=many.job_id))).job
    assert (over.succeeded, over.failed, over.total) == (1, 1, 2)
    await stub.SetAlertHook(pb.SetAlertHookRequest(hook=pb.AlertHook(url="https://example.com/hook")))
    gone = await admin.Erase(pb.EraseRequest(tenant="acme", everything=True))
    assert gone.erased == {"jobs": 5, "files": 1, "conversations": 0, "hooks": 1}
    assert (
        not (await stub.ListJobs(pb.ListJobsRequest())).jobs and not (await stub.ListFiles(pb.ListFilesRequest())).files
    )
