"""The end of step 7: brings a long conversation to the tokens that its request or its project allows."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from tollway.models.v1 import models_pb2

from services.orchestrator import bounds
from services.orchestrator.facts import Models
from services.orchestrator.failures import EVERYBODY, away
from services.orchestrator.journey import Journey
from services.orchestrator.peers import Peers
from services.runtime import telemetry

FILLED = 0.9
"""Of what a model holds: its provider counts by a vocabulary of its own."""
ANSWERED = 4
"""A model that may write all that it holds is left this part of it for its answer."""


@dataclass(frozen=True, slots=True)
class Shortening:
    peers: Peers
    models: Models
    context_tokens: Mapping[str, int]
    """By account, `*` for all others."""
    within_s: float

    async def shorten(self, journey: Journey) -> None:
        """Sends a conversation whole where nobody can shorten it."""
        accounts = self.context_tokens
        most = journey.options.context_tokens or accounts.get(journey.caller.account) or accounts.get(EVERYBODY, 0)
        if journey.options.fit_context and (room := self._room(journey)):
            most = min(most or room, room)
        if not most or bounds.said_tokens(journey.asked) <= most:
            return
        try:
            made = await self.peers.models.CompressChat(
                models_pb2.CompressChatRequest(chat=journey.asked, max_tokens=most), timeout=self.within_s
            )
        except grpc.aio.AioRpcError as error:
            if not away(error):
                raise
            telemetry.event("sent whole", code=error.code().name)
            return
        if made.tokens_after < made.tokens_before:
            journey.laid_out = made.chat
            journey.road.tokens_left_out = made.tokens_before - made.tokens_after
            journey.controls.no_store = True  # others who ask the same may have sent all of it

    def _room(self, journey: Journey) -> int:
        """Tokens of a prompt that the first candidate holds beside its answer; 0 while nobody knows."""
        first = journey.candidates[0]
        known = self.models.known.get(first.model)
        if known is None or not known.context_tokens:
            return 0
        answer = journey.most_asked or min(first.max_output_tokens, known.context_tokens // ANSWERED)
        return max(int((known.context_tokens - answer) * FILLED), 1)
