"""Texts ranked by how well they answer a query: by a provider's model, or by vectors of the encoder of the mesh."""

from dataclasses import dataclass

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.models.v1 import models_pb2

from services.orchestrator import encoded
from services.orchestrator.encoded import LOCAL
from services.orchestrator.metered import Metered
from services.orchestrator.road import Road


@dataclass(frozen=True, slots=True)
class Reranking:
    road: Road

    async def rerank(self, request: pb.RerankRequest) -> pb.RerankResponse:
        work = self._here if request.model in LOCAL else self._there
        made = await Metered(self.road).run(
            request, [request.query, *request.documents], lambda texts: work(request, texts)
        )
        if request.top_n:
            del made.ranked[request.top_n :]
        return made

    async def _there(self, request: pb.RerankRequest, texts: list[str]) -> pb.RerankResponse:
        await self.road.peers.reach("models", self.road.waits.restart_s)
        query, *documents = texts
        asked = models_pb2.RerankRequest(
            model=request.model, query=query, documents=documents, priority=request.priority
        )
        found = await self.road.peers.models.Rerank(asked)
        return pb.RerankResponse(ranked=found.ranked, input_tokens=found.input_tokens, model=found.model)

    async def _here(self, request: pb.RerankRequest, texts: list[str]) -> pb.RerankResponse:
        """By the cosine of each text's vector with the query's."""
        query, *documents = await encoded.vectors(self.road, request.model, texts)
        scores = [float(query @ one) for one in documents]
        made = pb.RerankResponse(model=request.model, input_tokens=encoded.tokens(texts))
        for n in sorted(range(len(scores)), key=lambda n: -scores[n]):
            made.ranked.add(index=n, score=scores[n])
        return made
