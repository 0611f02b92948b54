"""Translates messages to the inspector and back."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.chat.v1 import chat_pb2 as chat
from tollway.guard.v1 import guard_pb2 as pb
from tollway.guard.v1.guard_pb2_grpc import GuardServiceServicer

from services.guard.completion import Completion
from services.guard.detector import Detector
from services.guard.finding import Found
from services.guard.inspector import Inspected, Inspector
from services.guard.masking import Masker
from services.guard.policies import Policies
from services.guard.policy import Direction, Policy
from services.guard.rules import Action
from services.guard.said import Pieces, Whole
from services.guard.sealing import Seal
from services.guard.tallies import Seen, Tallies
from services.runtime import identity, telemetry
from services.runtime.errors import Failure, Kind
from services.runtime.metrics import Counted

PAGE, HOURS = 100, 24
FINDINGS = Counted("tollway.guard.findings", "{finding}", "Found in prompts, by type and action.", ("type", "action"))
VERDICTS = Counted("tollway.guard.prompts", "{prompt}", "Inspected, by what was done.", ("action",))
SAID = {action: pb.Action.Value(f"ACTION_{action.name}") for action in Action}


class NotOpened(Failure):
    kind, reason = Kind.INVALID, "NOT_OPENED"
    text = "the first message of the stream must be `open`, the others `chunk`"
    field = "open"


@dataclass(slots=True)
class GuardService(GuardServiceServicer):
    inspector: Inspector
    answers: Detector
    """Without names: what a model makes up is searched by form alone."""
    policies: Policies
    seal: Seal
    tallies: Tallies = field(default_factory=Tallies)

    async def InspectPrompt(self, request: pb.InspectPromptRequest, context: object) -> pb.InspectPromptResponse:
        tenant = identity.caller().tenant
        policy = self.policies.of(tenant)
        masker = _masker(policy, self.seal.open(request.sealed_map, tenant))
        known = len(masker.values)
        vector = np.frombuffer(request.vector.values, np.float32) if request.HasField("vector") else None
        done = await self.inspector.prompt(
            list(request.messages), policy, masker, vector, request.origin == pb.ORIGIN_DOCUMENT
        )
        telemetry.note(tollway__guard__findings=len(done.found), tollway__guard__action=done.verdict.action.name)
        for _, one, action in done.found:
            FINDINGS.add(1, one.type, action.name.lower())
            self.tallies.add(Seen(tenant, one.type, action, action))
        self.tallies.add(Seen(tenant, "", done.verdict.action, done.verdict.would_be))
        VERDICTS.add(1, done.verdict.action.name.lower())
        fresh = len(masker.values) > known
        return pb.InspectPromptResponse(
            verdict=_verdict(done, policy),
            messages=done.messages or (),
            masked=done.messages is not None,
            sealed_map=self.seal.close(masker.values, tenant) if fresh else request.sealed_map,
            findings=[_finding(one, action, place.message, place.part) for place, one, action in done.found],
            injection_probability=done.probability,
            placeholders=",".join(masker.order),
            policy_version=policy.version,
        )

    async def InspectCompletion(
        self, request_iterator: AsyncIterator[pb.InspectCompletionRequest], context: object
    ) -> AsyncIterator[pb.InspectCompletionResponse]:
        caller = identity.caller()
        completion: Completion | None = None
        held: Pieces | None = None
        async for request in request_iterator:
            if request.WhichOneof("message") == "open":
                if completion is not None:
                    raise NotOpened
                values = self.seal.open(request.open.sealed_map, caller.tenant)
                policy = self.policies.of(caller.tenant)
                completion = Completion(values, policy, self.answers.find)
                held = Pieces() if policy.checks_on("completion") else None
                continue
            if completion is None:
                raise NotOpened
            if held is not None:  # checks see an answer whole
                held.hold(request.chunk)
                yield pb.InspectCompletionResponse(chunk=request.chunk)
                continue
            yield _shown(request.chunk, completion.feed(request.chunk))
        if completion is None:
            return
        if held is not None:
            await self.inspector.checking.answer(policy, held)
            for piece in held.chunks:
                yield _shown(piece, completion.feed(piece))
        chunk, found = completion.end()
        if chunk is not None:
            yield _shown(chunk, found)

    async def InspectAnswer(self, request: pb.InspectAnswerRequest, context: object) -> pb.InspectAnswerResponse:
        tenant, made = identity.caller().tenant, request.completion
        values, policy = self.seal.open(request.sealed_map, tenant), self.policies.of(tenant)
        if policy.checks:
            await self.inspector.checking.answer(policy, Whole(made))
        found = Completion(values, policy, self.answers.find).whole(made)
        return pb.InspectAnswerResponse(completion=made, findings=[_finding(*one) for one in found])

    async def Analyze(self, request: pb.AnalyzeRequest, context: object) -> pb.AnalyzeResponse:
        policy = self.policies.of(identity.caller().tenant)
        found = await self.inspector.find(request.text)
        judged, _ = policy.judged(policy.prompt, "prompt", found)
        return pb.AnalyzeResponse(
            findings=[_finding(one, action) for one, action in judged],
            injection_probability=await self.inspector.injection.probability(request.text),
        )

    async def ExplainPolicy(self, request: pb.ExplainPolicyRequest, context: object) -> pb.ExplainPolicyResponse:
        policy = self.policies.of(identity.caller().tenant)
        message = chat.Message(role=chat.ROLE_USER, parts=[chat.ContentPart(text=request.text)])
        vector = np.frombuffer(request.vector.values, np.float32) if request.HasField("vector") else None
        document = request.origin == pb.ORIGIN_DOCUMENT
        done = await self.inspector.prompt([message], policy, _masker(policy), vector, document)
        sent = done.messages[0].parts[0].text if done.messages else request.text
        return pb.ExplainPolicyResponse(
            policy=_policy(policy),
            verdict=_verdict(done, policy),
            findings=[_finding(one, action) for _, one, action in done.found],
            injection_probability=done.probability,
            rules=[
                pb.RuleOutcome(rule=name, action=SAID[action], broken=broken, score=score)
                for name, action, broken, score in done.outcomes
            ],
            masked="" if done.verdict.action is Action.BLOCK else sent,
        )

    async def SummarizeFindings(
        self, request: pb.SummarizeFindingsRequest, context: object
    ) -> pb.SummarizeFindingsResponse:
        caller = identity.caller()
        found = self.tallies.since(request.hours or HOURS, "" if caller.admin else caller.tenant)
        counts = Counter[tuple[int, str, Action, Action]]()
        for hour, one, count in found:
            counts[hour, one.type, one.action, one.would_be] += count
        tallies = [
            pb.Tally(hour=Timestamp(seconds=hour), type=name, action=SAID[action], would_be=SAID[would], count=count)
            for (hour, name, action, would), count in sorted(counts.items())
        ]
        return pb.SummarizeFindingsResponse(tallies=tallies, since=Timestamp(seconds=int(self.tallies.began)))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: object) -> pb.ListPoliciesResponse:
        caller = identity.caller()
        shown = self.policies.all() if caller.admin else [self.policies.of(caller.tenant)]
        after = [one for one in shown if one.tenant > request.page_token]
        most = request.page_size or PAGE
        more = after[most - 1].tenant if len(after) > most else ""
        return pb.ListPoliciesResponse(policies=[_policy(one) for one in after[:most]], next_page_token=more)


def _masker(policy: Policy, values: dict[str, str] | None = None) -> Masker:
    return Masker(values or {}, rng=random.SystemRandom() if policy.surrogates else None)


def _verdict(done: Inspected, policy: Policy) -> pb.Verdict:
    kept = policy.classes.get(done.data_class) if policy.classes else None
    return pb.Verdict(
        action=SAID[done.verdict.action],
        rule=done.verdict.rule,
        data_class=done.data_class,
        would_be=SAID[done.verdict.would_be],
        models=kept.models if kept else (),
        regions=kept.regions if kept else (),
    )


def _shown(chunk: chat.ChatChunk, found: list[tuple[Found, Action]]) -> pb.InspectCompletionResponse:
    return pb.InspectCompletionResponse(chunk=chunk, findings=[_finding(*one) for one in found])


def _finding(one: Found, action: Action, message: int = 0, part: int = 0) -> pb.Finding:
    return pb.Finding(
        type=one.type,
        message=message,
        part=part,
        start=one.start,
        end=one.end,
        score=one.score,
        recognizer=one.recognizer,
        reason=one.reason,
        action=SAID[action],
    )


def _policy(one: Policy) -> pb.Policy:
    return pb.Policy(
        tenant=one.tenant,
        version=one.version,
        prompt=_actions(one.prompt),
        completion=_actions(one.completion),
        block_injection_at=one.user_injection,
        dry_run=one.dry_run,
    )


def _actions(direction: Direction) -> dict[str, "pb.Action.ValueType"]:
    """`*` stands for every type not named; what is masked beside others only is shown as a flag."""
    named = {
        kind: SAID[action] if isinstance(action, Action) else pb.ACTION_FLAG for kind, action in direction.types.items()
    }
    return {**named, "*": SAID[direction.default]}
