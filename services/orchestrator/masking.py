"""What a caller says in a session, masked: the same value has the same placeholder as long as the session lasts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.guard.v1 import guard_pb2
from tollway.models.v1 import models_pb2

from services.orchestrator.dialogue import Text
from services.orchestrator.failures import PromptRefused
from services.orchestrator.residency import heed
from services.orchestrator.road import Road
from services.runtime import identity


@dataclass(slots=True)
class Masking:
    road: Road
    model: models_pb2.Model
    sent: Callable[[str, str], None]
    """Told what goes in the place of what."""
    sealed_map: bytes = b""

    async def mask(self, texts: Sequence[Text]) -> None:
        """Puts what may be sent in the place of what is said.

        Raises:
            PromptRefused, DataKept
            AioRpcError: what the guard says.
        """
        messages = [chat.Message(role=one.role, parts=[chat.ContentPart(text=one.value)]) for one in texts]
        await self.road.tokens.fresh()
        asked = guard_pb2.InspectPromptRequest(
            messages=messages, sealed_map=self.sealed_map, vector=await self._vector(texts)
        )
        seen = await self.road.inspected(asked)
        if seen.verdict.action == guard_pb2.ACTION_BLOCK:
            raise PromptRefused(rule=seen.verdict.rule)
        heed(self.model, identity.caller().regions, seen.verdict)
        self.sealed_map = seen.sealed_map
        if seen.masked:
            for text, message in zip(texts, seen.messages, strict=True):
                own, masked = text.value, message.parts[0].text
                self.sent(masked, own)
                text.put(masked)

    async def _vector(self, texts: Sequence[Text]) -> encoder_pb2.Vector | None:
        """Of what the user says last: topics are judged by it. Without an encoder they are judged by words alone."""
        said = [one.value for one in texts if one.role == chat.ROLE_USER]
        if not said:
            return None
        try:
            return await self.road.encoded(said[-1])
        except grpc.aio.AioRpcError:
            return None
