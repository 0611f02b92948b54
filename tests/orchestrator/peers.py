"""The services of the road, small and obedient; each can be away, and all keep what they were asked."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError, Metadata
from tollway.cache.v1 import cache_pb2
from tollway.chat.v1 import chat_pb2 as chat
from tollway.encoder.v1 import encoder_pb2
from tollway.guard.v1 import guard_pb2
from tollway.jobs.v1 import jobs_pb2
from tollway.ledger.v1 import ledger_pb2
from tollway.models.v1 import models_pb2
from tollway.registry.v1 import registry_pb2
from tollway.retrieval.v1 import retrieval_pb2
from tollway.router.v1 import router_pb2
from tollway.tools.v1 import tools_pb2

from services.orchestrator.peers import Peers


class Away(AioRpcError):
    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        super().__init__(code, Metadata(), Metadata(), "away", None)


class Stream:
    """A call that answers a stream."""

    def __init__(self, pieces: list[Any], error: Exception | None = None) -> None:
        self.pieces, self.error, self.cancelled = list(pieces), error, False

    async def read(self) -> Any:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        return grpc.aio.EOF

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._all()

    async def _all(self) -> AsyncIterator[Any]:
        while (piece := await self.read()) is not grpc.aio.EOF:
            yield piece

    def cancel(self) -> bool:
        self.cancelled = True
        return True


class Policies(Stream):
    """What the router pushes, again as it changes."""

    def __init__(self, mesh: "Mesh") -> None:
        super().__init__([])
        self.mesh = mesh
        self.told: router_pb2.WatchResponse | None = None

    async def read(self) -> Any:
        while self.mesh.looked_at is self.told:
            if "router" in self.mesh.away:
                raise Away(self.mesh.away["router"])
            await asyncio.sleep(0.001)
        self.told = self.mesh.looked_at
        return self.told


class Inspection(Stream):
    """The guard's stream: every chunk comes back as it went in."""

    def __init__(self) -> None:
        super().__init__([])

    async def write(self, request: guard_pb2.InspectCompletionRequest) -> None:
        if request.HasField("chunk"):
            self.pieces.append(guard_pb2.InspectCompletionResponse(chunk=request.chunk))

    async def done_writing(self) -> None:
        pass


class Talk:
    """A session with a model: it says what it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.opened = models_pb2.OpenSession()
        self.ended = False
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._hearing: asyncio.Task[None] | None = None

    def begin(self, requests: AsyncIterator[models_pb2.ConverseRequest]) -> "Talk":
        self._hearing = asyncio.create_task(self._hear(requests))
        return self

    async def _hear(self, requests: AsyncIterator[models_pb2.ConverseRequest]) -> None:
        async for one in requests:
            if one.HasField("open"):
                self.opened = one.open
            else:
                self.sent.append(json.loads(one.event))
        self._said.put_nowait(grpc.aio.EOF)

    def says(self, kind: str, **more: Any) -> None:
        beside = {name: more.pop(name) for name in ("usage", "transcript_usage", "transcript_seconds") if name in more}
        self._said.put_nowait(models_pb2.ConverseResponse(event=json.dumps({"type": kind, **more}), **beside))

    def breaks(self, error: Exception) -> None:
        self._said.put_nowait(error)

    async def read(self) -> Any:
        if isinstance(said := await self._said.get(), Exception):
            raise said
        return said

    def cancel(self) -> bool:
        self.ended = True
        if self._hearing is not None:
            self._hearing.cancel()
        return True


class Mesh:
    """All eight. `away` names those that do not answer; `asked` is what was called, in order."""

    def __init__(self) -> None:
        self.away: dict[str, grpc.StatusCode] = {}
        self.asked: list[str] = []
        self.apart: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}
        self.hit: cache_pb2.LookupResponse | None = None
        self.pieces = ["one ", "two"]
        self.lookups: list[chat.WebLookup] = []
        """Searches that the model's provider makes before it streams."""
        self.breaks = False
        self.blocked = False
        self.extra_input_tokens = 0
        self.cascade: router_pb2.Cascade | None = None
        self.adjustment: router_pb2.Adjustment | None = None
        """What the router's route has a model asked with."""
        self.looked_at = router_pb2.WatchResponse()
        """Beside the conversation, by routes."""
        self.good = True
        self.refuses_second_hold = False
        self.warnings: list[str] = []
        self.limits: list[ledger_pb2.RateLimit] = []
        self.slow_s = 0.0
        """How long a model takes."""
        self.gate = asyncio.Event()
        """A model answers once it is open."""
        self.gate.set()
        self.job = jobs_pb2.Job()
        self.lost = False
        self.found = True
        """Whether retrieval has a passage."""
        self.tiers = [encoder_pb2.TIER_STATIC, encoder_pb2.TIER_MINILM, encoder_pb2.TIER_BGE_SMALL]
        """That the encoder has."""
        self.quality = 1.0
        """What the router predicts."""
        self.findings: list[guard_pb2.Finding] = []
        self.decisions: list[registry_pb2.AwaitReviewResponse] = []
        """Of people who look at answers."""
        self.pushed: list[registry_pb2.WatchResponse] = []
        self.breaks_on = ""
        """The first message that no model answers."""
        self.resolved = registry_pb2.ResolveResponse()
        self.offered = [tools_pb2.Tool(name="box__say", server="box", input_schema_json="{}", digest="d1")]
        self.prompts = [tools_pb2.Prompt(name="box__letter", server="box", description="a letter", digest="p1")]
        self.described = "for letters"
        """What a prompt is for, once it is made."""
        self.resources = [
            tools_pb2.ResourceEntry(server="box", uri="box://tolls", name="tolls", digest="r1"),
            tools_pb2.ResourceEntry(server="box", uri="box://{who}", name="people", digest="r2", template=True),
        ]
        self.read = "nine crowns"
        """What a document says."""
        self.of_the_house = False
        self.masks = False
        """Whether the guard masks all that it sees."""
        self.returned = tools_pb2.Result()
        """What a tool returns."""
        self.wants: list[list[chat.ToolCall]] = []
        """What the model calls, each time that it is asked, before it answers."""
        self.poisoned = ""
        """The guard refuses what has these words in it."""
        self.kept_to: list[str] = []
        """The only models that the guard's verdict lets data go to."""
        self.talk = Talk()
        self.refuses_holds = False
        self.channels: dict[str, Any] = {}
        self.all: list[tuple[str, Any]] = []
        self.answered: list[tuple[str, Any]] = []

    def peers(self) -> Peers:
        names = set(Peers.__dataclass_fields__) - {"channels"}
        return Peers(**{name: Stub(self, name) for name in names}, channels=self.channels)  # type: ignore[arg-type]

    def answer(self, service: str, name: str, request: Any) -> Any:
        self.asked.append(f"{service}.{name}")
        self.messages[f"{service}.{name}"] = request
        self.all.append((name, request))
        if service in self.away:
            raise Away(self.away[service])
        made = getattr(self, f"_{name}")(request)
        self.answered.append((name, request))
        return made

    def _Encode(self, request: Any) -> Any:
        return encoder_pb2.EncodeResponse(vectors=[encoder_pb2.Vector(model="s", values=b"0000")])

    def _ListModels(self, request: Any) -> Any:
        return encoder_pb2.ListModelsResponse(models=[encoder_pb2.Model(tier=tier, name="m") for tier in self.tiers])

    def _InspectPrompt(self, request: Any) -> Any:
        poisoned = self.poisoned and self.poisoned in str(request)
        action = guard_pb2.ACTION_BLOCK if self.blocked or poisoned else guard_pb2.ACTION_ALLOW
        verdict = guard_pb2.Verdict(action=action, rule="injection.user", data_class="restricted", models=self.kept_to)
        made = guard_pb2.InspectPromptResponse(verdict=verdict, policy_version="p1", findings=self.findings)
        if self.masks:
            made.masked, made.sealed_map = True, b"sealed"
            for one in request.messages:
                masked = made.messages.add()
                masked.CopyFrom(one)
                for part in masked.parts:
                    part.text = "[MASKED]"
                for call in masked.tool_calls:
                    call.arguments = call.arguments.replace("Ada", "[PERSON_1]")
        return made

    def _InspectAnswer(self, request: Any) -> Any:
        return guard_pb2.InspectAnswerResponse(completion=request.completion)

    def _Lookup(self, request: Any) -> Any:
        return self.hit or cache_pb2.LookupResponse(miss_reason="NO_CANDIDATE", exact_key="k")

    def _ReportHit(self, request: Any) -> Any:
        return cache_pb2.ReportHitResponse(known=True, judgement=cache_pb2.JUDGEMENT_RIGHT)

    def _Store(self, request: Any) -> Any:
        return cache_pb2.StoreResponse(stored=True)

    def _Route(self, request: Any) -> Any:
        candidates = [router_pb2.Candidate(model="m", max_output_tokens=500, reason="r", quality=self.quality)]
        if self.cascade is not None:
            candidates.insert(0, router_pb2.Candidate(model="cheap", max_output_tokens=100, reason="cascade"))
        return router_pb2.RouteResponse(
            candidates=candidates, decision_id="d1", cascade=self.cascade, adjustment=self.adjustment,
            route="careful" if self.adjustment is not None else "",
        )  # fmt: skip

    def _Judge(self, request: Any) -> Any:
        return router_pb2.JudgeResponse(good=self.good, score=0.5, reason="good" if self.good else "unsure")

    def _Reserve(self, request: Any) -> Any:
        if self.refuses_holds:
            raise Away(grpc.StatusCode.RESOURCE_EXHAUSTED)
        if self.refuses_second_hold and len([one for one in self.asked if one == "ledger.Reserve"]) > 1:
            raise Away(grpc.StatusCode.RESOURCE_EXHAUSTED)
        hold = f"hold of {request.attempts[0].model}" if request.attempts else "hold"
        return ledger_pb2.ReserveResponse(
            held_nano_usd=70, hold=hold.encode(), warnings=self.warnings, limits=self.limits
        )

    def _CarveAllowance(self, request: Any) -> Any:
        prices = [
            ledger_pb2.ModelPrice(
                model=one.model, known=True, input_nano_usd_per_million=10**6, output_nano_usd_per_million=10**6
            )
            for one in request.models
        ]
        return ledger_pb2.CarveAllowanceResponse(
            allowance=b"allowance", nano_usd=request.nano_usd, tokens=request.tokens, requests=request.requests,
            concurrent=request.concurrent, expires=Timestamp(seconds=int(time.time()) + 3600), prices=prices, counts_money=True,
        )  # fmt: skip

    def _Settle(self, request: Any) -> Any:
        return ledger_pb2.SettleResponse(cost_nano_usd=7)

    def _Release(self, request: Any) -> Any:
        return ledger_pb2.ReleaseResponse()

    def _Generate(self, request: Any) -> Any:
        if self._cannot(request):
            raise Away(grpc.StatusCode.INTERNAL)
        name = request.candidates[0]
        if name in self.away:
            raise Away(self.away[name])
        text = "one two" if name == "m" else f"of {name}"
        said = chat.Message(role=chat.ROLE_ASSISTANT, parts=[chat.ContentPart(text=text)])
        why = chat.FINISH_REASON_STOP
        if self.wants:
            why = chat.FINISH_REASON_TOOL_CALLS
            said = chat.Message(role=chat.ROLE_ASSISTANT, tool_calls=self.wants.pop(0))
        choices = [chat.Choice(index=n, message=said, finish_reason=why) for n in range(request.chat.n or 1)]
        made = chat.ChatCompletion(
            id="c", model=name, choices=choices, usage=chat.Usage(input_tokens=9, output_tokens=2, **self.apart)
        )
        return models_pb2.GenerateResponse(
            completion=made, model=name, attempts=1, extra_input_tokens=self.extra_input_tokens
        )

    def _Embed(self, request: Any) -> Any:
        return models_pb2.EmbedResponse(embeddings=[models_pb2.Embedding(values=[1.0])], input_tokens=4, model="e")

    def _Rerank(self, request: Any) -> Any:
        ranked = [models_pb2.Ranked(index=n, score=1.0 / (n + 1)) for n in range(len(request.documents))]
        return models_pb2.RerankResponse(ranked=ranked, input_tokens=4, model=request.model)

    def _Moderate(self, request: Any) -> Any:
        told = models_pb2.Moderation(flagged=True, categories={"violence": models_pb2.Harm(flagged=True, score=0.9)})
        return models_pb2.ModerateResponse(moderations=[told] * len(request.texts), input_tokens=4, model=request.model)

    def _GenerateImages(self, request: Any) -> Any:
        usage = chat.Usage(input_tokens=3, output_tokens=40, kinds=chat.TokenKinds(image_output_tokens=40))
        images = [models_pb2.GeneratedImage(data=b"x")] * (request.count or 1)
        return models_pb2.GenerateImagesResponse(images=images, usage=usage, model=request.model)

    def _Transcribe(self, request: Any) -> Any:
        usage = chat.Usage(input_tokens=7, kinds=chat.TokenKinds(audio_input_tokens=7))
        said = models_pb2.Transcript(text=f"{len(request.recording.data)} bytes, {request.most_seconds} s")
        return models_pb2.TranscribeResponse(transcript=said, usage=usage, model=request.model)

    def _CountTokens(self, request: Any) -> Any:
        return models_pb2.CountTokensResponse(input_tokens=9)

    def _GetJob(self, request: Any) -> Any:
        if not self.job.job_id:
            raise Away(grpc.StatusCode.NOT_FOUND)
        return jobs_pb2.GetJobResponse(job=self.job)

    def _CreateJob(self, request: Any) -> Any:
        self.job = jobs_pb2.Job(job_id=request.holding.job_id, state=jobs_pb2.STATE_RUNNING)
        return jobs_pb2.CreateJobResponse(job=self.job, lease=Duration(nanos=60_000_000))

    def _ReportJob(self, request: Any) -> Any:
        if self.lost:
            raise Away(grpc.StatusCode.FAILED_PRECONDITION)
        if request.WhichOneof("end") == "result":
            self.job.state = jobs_pb2.STATE_SUCCEEDED
            self.job.result.CopyFrom(request.result)
        return jobs_pb2.ReportJobResponse(lease=Duration(nanos=60_000_000))

    def _ExchangeToken(self, request: Any) -> Any:
        return ledger_pb2.ExchangeTokenResponse(
            token=f"new for {request.key_id}", expires=Timestamp(seconds=2_000_000_000)
        )

    def _Resolve(self, request: Any) -> Any:
        return self.resolved

    def _AppendAudit(self, request: Any) -> Any:
        if "audit" in self.away:
            raise Away(self.away["audit"])
        return registry_pb2.AppendAuditResponse()

    def _SuspendAccount(self, request: Any) -> Any:
        return ledger_pb2.SuspendAccountResponse()

    def _Erase(self, request: Any) -> Any:
        kinds = {"jobs": 2} if isinstance(request, jobs_pb2.EraseRequest) else {}
        return cache_pb2.EraseResponse(erased=kinds)

    def _RecordAnswer(self, request: Any) -> Any:
        return registry_pb2.RecordAnswerResponse(record_id="5f0c6e9e-3a0f-4b6e-9f5e-0f0f0f0f0f0f")

    def _AwaitReview(self, request: Any) -> Any:
        return self.decisions.pop(0)

    def _Mirror(self, request: Any) -> Any:
        return registry_pb2.MirrorResponse()

    def _ReportOutcome(self, request: Any) -> Any:
        return registry_pb2.ReportOutcomeResponse()

    def _Search(self, request: Any) -> Any:
        passages = [retrieval_pb2.Passage(document_id="d", text="nine crowns")] if self.found else []
        return retrieval_pb2.SearchResponse(passages=passages, epoch=3)

    def _ListTools(self, request: Any) -> Any:
        server = tools_pb2.Server(name="box", available=True, tools=len(self.offered))
        gone = tools_pb2.Withheld(name="box__gone", reason="it is no longer what was approved")
        return tools_pb2.ListToolsResponse(tools=self.offered, servers=[server], withheld=[gone])

    def _GetTool(self, request: Any) -> Any:
        found = next((one for one in self.offered if one.name == request.name), None)
        if found is None:
            raise Away(grpc.StatusCode.NOT_FOUND)
        return tools_pb2.GetToolResponse(tool=found)

    def _ListPrompts(self, request: Any) -> Any:
        return tools_pb2.ListPromptsResponse(prompts=self.prompts)

    def _DescribePrompt(self, request: Any) -> Any:
        found = next((one for one in self.prompts if one.name == request.name), None)
        if found is None:
            raise Away(grpc.StatusCode.NOT_FOUND)
        return tools_pb2.DescribePromptResponse(prompt=found)

    def _GetPrompt(self, request: Any) -> Any:
        texts = [f"write to {request.arguments['to']}", "I shall"]
        said = [
            tools_pb2.PromptMessage(role=role, content=tools_pb2.Content(text=text))
            for role, text in zip(("user", "assistant"), texts, strict=True)
        ]
        return tools_pb2.GetPromptResponse(description=self.described, messages=said)

    def _ListResources(self, request: Any) -> Any:
        found = [one for one in self.resources if one.template == request.templates]
        return tools_pb2.ListResourcesResponse(resources=found, next_page_token="more")

    def _DescribeResource(self, request: Any) -> Any:
        found = next((one for one in self.resources if one.uri == request.uri), None)
        entry = found or tools_pb2.ResourceEntry(server=request.server, uri=request.uri, trusted=self.of_the_house)
        return tools_pb2.DescribeResourceResponse(resource=entry, listed=found is not None)

    def _ReadResource(self, request: Any) -> Any:
        if self.breaks:
            raise Away()
        return tools_pb2.ReadResourceResponse(contents=[tools_pb2.Resource(uri=request.uri, text=self.read)])

    def _CallTool(self, request: Any) -> Any:
        if self.breaks:
            raise Away()
        return tools_pb2.CallToolResponse(result=self.returned)

    def _Compress(self, request: Any) -> Any:
        return models_pb2.CompressResponse(texts=request.texts)

    def _CompressChat(self, request: Any) -> Any:
        made = models_pb2.CompressChatResponse(chat=request.chat, tokens_before=900, tokens_after=300)
        del made.chat.messages[0]
        return made

    def _cannot(self, request: Any) -> bool:
        return bool(self.breaks_on) and request.chat.messages[0].parts[0].text == self.breaks_on

    def stream(self, service: str, name: str, request: Any) -> Any:
        self.asked.append(f"{service}.{name}")
        self.messages[f"{service}.{name}"] = request
        if name == "InspectCompletion":
            return Inspection()
        if name == "Converse":
            return self.talk.begin(request)
        if name == "Watch" and service == "models" and service not in self.away:
            return Stream([models_pb2.WatchResponse(models=[models_pb2.Health(model="m", available=True)])])
        if name == "Watch" and service in self.away:
            return Stream([], Away(self.away[service]))
        if name == "Watch" and service == "registry":
            return Stream(self.pushed)
        if name == "Watch" and service == "router":
            return Policies(self)
        if name == "Watch":
            return Stream([retrieval_pb2.WatchResponse(epoch=3)])
        if service in self.away:
            return Stream([], Away(self.away[service]))
        if self._cannot(request):
            return Stream([], Away(grpc.StatusCode.INTERNAL))
        if name == "Speak":
            usage = chat.Usage(input_tokens=3, output_tokens=20, kinds=chat.TokenKinds(audio_output_tokens=20))
            first = models_pb2.SpeakResponse(
                audio=request.text.encode(), content_type="audio/mpeg", model=request.model
            )
            return Stream([first], Away()) if self.breaks else Stream([first, models_pb2.SpeakResponse(usage=usage)])
        deltas = [chat.ChoiceDelta(content=text) for text in self.pieces]
        deltas = [chat.ChoiceDelta(lookups=self.lookups), *deltas] if self.lookups else deltas
        why = chat.FINISH_REASON_STOP
        if self.wants:
            why, calls = chat.FINISH_REASON_TOOL_CALLS, self.wants.pop(0)
            pieces = [
                chat.ToolCallDelta(index=n, id=one.id, name=one.name, arguments=one.arguments)
                for n, one in enumerate(calls)
            ]
            deltas = [chat.ChoiceDelta(content="let me look "), chat.ChoiceDelta(tool_calls=pieces)]
        chunks = [chat.ChatChunk(id="c", model="m", choices=[delta]) for delta in deltas]
        if self.breaks:
            return Stream([models_pb2.StreamGenerateResponse(chunk=one, model="m") for one in chunks], Away())
        last = chat.ChatChunk(id="c", model="m", choices=[chat.ChoiceDelta(finish_reason=why)])
        last.usage.input_tokens, last.usage.output_tokens = 9, 2
        return Stream([models_pb2.StreamGenerateResponse(chunk=one, model="m") for one in [*chunks, last]])


class Stub:
    def __init__(self, mesh: Mesh, service: str) -> None:
        self.mesh, self.service = mesh, service

    def __getattr__(self, name: str) -> Any:
        if name in ("StreamGenerate", "Speak", "InspectCompletion", "Converse", "Watch"):
            return lambda request=None, **_: self.mesh.stream(self.service, name, request)

        async def call(request: Any, **_: Any) -> Any:
            made = self.mesh.answer(self.service, name, request)
            if name == "Generate":
                await asyncio.sleep(self.mesh.slow_s)
                await self.mesh.gate.wait()
            return made

        return call
