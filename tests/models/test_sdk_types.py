"""The golden files are what the providers' own SDKs read and write: their types are asked."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.validate import ParamValidator
from google.genai.types import Content as GeminiContent
from google.genai.types import GenerateContentResponse, GenerationConfig, Tool
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from tests.models.upstream import golden

REQUESTS = ("request", "rich")


def events(wire: str) -> list[dict[str, Any]]:
    lines = golden(wire, "stream").splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@pytest.mark.parametrize("name", REQUESTS)
def test_openai(name: str) -> None:
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(golden("openai", name))
    ChatCompletion.model_validate(golden("openai", "answer"), strict=True)
    for event in events("openai"):
        ChatCompletionChunk.model_validate(event, strict=True)


@pytest.mark.parametrize("name", REQUESTS)
def test_responses(name: str) -> None:
    TypeAdapter(ResponseCreateParamsNonStreaming).validate_python(golden("responses", name))
    Response.model_validate(golden("responses", "answer"))
    adapter = TypeAdapter[Any](ResponseStreamEvent)
    for event in events("responses"):
        assert adapter.validate_python(event).type == event["type"]


@pytest.mark.parametrize("name", REQUESTS)
def test_anthropic(name: str) -> None:
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(golden("anthropic", name))
    Message.model_validate(golden("anthropic", "answer"))
    adapter = TypeAdapter[Any](RawMessageStreamEvent)
    for event in events("anthropic"):
        if event["type"] != "ping":
            assert adapter.validate_python(event).type == event["type"]


@pytest.mark.parametrize("name", REQUESTS)
def test_gemini(name: str) -> None:
    """Its types forbid what they do not know."""
    body = golden("gemini", name)
    for content in body["contents"]:
        GeminiContent.model_validate(content)
    GenerationConfig.model_validate(body["generationConfig"])
    for tool in body.get("tools", ()):
        Tool.model_validate(tool)
    for answer in (golden("gemini", "answer"), *events("gemini")):
        GenerateContentResponse.model_validate(answer)


@cache
def bedrock() -> ServiceModel:
    file = Path(botocore.__file__).parent / "data" / "bedrock-runtime" / "2023-09-30" / "service-2.json.gz"
    return ServiceModel(json.loads(gzip.decompress(file.read_bytes())), "bedrock-runtime")


@pytest.mark.parametrize("name", REQUESTS)
def test_bedrock(name: str) -> None:
    operation = bedrock().operation_model("Converse")
    body = {"modelId": "m", **golden("bedrock", name)}
    for message in body["messages"]:
        for block in message["content"]:
            if "image" in block:  # the SDK takes bytes and writes base64 itself
                block["image"]["source"]["bytes"] = block["image"]["source"]["bytes"].encode()
    assert operation.input_shape is not None and operation.output_shape is not None
    report = ParamValidator().validate(body, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    parsed = create_parser("rest-json").parse(
        {"body": json.dumps(golden("bedrock", "answer")).encode(), "headers": {}, "status_code": 200},
        operation.output_shape,
    )
    assert parsed["usage"]["cacheReadInputTokens"] == 100 and parsed["stopReason"] == "tool_use"
    output = bedrock().shape_for("ConverseStreamOutput")
    for kind, event in golden("bedrock", "stream"):
        report = ParamValidator().validate(event, output.members[kind])  # type: ignore[attr-defined]
        assert not report.has_errors(), report.generate_report()
