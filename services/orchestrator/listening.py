"""Speech written down, by a provider's model."""

from dataclasses import dataclass

from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator.bounds import seconds
from services.orchestrator.metered import Metered, known
from services.orchestrator.road import Road


@dataclass(frozen=True, slots=True)
class Listening:
    road: Road

    async def transcribe(self, request: pb.TranscribeRequest) -> pb.TranscribeResponse:
        """
        Raises:
            NobodyCan: the request names no model, and there is none.
        """
        model = await known(self.road, request.model, lambda one: one.second_tokens > 0, "second_tokens")
        request.model = model.name
        long = seconds(request.recording.data)
        most = long * model.second_tokens
        beside = chat.Usage(input_tokens=most, output_tokens=most, kinds=chat.TokenKinds(audio_input_tokens=most))
        metered = Metered(self.road, "chat", lambda _: beside)
        texts = [request.recording.prompt] if request.recording.prompt else []
        return await metered.run(request, texts, lambda masked: self._heard(request, long, masked))

    async def _heard(self, request: pb.TranscribeRequest, long: int, texts: list[str]) -> pb.TranscribeResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        asked = models_pb2.TranscribeRequest(
            model=request.model, recording=request.recording, priority=request.priority, most_seconds=long
        )
        asked.recording.prompt = texts[0] if texts else ""
        found = await self.road.peers.models.Transcribe(asked)
        return pb.TranscribeResponse(transcript=found.transcript, usage=found.usage, model=found.model)
