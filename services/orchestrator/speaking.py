"""Texts spoken, by a provider's model."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator import bounds
from services.orchestrator.metered import Metered, known
from services.orchestrator.road import Road


@dataclass(frozen=True, slots=True)
class Speaking:
    road: Road

    async def speak(self, request: pb.SpeakRequest) -> AsyncGenerator[pb.SpeakResponse, None]:
        """The first message tells of the road, the last what is billed. One that ends early has cost the most that it could: providers
        bill a text, however much of its sound is heard.

        Raises:
            NobodyCan: the request names no model, and there is none.
        """
        model = await known(self.road, request.model, lambda one: one.character_tokens > 0, "character_tokens")
        request.model = model.name

        def most(texts: Sequence[str]) -> chat.Usage:
            sound = len(texts[0]) * model.character_tokens
            return chat.Usage(output_tokens=sound, kinds=chat.TokenKinds(audio_output_tokens=sound))

        texts = [one for one in (request.text, request.options.instructions) if one]
        async with Metered(self.road, "chat", most).paid(request, texts) as paid:
            await self.road.peers.reach("models", self.road.waits.restart_s)
            call = self.road.peers.models.Speak(_asked(request, paid.texts))
            try:
                async for piece in call:
                    told = pb.SpeakResponse(audio=piece.audio, content_type=piece.content_type, model=piece.model)
                    if paid.usage is None:
                        paid.usage = most(paid.texts)
                        paid.usage.input_tokens = bounds.texts(paid.texts)
                        told.road.CopyFrom(paid.road)
                    if piece.HasField("usage"):
                        paid.usage = piece.usage
                        told.usage.CopyFrom(piece.usage)
                    yield told
            finally:
                call.cancel()


def _asked(request: pb.SpeakRequest, texts: Sequence[str]) -> models_pb2.SpeakRequest:
    asked = models_pb2.SpeakRequest(
        model=request.model, text=texts[0], options=request.options, priority=request.priority
    )
    asked.options.instructions = texts[1] if len(texts) > 1 else ""
    return asked
