"""Asks a company's own checks about texts, over HTTP: the wire of LiteLLM's Generic Guardrail API, which many who offer guardrails speak.

A check is shown what a model would be: masked. What it says of a text is its action, and at times the text as it should be.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import msgspec
import orjson
from msgspec import Struct
from tollway.chat.v1 import chat_pb2 as chat

from services.guard.policy import Check, Policy, PromptBlocked
from services.guard.rules import Action
from services.guard.said import Answer
from services.guard.texts import Place, places, rewritten
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.metrics import Counted
from services.runtime.secrets import SecretMissing, Secrets

PATH = "/beta/litellm_basic_guardrail_api"
MOST_BYTES = 32 << 20
"""Of what a check answers: as much as a request may have."""
ROLES: dict[int, str] = {
    chat.ROLE_USER: "user",
    chat.ROLE_ASSISTANT: "assistant",
    chat.ROLE_SYSTEM: "system",
    chat.ROLE_DEVELOPER: "developer",
    chat.ROLE_TOOL: "tool",
}
ASKED = Counted(
    "tollway.guard.checks", "{call}", "Own checks that were asked, by what they said.", ("check", "outcome")
)
Outcome = tuple[str, Action, bool, float]


class CheckAway(Failure):
    kind, reason = Kind.UNAVAILABLE, "CHECK_AWAY"
    text = "the check {name} does not say whether it may pass: {why}"


class Said(Struct):
    """What a check answers; of more it may say nothing is needed here."""

    action: Literal["NONE", "BLOCKED", "GUARDRAIL_INTERVENED"]
    texts: list[str] | None = None


_SAID = msgspec.json.Decoder(Said)
PASSED = Said("NONE")


@dataclass(frozen=True, slots=True)
class Checking:
    http: aiohttp.ClientSession
    secrets: Secrets

    async def prompt(
        self, policy: Policy, on: str, messages: list[chat.Message]
    ) -> tuple[list[chat.Message] | None, list[Outcome]]:
        """The messages as they should be, None where they are as they were; and what each check said.

        Raises:
            CheckAway: one that has to be heard cannot be.
        """
        made, outcomes = None, list[Outcome]()
        for check in policy.checks_on(on):
            now = made or messages
            if not (texts := list(places(now))):
                break
            body = {"input_type": "request", "texts": [one.text for one in texts], "structured_messages": _rows(texts)}
            said = await self._asked(check, body)
            blocked = said.action == "BLOCKED"
            outcomes.append((check.rule, check.action, blocked, float(blocked)))
            if blocked and policy.softened(check.action) is Action.BLOCK:
                break
            if said.texts is not None and said.texts != body["texts"] and not policy.dry_run:
                written = {(one.message, one.part): text for one, text in zip(texts, said.texts, strict=True)}
                made = rewritten(now, lambda place, written=written: written[place.message, place.part])  # type: ignore[misc]
        return made, outcomes

    async def answer(self, policy: Policy, answer: Answer) -> None:
        """Rewrites it in place where a check says so.

        Raises:
            PromptBlocked: a check forbids it.
            CheckAway: one that has to be heard cannot be.
        """
        for check in policy.checks_on("completion"):
            texts, calls = answer.texts(), answer.calls()
            if not (texts or calls):
                return
            said = await self._asked(check, {"input_type": "response", "texts": texts, "tool_calls": calls})
            if said.action == "BLOCKED" and policy.softened(check.action) is Action.BLOCK:
                raise PromptBlocked(rule=check.rule)
            if said.texts is not None and said.texts != texts and not policy.dry_run:
                answer.rewrite(said.texts)

    async def _asked(self, check: Check, body: dict[str, Any]) -> Said:
        """
        Raises:
            CheckAway
        """
        span = telemetry.child(f"guard check {check.name}")
        try:
            said = await self._posted(check, body)
        except CheckAway as away:
            ASKED.add(1, check.name, "away")
            telemetry.failed(span, away.reason)
            if check.open:
                return PASSED
            raise
        finally:
            if span is not None:
                span.end()
        ASKED.add(1, check.name, said.action.lower())
        return said

    async def _posted(self, check: Check, body: dict[str, Any]) -> Said:
        caller, trace = identity.caller(), telemetry.current()
        about = {
            "user_api_key_hash": caller.key_id,
            "user_api_key_team_id": caller.account,
            "user_api_key_org_id": caller.tenant,
        }
        whole = {
            **body,
            "request_data": about,
            "litellm_trace_id": trace.hex if trace is not None else None,
            "additional_provider_specific_params": dict(check.params),
        }
        url = check.url.rstrip("/")
        try:
            key = {"x-api-key": await self.secrets.read(check.key)} if check.key else {}
            async with (
                asyncio.timeout(check.within_s),
                self.http.post(
                    url if url.endswith(PATH) else url + PATH, data=orjson.dumps(whole), headers={"content-type": "application/json", **key},
                    allow_redirects=False,
                ) as response,
            ):  # fmt: skip
                if response.status != 200:
                    raise CheckAway(name=check.name, why=f"it answers {response.status}")
                said = _SAID.decode(await _read(check, response))
        except TimeoutError:
            raise CheckAway(name=check.name, why=f"not within {check.within_s} s") from None
        except SecretMissing:
            raise CheckAway(name=check.name, why="its key cannot be read") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CheckAway(name=check.name, why=type(error).__name__) from None
        if said.texts is not None and len(said.texts) != len(body["texts"]):
            raise CheckAway(name=check.name, why="it gives back fewer texts, or more, than it was shown")
        return said


async def _read(check: Check, response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for piece in response.content.iter_any():
        raw += piece
        if len(raw) > MOST_BYTES:
            raise CheckAway(name=check.name, why=f"it answers with more than {MOST_BYTES} bytes")
    return bytes(raw)


def _rows(texts: Iterable[Place]) -> Sequence[dict[str, str]]:
    return [{"role": ROLES.get(one.role, "user"), "content": one.text} for one in texts if not one.json]
