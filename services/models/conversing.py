"""Sessions with a model: what the caller says goes to the provider, and what that says comes back, until either ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from tollway.models.v1 import models_pb2 as pb

from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.adapter import Session
from services.runtime.errors import Failure, Kind


class OpenMissing(Failure):
    kind, reason = Kind.INVALID, "OPEN_MISSING"
    text = "the first message opens the session, and no other does"
    field = "open"


async def conversed(
    ranking: Ranking, opening: pb.OpenSession, asker: Asker, rest: AsyncIterator[pb.ConverseRequest]
) -> AsyncGenerator[pb.ConverseResponse, None]:
    """What the model of `opening` says to `rest`; the end of `rest` is the session's.

    Raises:
        Failure: no deployment can be reached, or the provider ends the session before its time.
    """
    async with ranking.converse(opening.model, asker, transcribes=opening.transcribes) as (session, observed):
        wrong = list[Failure]()
        sending = asyncio.create_task(_sent(session, rest, wrong))
        try:
            async for told in session.told():
                if told.usage is not None:
                    observed.used(told.usage)
                yield pb.ConverseResponse(
                    event=told.event,
                    usage=told.usage,
                    transcript_usage=told.transcript_usage,
                    transcript_seconds=told.transcript_seconds,
                )
            if wrong:
                raise wrong[0]
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, Failure):  # of a provider that is gone, `told` has said so
                await sending


async def _sent(session: Session, rest: AsyncIterator[pb.ConverseRequest], wrong: list[Failure]) -> None:
    """Until there is no more, or `wrong` has been said."""
    try:
        async for one in rest:
            if one.WhichOneof("message") != "event":
                wrong.append(OpenMissing())
                return
            await session.send(one.event)
    finally:
        await session.close()
