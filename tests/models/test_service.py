"""The models service's contract over every transport."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from tollway.chat.v1 import chat_pb2 as chat
from tollway.models.v1 import models_pb2 as pb
from tollway.models.v1 import models_pb2_grpc

from services.models.catalogue import Catalogue, Entry
from services.models.ranking import Ranking
from services.models.service import ModelsService
from services.models.wires.openai import OpenAI
from services.runtime.http import session
from services.runtime.secrets import Secrets
from services.runtime.server import Service
from tests.models.upstream import compressor, counter
from tests.peers.provider import Provider, provider
from tests.support.callers import identity
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS, channel_to
from tests.support.stubs import Called
from tests.support.waiting import until


@pytest.fixture(scope="module")
def peer() -> Any:
    with provider() as made:
        yield made


class Models(Called):
    ranking: Ranking


@pytest.fixture(params=TRANSPORTS)
async def models(request: pytest.FixtureRequest, peer: Provider) -> AsyncIterator[Models]:
    names = ("echo", "busy", "broken", "cut", "quiet")
    entries = {name: Entry(name, base_url=peer.url) for name in names}
    entries["vectors"] = Entry("vectors", base_url=peer.url, embeddings=True)
    entries["judge"] = Entry("judge", base_url=peer.url, rerank=True)
    entries["scribe"] = Entry("scribe", base_url=peer.url, second_tokens=10)
    entries["speaker"] = Entry("speaker", base_url=peer.url, character_tokens=2)
    entries["painter"] = Entry("painter", base_url=peer.url, image_tokens=1000)
    entries["talker"] = Entry("talker", base_url=peer.url, realtime=True)
    entries["censor"] = Entry("censor", base_url=peer.url, moderation=True)
    async with session() as http:
        ranking = Ranking(Catalogue(entries), {"openai": OpenAI(http, counter())}, Secrets(http))
        service = ModelsService(ranking, compressor())
        register = partial(models_pb2_grpc.add_ModelsServiceServicer_to_server, service)
        served = Service("tollway.models.v1.ModelsService", "models.tollway", register, identity())
        async with channel_to(served, request.param) as channel:
            made = Models(models_pb2_grpc.ModelsServiceStub(channel))
            made.ranking = ranking
            yield made


def asking(model: str = "echo", text: str = "hello") -> chat.ChatRequest:
    message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)])
    return chat.ChatRequest(model=model, messages=[message])


async def test_generates_whole_and_streamed(models: Models) -> None:
    made = await models.Generate(pb.GenerateRequest(chat=asking()))
    assert made.completion.choices[0].message.parts[0].text == "You said: hello" and (made.model, made.attempts) == (
        "echo",
        1,
    )
    call = models.StreamGenerate(pb.StreamGenerateRequest(chat=asking()))
    pieces = [one async for one in call]
    assert "".join(c.content for one in pieces for c in one.chunk.choices) == "You said: hello"
    assert pieces[-1].chunk.usage.output_tokens == 5


async def test_goes_down_the_candidates(models: Models) -> None:
    made = await models.Generate(pb.GenerateRequest(chat=asking(), candidates=["busy", "broken", "echo"]))
    assert made.model == "echo" and made.attempts == 4
    assert await refused(models.Generate(pb.GenerateRequest(chat=asking("unheard-of")))) == (
        grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN",
    )  # fmt: skip


async def test_a_broken_stream_has_no_clean_end(models: Models) -> None:
    async def read() -> None:
        async for _ in models.StreamGenerate(pb.StreamGenerateRequest(chat=asking("cut"))):
            pass

    assert await refused(read()) == (grpc.StatusCode.UNAVAILABLE, "PROVIDER_BROKE")


async def test_embeds_where_the_model_can(models: Models) -> None:
    made = await models.Embed(pb.EmbedRequest(model="vectors", texts=["a", "b"]))
    assert [list(one.values) for one in made.embeddings] == [[0.0, 1.0], [1.0, 1.0]] and made.input_tokens == 3
    assert await refused(models.Embed(pb.EmbedRequest(model="echo", texts=["a"]))) == (
        grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED",
    )  # fmt: skip


async def test_ranks_where_the_model_can(models: Models) -> None:
    asked = pb.RerankRequest(model="judge", query="toll of a mule", documents=["no word", "toll of a mule", "a mule"])
    made = await models.Rerank(asked)
    assert [one.index for one in made.ranked] == [1, 2, 0] and (made.input_tokens, made.model) == (21, "judge")
    asked.model = "echo"
    assert await refused(models.Rerank(asked)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_moderates_where_the_model_can(models: Models) -> None:
    asked = pb.ModerateRequest(model="censor", texts=["I will hurt you", "otters"])
    made = await models.Moderate(asked)
    assert [one.flagged for one in made.moderations] == [True, False] and made.model == "censor"
    threat = made.moderations[0].categories["harassment/threatening"]
    assert threat.flagged and threat.score == 0.9 and made.input_tokens > 0
    asked.model = "echo"
    assert await refused(models.Moderate(asked)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_makes_pictures_where_the_model_can(models: Models) -> None:
    asked = pb.GenerateImagesRequest(model="painter", prompt="a bridge", options=pb.ImageOptions(size="1024x1536"))
    made = await models.GenerateImages(asked)
    assert [one.data for one in made.images] == [b"picture 0"] and made.options.size == "1024x1536"
    assert (made.usage.output_tokens, made.usage.kinds.image_output_tokens, made.model) == (272, 272, "painter")
    asked.model = "echo"
    assert await refused(models.GenerateImages(asked)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_writes_down_speech_where_the_model_can(models: Models) -> None:
    recording = pb.Recording(data=b"sound", filename="a.mp3", segments=True)
    asked = pb.TranscribeRequest(model="scribe", recording=recording, most_seconds=60)
    made = await models.Transcribe(asked)
    assert made.transcript.text.startswith("The toll") and made.transcript.segments[1].start == 3.25
    assert (made.usage.input_tokens, made.usage.kinds.audio_input_tokens, made.model) == (70, 70, "scribe")
    asked.model = "echo"
    assert await refused(models.Transcribe(asked)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_speaks_where_the_model_can(models: Models) -> None:
    asked = pb.SpeakRequest(model="speaker", text="nine crowns")
    pieces = [piece async for piece in models.Speak(asked)]
    assert b"".join(one.audio for one in pieces) == b"RIFFninecrowns"
    assert (pieces[0].content_type, pieces[0].model) == ("audio/wav", "speaker")
    usage = pieces[-1].usage
    assert usage.estimated and (usage.output_tokens, usage.kinds.audio_output_tokens) == (22, 22)
    asked.model = "echo"
    call = models.Speak(asked)
    assert await refused(call.read()) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_holds_sessions_where_the_model_can(models: Models, peer: Provider) -> None:
    call, left = models.Converse(), peer.left
    await call.write(pb.ConverseRequest(open=pb.OpenSession(model="talker")))
    assert json.loads((await call.read()).event)["type"] == "session.created"
    await call.write(pb.ConverseRequest(event=json.dumps({"type": "response.create"})))
    said: Any = pb.ConverseResponse()
    while not said.HasField("usage"):
        said = await call.read()
    assert json.loads(said.event)["type"] == "response.done"
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.kinds.audio_output_tokens) == (24, 10, 6)
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:  # the end of what is said is the session's
        pass
    await until(lambda: peer.left > left)

    async def opened(*said: pb.ConverseRequest) -> None:
        call = models.Converse()
        for one in said:
            await call.write(one)
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass

    missing = (grpc.StatusCode.INVALID_ARGUMENT, "OPEN_MISSING")
    opening = pb.ConverseRequest(open=pb.OpenSession(model="talker"))
    assert await refused(opened(pb.ConverseRequest(event="{}"))) == missing
    assert await refused(opened(opening, opening)) == missing
    chats = pb.ConverseRequest(open=pb.OpenSession(model="echo"))
    assert await refused(opened(chats)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED")


async def test_counts_what_would_be_read_without_asking_anybody(models: Models) -> None:
    short, long = asking(), asking()
    long.messages.add(role=chat.ROLE_USER).parts.add(text="and much more than that, word after word " * 20)
    counts = [(await models.CountTokens(pb.CountTokensRequest(chat=one))).input_tokens for one in (short, long)]
    assert 0 < counts[0] < 20 and 150 < counts[1] - counts[0] < 250
    short.tools.add(name="look", description="Looks up whatever it is told to.")
    assert (await models.CountTokens(pb.CountTokensRequest(chat=short))).input_tokens > counts[0]
    short.model = "auto"
    assert (await models.CountTokens(pb.CountTokensRequest(chat=short))).input_tokens > counts[0]
    assert await refused(models.CountTokens(pb.CountTokensRequest(chat=asking("unheard-of")))) == (
        grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN",
    )  # fmt: skip
    assert await field_of(models.CountTokens(pb.CountTokensRequest())) == "chat"


async def test_lists_in_pages_without_a_key(models: Models) -> None:
    first = await models.stub.ListModels(pb.ListModelsRequest(page_size=4))
    rest = await models.stub.ListModels(pb.ListModelsRequest(page_token=first.next_page_token))
    assert [one.name for one in [*first.models, *rest.models]] == sorted(
        [
            "echo",
            "busy",
            "broken",
            "cut",
            "quiet",
            "vectors",
            "judge",
            "censor",
            "painter",
            "scribe",
            "speaker",
            "talker",
        ]
    )


async def test_compresses_to_the_budget_and_keeps_what_answers(models: Models) -> None:
    texts = [
        "The bridge opened in 1932. Lorries pay nine crowns. " + "Birds sing in spring. " * 30,
        "Nothing to see. " * 20,
    ]
    made = await models.Compress(pb.CompressRequest(texts=texts, query="what do lorries pay?", max_tokens=40))
    assert "nine crowns" in made.texts[0] and made.tokens_after <= 40 < made.tokens_before and made.dropped > 0
    assert made.cuts and made.cuts[0].text == 0 and made.cuts[-1].text == 1
    whole = await models.Compress(pb.CompressRequest(texts=["short"], query="x", max_tokens=40))
    assert list(whole.texts) == ["short"] and whole.dropped == 0


async def test_shortens_a_conversation(models: Models) -> None:
    request = asking(text="what do lorries pay?")
    for text in ("Lorries pay nine crowns. " + "Birds sing in spring. " * 30, "Nothing to see. " * 20):
        request.messages.insert(0, chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=text)]))
    made = await models.CompressChat(pb.CompressChatRequest(chat=request, max_tokens=60))
    assert "nine crowns" in str(made.chat) and made.tokens_after <= 60 < made.tokens_before
    assert await field_of(models.CompressChat(pb.CompressChatRequest(chat=request))) == "max_tokens"


async def test_health_is_pushed(models: Models) -> None:
    watch = models.stub.Watch(pb.WatchRequest())
    first: Any = await watch.read()
    assert all(one.available for one in first.models)
    models.ranking.pools["cut"].endpoints[0].health.failed(retry_after_s=60)
    async with asyncio.timeout(30):
        told: Any = await watch.read()
        while all(one.available for one in told.models):
            told = await watch.read()
    assert [one.model for one in told.models if not one.available] == ["cut"]
    watch.cancel()


async def test_health_that_changes_while_the_caller_reads_is_pushed_next() -> None:
    ranking = Ranking(Catalogue({"echo": Entry("echo", base_url="http://nowhere")}), {}, Secrets(None))  # type: ignore[arg-type]
    watch = ModelsService(ranking, compressor()).Watch(pb.WatchRequest(), None)
    assert (await anext(watch)).models[0].available
    ranking.pools["echo"].endpoints[0].health.failed(retry_after_s=60)
    asked = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asked.done() and not asked.result().models[0].available
    await watch.aclose()  # type: ignore[attr-defined]


async def test_that_there_is_no_model_is_told_at_once() -> None:
    watch = ModelsService(Ranking(Catalogue({}), {}, Secrets(None)), compressor()).Watch(pb.WatchRequest(), None)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        assert not (await anext(watch)).models
    await watch.aclose()  # type: ignore[attr-defined]


async def test_mistakes(models: Models) -> None:
    assert await field_of(models.Generate(pb.GenerateRequest())) == "chat"
    assert await field_of(models.Embed(pb.EmbedRequest(model="x"))) == "texts"
    assert await field_of(models.Compress(pb.CompressRequest(texts=["x"]))) == "max_tokens"
    assert (await refused(models.stub.Generate(pb.GenerateRequest(chat=asking()))))[
        0
    ] is grpc.StatusCode.UNAUTHENTICATED
