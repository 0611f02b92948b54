"""All wires by their names in the settings."""

import aiohttp

from services.models.counting import Counter
from services.models.thoughts import Thoughts
from services.models.wires.adapter import Adapter
from services.models.wires.anthropic import Anthropic
from services.models.wires.bedrock import Bedrock
from services.models.wires.gemini import Gemini
from services.models.wires.openai import OpenAI
from services.models.wires.responses import Responses
from services.models.wires.vertex import Vertex


def wires_over(http: aiohttp.ClientSession, count: Counter, thoughts: Thoughts | None = None) -> dict[str, Adapter]:
    """One adapter each, over the same pool of connections."""
    openai, sealing = OpenAI(http, count), thoughts or Thoughts()
    return {
        "openai": openai,
        "responses": Responses(openai),
        "anthropic": Anthropic(http, count, sealing),
        "gemini": Gemini(http, count),
        "bedrock": Bedrock(http, count, sealing),
        "vertex": Vertex(http, count, sealing),
    }
