"""Responses that are kept with the jobs service: asked for by their ids, and gone on from."""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2
from tollway.jobs.v1 import jobs_pb2 as pb
from tollway.jobs.v1 import jobs_pb2_grpc

from services.edge.wire import response_items
from services.edge.wire.errors import Refusal
from services.edge.wire.tool_use import called

log = logging.getLogger(__name__)

ID = re.compile(r"resp_([0-9a-f]{32})")
WITHIN_S = 2.0
"""How long an answer that is there waits to be kept."""
AGAIN_S = 5.0
LONGEST_S = 30 * 86_400.0
KINDS = ("chat", "answer")
"""Jobs that are responses: those in the background, and those that were answered at once."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Which responses are kept, and how long."""

    unasked: bool = True
    """Also where `store` is not said, as OpenAI has it."""
    for_s: float = 7 * 86_400.0
    """At most 30 days. Those in the background are kept as jobs are."""


@dataclass(slots=True)
class Kept:
    jobs: jobs_pb2_grpc.JobsServiceStub
    reach: Callable[[], Awaitable[None]]
    """Waits for the jobs service, or refuses."""
    keeping: Keeping
    now: Callable[[], float] = time.monotonic
    _again: float = -math.inf
    """When it is tried again, where the last answer was not kept: until then nobody waits in vain."""

    async def wanted(self, said: bool | None) -> bool:
        """Whether a response is to be kept, by its `store`. Where that insists, the service has to be there beforehand."""
        if said:
            await self.reach()
            return True
        return said is None and self.keeping.unasked and self.now() >= self._again

    async def keep(
        self, job_id: str, work: pb.Chat, created: int, made: gateway_pb2.CompleteResponse, turn_alone: bool = False
    ) -> bool:
        """Whether it is kept now, in its conversation too where it is a turn of one; with `turn_alone` there alone. An answer that was
        paid for goes out also where it cannot be."""
        length = Duration()
        length.FromTimedelta(timedelta(seconds=min(self.keeping.for_s, LONGEST_S)))
        asked = pb.KeepAnswerRequest(
            job_id=job_id, chat=work, completion=made, keep=length, asked=Timestamp(seconds=created),
            turn_alone=turn_alone,
        )  # fmt: skip
        try:
            await self.jobs.KeepAnswer(asked, timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:  # its conversation was deleted meanwhile
                return False
            self._again = self.now() + AGAIN_S
            log.warning("responses are not kept for %d s: %s", AGAIN_S, error.code().name)
            return False
        return True

    async def job(self, name: str) -> pb.Job:
        """The response of this id, as the job that it is.

        Raises:
            Refusal: there is none, or it is somebody else's.
        """
        if (found := ID.fullmatch(name)) is None:
            raise _unknown()
        asked = pb.GetJobRequest(job_id=str(uuid.UUID(found[1])), with_request=True)
        await self.reach()
        try:
            job = (await self.jobs.GetJob(asked)).job
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise _unknown() from None
            raise
        if job.kind not in KINDS:
            raise _unknown()
        return job

    async def before(self, name: str) -> "Said":
        """What the response of this id leaves to another that goes on from it.

        Raises:
            Refusal: there is none, or it has no answer.
        """
        try:
            job = await self.job(name)
        except Refusal as refusal:
            raise Refusal(400, "previous_response_not_found", refusal.message, param="previous_response_id") from None
        if not job.result.HasField("completion"):
            raise Refusal(
                400, "previous_response_not_completed", "the response has no answer to go on from",
                param="previous_response_id",
            )  # fmt: skip
        return Said.of(job)

    async def items(self, names: Iterable[str]) -> dict[str, chat.Message]:
        """Those of these items that are kept."""
        wanted: dict[str, list[str]] = {}
        for name in names:
            if of := response_items.response_of(name):
                wanted.setdefault(of, []).append(name)
        jobs = await asyncio.gather(*map(self._found, wanted))
        made: dict[str, chat.Message] = {}
        for job, items in zip(jobs, wanted.values(), strict=True):
            if job is None:
                continue
            for name in items:
                one = response_items.message_of(name, asked(job.chat), _said(job))
                if one is not None:
                    made[name] = one
        return made

    async def _found(self, name: str) -> pb.Job | None:
        try:
            return await self.job(name)
        except Refusal:
            return None


@dataclass(frozen=True, slots=True)
class Said:
    """A response that another may go on from."""

    job_id: str
    messages: Sequence[chat.Message]
    """What was asked and what was answered."""
    sealed_map: bytes = b""
    """Of what was masked in them."""
    tools: Sequence[chat.Tool] = ()
    """That the conversation has."""

    @classmethod
    def of(cls, job: pb.Job) -> "Said":
        said = _said(job)
        messages = [*asked(job.chat), *called(said.steps), said]
        return cls(job.job_id, messages, job.result.completion.road.sealed_map, lasting(job.chat.chat.tools))


def lasting(tools: Iterable[chat.Tool]) -> Sequence[chat.Tool]:
    return [one for one in tools if one.lasts]


def asked(work: pb.Chat) -> Sequence[chat.Message]:
    """The conversation that a response answers, without what is said for that answer alone."""
    return work.chat.messages[work.options.turn.instructed :]


def _said(job: pb.Job) -> chat.Message:
    made = chat.Message()
    for choice in job.result.completion.completion.choices[:1]:
        made.CopyFrom(choice.message)
    made.role = chat.ROLE_ASSISTANT
    return made


def _unknown() -> Refusal:
    return Refusal(404, "not_found", "no such response is kept: it was not to be (`store`), or it is no longer",
                   param="response_id")  # fmt: skip
