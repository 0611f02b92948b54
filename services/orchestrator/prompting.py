"""Step 2: a request that names a template becomes a conversation. The registry says which version, and what answers when that fails."""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

import grpc
from google.protobuf.duration_pb2 import Duration
from msgspec import Struct
from tollway.chat.v1 import chat_pb2 as chat
from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.registry.v1 import registry_pb2

from services.orchestrator.failures import MessagesMissing, ModelMissing, TextNotAlone, away
from services.orchestrator.journey import Asked
from services.orchestrator.road import Road
from services.orchestrator.routing import AUTO
from services.runtime import identity, telemetry

REMEMBERED = 1024
"""Prompts kept in mind, for when the registry is away."""
STABLE = "/stable"
"""Tells the second reservation of a request from its first."""
REPORT_S = 5.0


class Prompted(Struct, frozen=True):
    """A request, and the one to fall back to when a rollout's candidate answers it and fails."""

    asked: Asked
    stable: Asked | None = None
    reported: bool = False
    """A rollout wants to hear of the answer."""


@dataclass(slots=True)
class Prompting:
    road: Road
    _remembered: OrderedDict[bytes, registry_pb2.ResolveResponse] = field(default_factory=OrderedDict)

    async def prompted(self, request: chat.ChatRequest, options: pb.Options) -> Prompted:
        """
        Raises:
            MessagesMissing, ModelMissing: there is no template to say what the request does not.
            TextNotAlone: a text that is to be gone on from has something beside it.
            AioRpcError: what the registry says of the template or its variables.
        """
        request = self.road.called(request)
        if request.text_completion and (options.HasField("prompt") or not _alone(request)):
            raise TextNotAlone
        if not options.HasField("prompt"):
            if not request.model:
                raise ModelMissing
            if not request.messages:
                raise MessagesMissing
            return Prompted(Asked(request, options))
        found, degraded = await self._resolved(options.prompt, request.user)
        asked = _laid_over(request, options, found.resolution, degraded)
        if not found.HasField("stable"):
            return Prompted(asked, None, found.reported)
        again = pb.Options()
        again.CopyFrom(options)
        if again.idempotency_key:
            again.idempotency_key += STABLE
        return Prompted(asked, _laid_over(request, again, found.stable, degraded), found.reported)

    def report(self, asked: Asked, *, failed: bool, took_s: float) -> None:
        """Tells the registry beside the request."""
        took = Duration()
        took.FromMicroseconds(int(took_s * 1e6))
        for one in asked.used:
            if one.label:
                self.road.desk.later(partial(self._reported, one, failed, took))

    async def _reported(self, one: chat.PromptVersion, failed: bool, took: Duration) -> None:
        told = registry_pb2.ReportOutcomeRequest(
            name=one.name, label=one.label, number=one.number, failed=failed, took=took
        )
        await self.road.peers.registry.ReportOutcome(told, timeout=REPORT_S)

    async def _resolved(self, prompt: pb.Prompt, subject: str) -> tuple[registry_pb2.ResolveResponse, tuple[str, ...]]:
        account = identity.scoped("chat").account
        key = blake2b(f"{account}\0{prompt.reference}\0{prompt.variables_json}".encode(), digest_size=16).digest()
        goes_on = self.road.open(account, "registry")
        request = registry_pb2.ResolveRequest(
            reference=prompt.reference, variables_json=prompt.variables_json, subject=subject
        )
        try:
            known = goes_on and key in self._remembered
            await self.road.peers.reach("registry", 0 if known else self.road.waits.restart_s)
            found = await self.road.peers.registry.Resolve(request)
        except grpc.aio.AioRpcError as error:
            remembered = self._remembered.get(key)
            if not (goes_on and away(error)) or remembered is None:
                raise
            telemetry.event("done without", dependency="registry", code=error.code().name)
            return remembered, ("registry",)
        self._remembered[key] = found
        self._remembered.move_to_end(key)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return found, ()


def _alone(request: chat.ChatRequest) -> bool:
    if len(request.messages) != 1 or request.tools:
        return False
    (said,) = request.messages
    texts = all(part.WhichOneof("part") == "text" for part in said.parts)
    return said.role == chat.ROLE_USER and texts and len(said.parts) in (1, 2)


def _laid_over(
    own: chat.ChatRequest, options: pb.Options, made: registry_pb2.Resolution, degraded: tuple[str, ...]
) -> Asked:
    """The template's conversation with the request's own in its place; what the request says itself counts first."""
    whole, rest = chat.ChatRequest(), chat.ChatRequest()
    whole.CopyFrom(made.chat)
    rest.CopyFrom(own)
    for name in ("stop", "tools"):
        if getattr(own, name):
            whole.ClearField(name)
    if own.HasField("response_format"):
        whole.ClearField("response_format")
    whole.ClearField("messages")
    rest.ClearField("messages")
    whole.MergeFrom(rest)
    whole.messages.extend((*made.chat.messages[: made.slot], *own.messages, *made.chat.messages[made.slot :]))
    whole.model = whole.model or AUTO
    if not whole.messages:
        raise MessagesMissing
    if made.routing and not options.routing:
        routed = pb.Options()
        routed.CopyFrom(options)
        routed.routing = made.routing
        options = routed
    return Asked(whole, options, tuple(made.used), degraded)
