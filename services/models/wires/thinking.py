"""How hard a model is to think: by its effort, or by a budget of tokens where it is too old to know of efforts."""

import re
from collections.abc import Iterable
from typing import Any

from tollway.chat.v1 import chat_pb2 as chat

from services.models.wires.adapter import Target

EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
"""OpenAI's words for it, in Anthropic's; `none` says nothing."""
BUDGETS = {"low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768}
LEAST = 1_024
"""Tokens; Anthropic takes no smaller budget."""
VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")
FIRST, LAST = (3, 7), (4, 5)
"""Versions that think by a budget. Opus alone knew of efforts in the last of them."""
GEMINI = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
BY_BUDGET = (2, 5)
"""The Gemini that thinks by one; earlier ones do not."""
GEMINIS_BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576}
GEMINIS_LEVELS = {"none": "minimal", "xhigh": "high"}
LEAST_OF_PRO = 128
"""A Pro cannot but think."""
OPENAIS = frozenset({"openai", "azure"})
REFUSING = OPENAIS | {"groq", "mistral", "ollama"}
"""Providers that refuse an effort of models that do not think."""
DO_NOT = re.compile(r"(?:gpt-(?:3|4)|chatgpt-4|davinci|babbage)")
DO = re.compile(
    r"gpt-oss|qwen-?3|qwq|deepseek-(?:r|v3\.[1-9]|v[4-9])|magistral|thinking|reasoning|glm-(?:4\.[5-9]|[5-9])|nemotron|kimi-k2\.[5-9]|minimax-m"
)
KNOWS_NO_XHIGH = re.compile(r"^o\d|^gpt-5(?:\.1)?(?:-(?!codex-max)|$)|gpt-oss")
FORCED = (chat.ToolChoice.MODE_REQUIRED, chat.ToolChoice.MODE_FUNCTION)


def effort(model: str, request: chat.ChatRequest) -> str:
    """What to say in `output_config.effort`; '' for nothing."""
    return EFFORTS.get(request.reasoning_effort, "") if _knows_efforts(model, version(model)) else ""


def budget(model: str, request: chat.ChatRequest, max_tokens: int) -> dict[str, Any] | None:
    """What to say in `thinking`; None for nothing.

    Half of `max_tokens` at most, since thoughts count among them. Anthropic refuses it beside a temperature, a tool that must be
    called, and the result of a call whose thoughts are not handed in with it: such a turn is answered without.
    """
    said, wanted = version(model), BUDGETS.get(EFFORTS.get(request.reasoning_effort, ""), 0)
    tokens = min(wanted, max_tokens // 2)
    if said is None or said < FIRST or _knows_efforts(model, said) or tokens < LEAST:
        return None
    sampled = request.temperature if request.HasField("temperature") else 1.0
    if sampled != 1.0 or request.HasField("top_k") or (request.HasField("top_p") and request.top_p < 0.95):
        return None
    if request.tool_choice.mode in FORCED or _under_way(request.messages):
        return None
    return {"type": "enabled", "budget_tokens": tokens}


def openai(target: Target, effort: str) -> str:
    """What to say in `reasoning_effort`; '' for nothing.

    Agents say how hard to think to whatever model they are given. A provider that refuses it for a model that does not think is not
    told, where that can be seen of the model's name, unless its entry says so.
    """
    entry, model = target.entry, target.model.lower()
    if not effort or entry.thinks is False:
        return ""
    if entry.thinks is None and entry.provider in REFUSING and not _thinks(entry.provider, model):
        return ""
    if effort == "xhigh" and KNOWS_NO_XHIGH.search(model):
        return "high"
    return effort


def _thinks(provider: str, model: str) -> bool:
    if provider in OPENAIS:  # where names of one's own are given to models, too
        return DO_NOT.match(model) is None
    return DO.search(model) is not None


def gemini(model: str, effort: str) -> dict[str, Any]:
    """What to say in `thinkingConfig`, as Google's own OpenAI-compatible address reads efforts; nothing to one that does not think."""
    found, pro = GEMINI.search(model), "pro" in model
    said = (int(found[1]), int(found[2] or 0)) if found is not None else None
    if said is not None and said < BY_BUDGET:
        return {}
    if said == BY_BUDGET:
        budget = GEMINIS_BUDGETS.get(effort, 0)
        return {"thinkingBudget": max(budget, LEAST_OF_PRO) if pro else budget}
    level = GEMINIS_LEVELS.get(effort, effort)
    return {"thinkingLevel": "low" if pro and level == "minimal" else level}


def version(model: str) -> tuple[int, int] | None:
    """Of a Claude's name; None where it tells none."""
    found = VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found is not None else None


def _knows_efforts(model: str, said: tuple[int, int] | None) -> bool:
    return said is None or said > LAST or (said == LAST and "opus" in model)


def _under_way(messages: Iterable[chat.Message]) -> bool:
    """Whether a tool was called since the user spoke last, and nobody hands in what was thought before."""
    called = False
    for message in messages:
        called = (called or bool(message.tool_calls and not message.thoughts)) and message.role != chat.ROLE_USER
    return called
