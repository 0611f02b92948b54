"""Google's SDK, unchanged, pointed at the edge: Gemini's wire to any model of the mesh."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from tests.mesh.client import sent
from tests.mesh.running import Mesh
from tests.peers.claude import AFTER, BEFORE, PAGE
from tests.peers.provider import SIGNATURE

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # the SDK's own
LOOK = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="look",
            description="Looks a word up.",
            parameters=types.Schema(
                type=types.Type.OBJECT,
                properties={"text": types.Schema(type=types.Type.STRING, nullable=True, max_length=9)},
                required=["text"],
            ),
        )
    ]
)


@pytest.fixture
async def google(mesh: Mesh) -> AsyncIterator[Any]:
    options = types.HttpOptions(base_url=mesh.url)
    async with genai.Client(api_key=mesh.key, http_options=options).aio as made:
        yield made.models


async def test_it_asks_and_streams(google: Any, mesh: Mesh) -> None:
    made = await google.generate_content(
        model="echo",
        contents="from google, to ivan@example.com",
        config=types.GenerateContentConfig(
            system_instruction="Be brief.", temperature=0.5, top_k=40, max_output_tokens=50, stop_sequences=["END"], seed=7
        ),
    )  # fmt: skip
    assert made.text == "You said: from google, to ivan@example.com"
    assert made.candidates[0].finish_reason is types.FinishReason.STOP and made.model_version == "echo"
    used = made.usage_metadata
    assert (
        used.prompt_token_count > 0 and used.total_token_count == used.prompt_token_count + used.candidates_token_count
    )
    got = mesh.provider.asked("echo")[-1]
    assert got["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "ivan@example.com" not in json.dumps(got)
    assert (got["temperature"], got["max_tokens"], got["stop"], got["seed"]) == (0.5, 50, ["END"], 7)
    pieces = [one async for one in await google.generate_content_stream(model="echo", contents="streamed from google")]
    assert "".join(one.text or "" for one in pieces) == "You said: streamed from google" and len(pieces) > 2
    assert pieces[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert pieces[-1].usage_metadata.candidates_token_count > 0
    assert all(one.candidates[0].finish_reason is None for one in pieces[:-1])


@pytest.mark.parametrize("streamed", (False, True))
async def test_tools_are_called_and_their_results_given(google: Any, mesh: Mesh, streamed: bool) -> None:
    config = types.GenerateContentConfig(
        tools=[LOOK], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    asked: list[Any] = [types.Content(role="user", parts=[types.Part(text="find")])]
    if streamed:
        pieces = [
            one async for one in await google.generate_content_stream(model="tools", contents=asked, config=config)
        ]
        (call,) = [one for piece in pieces for one in piece.function_calls or ()]
    else:
        (call,) = (await google.generate_content(model="tools", contents=asked, config=config)).function_calls
    assert (call.name, call.args) == ("look", {"text": "find"})
    parameters = mesh.provider.asked("tools")[-1]["tools"][0]["function"]["parameters"]
    assert parameters == {
        "type": "object",
        "properties": {"text": {"type": ["string", "null"], "maxLength": 9}},
        "required": ["text"],
    }
    asked += [
        types.Content(role="model", parts=[types.Part(function_call=types.FunctionCall(name="look", args=call.args))]),
        types.Content(
            role="user", parts=[types.Part.from_function_response(name="look", response={"result": "found"})]
        ),
    ]
    done = await google.generate_content(model="tools", contents=asked, config=config)
    assert done.text == 'You said: {"result":"found"}'
    turns = mesh.provider.asked("tools")[-1]["messages"]
    assert turns[-1]["tool_call_id"] == turns[-2]["tool_calls"][0]["id"]


@pytest.mark.parametrize("streamed", (False, True))
async def test_a_call_comes_with_its_signature(google: Any, streamed: bool) -> None:
    config = types.GenerateContentConfig(
        tools=[LOOK], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    if streamed:
        found = [
            one async for one in await google.generate_content_stream(model="tools", contents="signed", config=config)
        ]
        made = found[-1]
    else:
        made = await google.generate_content(model="tools", contents="signed", config=config)
    (part,) = [one for one in made.candidates[0].content.parts if one.function_call]
    assert part.thought_signature == base64.b64decode(SIGNATURE)
    turns = [types.Content(role="user", parts=[types.Part(text="signed")]), types.Content(role="model", parts=[part])]
    turns.append(types.Content(role="user", parts=[types.Part.from_function_response(name="look", response={"a": 1})]))
    assert (await google.generate_content(model="tools", contents=turns, config=config)).text == 'You said: {"a":1}'


async def test_the_sdk_calls_functions_by_itself(google: Any) -> None:
    seen = []

    def look(text: str) -> str:
        """Looks a word up."""
        seen.append(text)
        return "found by itself"

    made = await google.generate_content(
        model="tools", contents="find it", config=types.GenerateContentConfig(tools=[look])
    )
    assert seen == ["find it"] and "found by itself" in made.text


async def test_schemas_pictures_and_thoughts_are_taken_over(google: Any, mesh: Mesh) -> None:
    class Toll(BaseModel):
        bridge: str
        price: int | None = None

    await google.generate_content(
        model="echo",
        contents=[types.Part.from_bytes(data=b"picture", mime_type="image/png"), "what is it?"],
        config=types.GenerateContentConfig(
            response_mime_type="application/json",
            response_schema=Toll,
            thinking_config=types.ThinkingConfig(thinking_budget=20_000),
        ),
    )
    got = mesh.provider.asked("echo")[-1]
    schema = got["response_format"]["json_schema"]["schema"]
    assert schema["type"] == "object" and schema["properties"]["bridge"]["type"] == "string"
    assert schema["properties"]["price"]["type"] == ["integer", "null"]
    assert got["reasoning_effort"] == "high"
    assert got["messages"][-1]["content"][0]["image_url"]["url"] == "data:image/png;base64,cGljdHVyZQ=="


@pytest.mark.parametrize("streamed", (False, True))
async def test_what_was_searched_and_found_is_told(google: Any, streamed: bool) -> None:
    text = f"ask {uuid4().hex}"
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())], max_output_tokens=50)
    if streamed:
        pieces = [
            one async for one in await google.generate_content_stream(model="seeker", contents=text, config=config)
        ]
        made, words = pieces[-1], "".join(one.text or "" for one in pieces)
    else:
        made = await google.generate_content(model="seeker", contents=text, config=config)
        words = made.text
    assert words == f"{BEFORE}You said: {text}{AFTER}"
    found = made.candidates[0].grounding_metadata
    assert found.web_search_queries == [f"toll {text}"]
    assert [(one.web.uri, one.web.title) for one in found.grounding_chunks] == [(PAGE["url"], "Prices")]
    (support,) = found.grounding_supports
    assert support.segment.text == f"You said: {text}" and support.grounding_chunk_indices == [0]


async def test_it_embeds_counts_and_lists(google: Any) -> None:
    made = await google.embed_content(model="minilm", contents=["one", "two"])
    assert [len(one.values) for one in made.embeddings] == [384, 384]
    counted = await google.count_tokens(model="echo", contents="How many are these?")
    assert 3 <= counted.total_tokens <= 12
    listed = {one.name: one async for one in await google.list()}
    assert "models/echo" in listed and listed["models/minilm"].supported_actions == [
        "embedContent",
        "batchEmbedContents",
    ]
    assert (await google.get(model="echo")).name == "models/echo"


async def test_refusals_are_googles(google: Any, mesh: Mesh) -> None:
    with pytest.raises(errors.ClientError) as none:
        await google.generate_content(model="unheard-of", contents="x")
    assert (none.value.code, none.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as bad:
        await google.generate_content(model="echo", contents="x", config={"temperature": 7})
    assert bad.value.status == "INVALID_ARGUMENT"
    (broken,) = [one for one in bad.value.details["error"]["details"] if "fieldViolations" in one]
    assert broken["fieldViolations"][0]["field"] == "generationConfig.temperature"
    with pytest.raises(errors.ClientError) as busy:
        await google.generate_content(model="busy", contents="x")
    assert (busy.value.code, busy.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ServerError):
        await google.generate_content(model="broken-google", contents="x")
    with pytest.raises(errors.APIError):
        async for _ in await google.generate_content_stream(model="cut", contents="x"):
            pass
    answer = await sent(mesh, {}, path="/v1beta/models/echo:dance")
    assert answer.status == 404 and answer.json["error"]["status"] == "NOT_FOUND"
    answer = await sent(mesh, {}, path="/v1beta/models/echo:generateContent", key="tw_wrong")
    assert answer.status == 401 and answer.json["error"]["status"] == "UNAUTHENTICATED"


BODY: dict[str, Any] = {"contents": [{"parts": [{"text": "by hand"}]}]}


async def asked(mesh: Mesh, path: str = "echo:generateContent", **more: Any) -> Any:
    return await sent(mesh, {**BODY, **more}, path=f"/v1beta/models/{path}")


async def test_without_events_a_stream_is_an_array(mesh: Mesh) -> None:
    answer = await asked(mesh, "echo:streamGenerateContent")
    pieces = answer.json
    said = "".join(part["text"] for one in pieces for part in one["candidates"][0]["content"]["parts"])
    assert said == "You said: by hand" and pieces[-1]["usageMetadata"]["totalTokenCount"] > 0
    cut = await asked(mesh, "cut:streamGenerateContent")
    assert cut.json[-1]["error"]["status"] in ("UNAVAILABLE", "INTERNAL")


async def test_fields_are_taken_in_both_spellings_and_headers_say_what_they_say(mesh: Mesh) -> None:
    more: Any = {"system_instruction": {"parts": [{"text": "Be kind."}]}, "generation_config": {"max_output_tokens": 9}}
    answer = await asked(mesh, **more, labels={"tier": "gold"}, tollway={"cache": {"no_store": True}})
    assert answer.status == 200 and answer.headers["x-tollway-model"] == "echo", answer.raw
    got = mesh.provider.asked("echo")[-1]
    assert (got["messages"][0]["content"], got["max_tokens"]) == ("Be kind.", 9)
    first = await sent(mesh, BODY, path="/v1beta/models/echo:generateContent", key="", headers={"x-goog-api-key": mesh.key, "authorization": ""})  # fmt: skip
    await asyncio.sleep(0.5)
    again = await asked(mesh)
    assert first.status == 200 and again.headers["x-tollway-cache"] == "exact"


async def test_openais_paths_stay_openais(mesh: Mesh) -> None:
    listed = await sent(mesh, path="/v1/models", method="GET")
    assert listed.json["object"] == "list"
    theirs = await sent(mesh, path="/v1/models", method="GET", headers={"x-goog-api-key": mesh.key})
    assert "models/echo" in {one["name"] for one in theirs.json["models"]}
    posted = await sent(mesh, {}, path="/v1/models/echo")
    assert posted.status == 405 and posted.code == "method_not_allowed"
    assert (await sent(mesh, BODY, path="/v1/models/echo:generateContent")).json["modelVersion"] == "echo"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"contents": []}, "contents"),
        ({"contents": [{"parts": []}]}, "contents"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"videoMetadata": {}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "bilde på"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"text": "x", "thoughtSignature": "ann@example.com"}]}]}, "contents[0].parts[0].thoughtSignature"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/f"}}]}]}, "contents[0].parts[0].fileData"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}, "contents[0].parts[0].functionResponse"),
        ({"tools": [{"codeExecution": {}}]}, "tools[0].codeExecution"),
        ({"cachedContent": "cachedContents/x"}, "cachedContent"),
        ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, "generationConfig.responseMimeType"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities[0]"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "DEEP"}}}, "generationConfig.thinkingConfig.thinkingLevel"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}, "toolConfig.functionCallingConfig.allowedFunctionNames"),
    ],
)  # fmt: skip
async def test_mistakes_name_the_field(mesh: Mesh, body: dict[str, Any], field: str) -> None:
    answer = await asked(mesh, **body)
    violations = [
        one["fieldViolations"][0]["field"] for one in answer.json["error"]["details"] if "fieldViolations" in one
    ]
    assert (answer.status, violations) == (400, [field]), answer.raw
