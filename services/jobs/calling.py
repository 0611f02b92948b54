"""Does a job by the mesh's own road, as the key that handed it in."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from tollway.chat.v1 import chat_pb2
from tollway.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from tollway.models.v1 import models_pb2

from services.jobs import grading
from services.jobs.life import Fault, Job
from services.jobs.worker import Done, Failed, Shown
from services.runtime.identity import Acting, Directory
from services.runtime.status import info_of

LONGEST_S = 600.0
JUDGE, SHORT = "minilm", 24
"""Whose vectors tell how alike two texts are; what a key has room for beside the job's id."""


@dataclass(slots=True)
class Calling:
    gateway: gateway_pb2_grpc.GatewayServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    key: str = field(repr=False)
    """An administrator's: exchanged for tokens that are bound to the keys that handed jobs in."""
    _acting: Acting = field(init=False)

    def __post_init__(self) -> None:
        self._acting = Acting(Directory(self.ledger, ledger_pb2), self.key)

    async def __call__(self, job: Job, shown: Shown) -> Done:
        left = min((job.deadline - datetime.now(UTC)).total_seconds(), LONGEST_S)
        try:
            road = Road(self.gateway, job, await self._acting.token(job.key_id), max(left, 0.0))
            match job.kind:
                case "chat":
                    chat = pb.Chat.FromString(job.request)
                    made = await (road.streamed(chat, shown) if job.shown else road.complete(chat))
                    return Done(pb.Result(completion=made).SerializeToString())
                case "case":
                    return await graded(road, pb.Evaluation.FromString(job.request))
                case "embedding":
                    vectors = await road.embed(pb.Embedding.FromString(job.request))
                    return Done(pb.Result(embeddings=vectors).SerializeToString())
                case "moderation":
                    judged = await road.moderate(pb.Moderation.FromString(job.request))
                    return Done(pb.Result(moderations=judged).SerializeToString())
        except grpc.aio.AioRpcError as error:
            raise Failed(fault_of(error)) from None
        raise Failed(Fault(12, "KIND_UNKNOWN", f"this worker knows no work of kind {job.kind}"))


@dataclass(slots=True)
class Road:
    """One try of a job. All of them go by one key, and say which they are: the job is charged once."""

    gateway: gateway_pb2_grpc.GatewayServiceStub
    job: Job
    token: str = field(repr=False)
    within_s: float

    async def complete(self, chat: pb.Chat, part: str = "") -> gateway_pb2.CompleteResponse:
        """`part` tells calls of one job apart."""
        asked = gateway_pb2.CompleteRequest(chat=chat.chat, options=self._options(chat))
        asked.options.idempotency_key += part
        return await self.gateway.Complete(asked, metadata=self._metadata, timeout=self.within_s)

    async def streamed(self, chat: pb.Chat, shown: Shown) -> gateway_pb2.CompleteResponse:
        """As `complete`, and tells what is there of the first choice as it grows."""
        asked = gateway_pb2.StreamCompleteRequest(chat=chat.chat, options=self._options(chat), whole=True)
        made, text = gateway_pb2.CompleteResponse(), ""
        async for piece in self.gateway.StreamComplete(asked, metadata=self._metadata, timeout=self.within_s):
            said = "".join(one.content for one in piece.chunk.choices if one.index == 0)
            if said:
                text += said
                shown(text)
            if piece.HasField("road"):
                made.road.CopyFrom(piece.road)
            if piece.HasField("completion"):
                made.completion.CopyFrom(piece.completion)
        return made

    async def embed(self, embedding: pb.Embedding, part: str = "") -> gateway_pb2.EmbedResponse:
        """`part` tells calls of one job apart."""
        request = gateway_pb2.EmbedRequest(
            model=embedding.model,
            texts=embedding.texts,
            dimensions=embedding.dimensions,
            idempotency_key=f"{self.job.id}{part}",
            attempt=self.job.attempts,
            priority=models_pb2.PRIORITY_LOW,
        )
        return await self.gateway.Embed(request, metadata=self._metadata, timeout=self.within_s)

    async def moderate(self, moderation: pb.Moderation) -> gateway_pb2.ModerateResponse:
        request = gateway_pb2.ModerateRequest(
            model=moderation.model,
            texts=moderation.texts,
            idempotency_key=str(self.job.id),
            attempt=self.job.attempts,
            priority=models_pb2.PRIORITY_LOW,
        )
        return await self.gateway.Moderate(request, metadata=self._metadata, timeout=self.within_s)

    def _options(self, chat: pb.Chat) -> gateway_pb2.Options:
        made = gateway_pb2.Options()
        made.CopyFrom(chat.options)
        made.idempotency_key, made.attempt = str(self.job.id), self.job.attempts
        made.ClearField("defer_after")
        return made

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)


async def graded(road: Road, evaluation: pb.Evaluation) -> Done:
    """A case's answer, and its scores."""
    case, began, result = evaluation.cases[0], time.monotonic(), pb.Result()
    if case.HasField("answer"):
        message = chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, parts=[chat_pb2.ContentPart(text=case.answer)])
        result.completion.completion.choices.add(message=message, finish_reason=chat_pb2.FINISH_REASON_STOP)
    else:
        result.completion.CopyFrom(await road.streamed(case.chat, lambda _: None))  # as a stream it tells its cost
        result.took.FromNanoseconds(int((time.monotonic() - began) * 1e9))
    choices = result.completion.completion.choices
    answer = "".join(part.text for part in choices[0].message.parts) if choices else ""
    scores = {one.name: await _score(road, one, answer, case) for one in evaluation.measures}
    return Done(result.SerializeToString(), scores)


async def _score(road: Road, measure: pb.Measure, answer: str, case: pb.Case) -> float:
    expected = case.expected
    match measure.kind:
        case pb.Measure.KIND_REGEX:
            return grading.found(answer, measure.pattern, ignore_case=measure.ignore_case)
        case pb.Measure.KIND_SCHEMA:
            return grading.fits(answer, measure.schema_json)
        case pb.Measure.KIND_JUDGE:
            return await _grade(road, measure, answer, case)
        case pb.Measure.KIND_EXACT:
            return grading.exact(answer, expected, ignore_case=measure.ignore_case)
        case pb.Measure.KIND_CONTAINS:
            return grading.contains(answer, expected, ignore_case=measure.ignore_case)
        case pb.Measure.KIND_NUMERIC:
            return grading.numeric(answer, expected, measure.tolerance)
        case pb.Measure.KIND_JSON:
            return grading.fields(answer, expected, ignore_case=measure.ignore_case)
    if not answer.strip() or not expected.strip():
        return float(answer.strip() == expected.strip())
    both = await road.embed(pb.Embedding(model=JUDGE, texts=[answer, expected]), f"-{measure.name}"[:SHORT])
    one, other = both.embeddings
    return grading.cosine(one.values, other.values)


async def _grade(road: Road, measure: pb.Measure, answer: str, case: pb.Case) -> float:
    """What a judge makes of an answer.

    Raises:
        Failed: it says no number: another try may bring one.
    """
    question = "\n".join(part.text for one in case.chat.chat.messages for part in one.parts if part.text)
    asked = pb.Chat()
    asked.chat.model, asked.chat.temperature = measure.judge, 0.0
    text = grading.question_for_judge(question, case.expected, answer, measure.rubric)
    asked.chat.messages.add(role=chat_pb2.ROLE_USER).parts.add(text=text)
    made = await road.complete(asked, f"-{measure.name}"[:SHORT])
    said = "".join(part.text for part in made.completion.choices[0].message.parts) if made.completion.choices else ""
    grade = grading.judged(said)
    if grade is None:
        raise Failed(Fault(grpc.StatusCode.INTERNAL.value[0], "JUDGE_UNCLEAR", f"{measure.judge} gave no grade"))
    return grade


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """What a failed call says, without what it may quote."""
    code: Any = error.code()
    after = 0.0
    if (status := rpc_status.from_call(error)) is not None:  # type: ignore[arg-type]
        for detail in status.details:
            if detail.Is(RetryInfo.DESCRIPTOR):
                found = RetryInfo()
                detail.Unpack(found)
                after = found.retry_delay.seconds + found.retry_delay.nanos / 1e9
    return Fault(code.value[0], info_of(error).reason or code.name, (error.details() or "")[:500], after)
