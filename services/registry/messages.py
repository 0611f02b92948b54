"""Versions and labels from messages, and messages of them."""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.chat.v1 import chat_pb2 as chat
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import documents, rollouts
from services.registry.audit import Change, Entry
from services.registry.rendering import CONVERSATION
from services.registry.resolving import Prompt, Used
from services.registry.rollouts import Rollout, Rules, Tally
from services.registry.store import Artifact
from services.registry.versions import Actor, Label, Version
from services.runtime.errors import Failure, Kind
from services.runtime.identity import Caller

KINDS = {
    "template": pb.KIND_TEMPLATE,
    "configuration": pb.KIND_CONFIGURATION,
    "snippet": pb.KIND_SNIPPET,
    "dataset": pb.KIND_DATASET,
}
ROLES = {
    "system": chat.ROLE_SYSTEM,
    "developer": chat.ROLE_DEVELOPER,
    "user": chat.ROLE_USER,
    "assistant": chat.ROLE_ASSISTANT,
}
SAME = ("max_output_tokens", "temperature", "top_p", "seed", "reasoning_effort", "verbosity")
MOST_SHAPES = 1024


class EntryUnfit(Failure):
    kind, reason = Kind.INVALID, "ENTRY_UNFIT"
    text = "{name} is not a JSON object"
    field = "request_json"


def kind(said: "pb.Kind.ValueType") -> str:
    return next((name for name, number in KINDS.items() if number == said), "")


def proposed(request: pb.ProposeVersionRequest, tenant: str, author: Actor) -> Version:
    return Version(
        tenant=tenant,
        name=request.name,
        number=0,
        kind=request.content.WhichOneof("content") or "",
        content=documents.document(request.content),
        author=author,
        created=datetime.now(UTC),
        parent=request.parent,
        owner=request.owner,
        why=request.why,
    )


def version(made: Version) -> pb.Version:
    said = pb.Version(
        name=made.name,
        number=made.number,
        digest=made.digest,
        kind=KINDS[made.kind],
        parent=made.parent,
        owner=made.owner,
        why=made.why,
        author=made.author.key_id,
        created=stamp(made.created),
        includes=made.includes,
        reviews=[
            pb.Review(reviewer=one.reviewer, approved=one.approved, note=one.note, at=stamp(one.at))
            for one in made.reviews
        ],
    )
    documents.read(made.content, said.content)
    return said


def wanted_label(request: pb.MoveLabelRequest, tenant: str, actor: Actor, standing: Label | None, seen: Tally) -> Label:
    """The label as it is to be; of a candidate that stays, what was counted stays too. `seen` is what that is.

    Raises:
        RampUnfit
    """
    now, made = datetime.now(UTC), None
    if request.HasField("rollout"):
        asked, rules = request.rollout, request.rollout.rules
        before = standing.rollout if standing is not None else None
        goes_on = before is not None and before.candidate == asked.candidate
        made = Rollout(
            candidate=asked.candidate,
            share=asked.share,
            rules=rollouts.checked(
                Rules(
                    ramp=tuple(rules.ramp),
                    step=rules.step.ToTimedelta() if rules.HasField("step") else rollouts.STEP,
                    step_answers=rules.step_answers or rollouts.STEP_ANSWERS,
                    most_failures=rules.most_failures or rollouts.MOST_FAILURES,
                    slowest=rules.slowest,
                    promote=rules.promote,
                )
            ),
            began=before.began if goes_on and before is not None else request.revision + 1,
            step_began=now,
            step_from=seen.answers if goes_on else 0,
        )
    return Label(tenant, request.name, request.label, request.number, request.revision, made, actor, now, request.why)


def label(made: Label) -> pb.Label:
    said = pb.Label(
        name=made.name,
        label=made.label,
        number=made.number,
        revision=made.revision,
        moved_by=made.moved_by.key_id,
        moved=stamp(made.moved),
        why=made.why,
    )
    if made.rollout is not None:
        rules = made.rollout.rules
        said.rollout.candidate, said.rollout.share = made.rollout.candidate, made.rollout.share
        said.rollout.rules.CopyFrom(
            pb.Rules(
                ramp=rules.ramp,
                step=duration(rules.step),
                step_answers=rules.step_answers,
                most_failures=rules.most_failures,
                slowest=rules.slowest,
                promote=rules.promote,
            )
        )
    return said


def artifact(made: Artifact) -> pb.Artifact:
    return pb.Artifact(
        name=made.name, kind=KINDS[made.kind], newest=made.newest, labels=[label(one) for one in made.labels]
    )


def arm(number: int, counted: Tally) -> pb.Arm:
    return pb.Arm(number=number, answers=counted.answers, failed=counted.failed, mean=duration(counted.mean))


def called(request: pb.AppendAuditRequest, caller: Caller) -> Change:
    """An administrative call of another service, in the log of the tenant that it is about: the one whose account it names.

    Raises:
        EntryUnfit
    """
    said, before = _object(request.request_json, "request_json") or {}, _object(request.before_json, "before_json")
    account = str(said.get("account") or caller.account)
    actor = Actor(caller.key_id, caller.account)
    target = request.target or account
    return Change(account.partition("/")[0], actor, datetime.now(UTC), request.action, target, before, said)


def _object(said: str, name: str) -> dict[str, Any] | None:
    try:
        found = json.loads(said) if said else None
    except ValueError:
        raise EntryUnfit(name=name) from None
    if found is not None and not isinstance(found, dict):
        raise EntryUnfit(name=name)
    return found


def entry(made: Entry) -> pb.AuditEntry:
    return pb.AuditEntry(sequence=made.sequence, json=made.json, hash=made.hash)


@dataclass(slots=True)
class Resolutions:
    """Prompts as messages. What does not depend on a request is made once for each pair of versions."""

    _shapes: OrderedDict[tuple[str, str], pb.Resolution] = field(default_factory=OrderedDict)

    def message(self, prompt: Prompt) -> pb.Resolution:
        made = pb.Resolution()
        made.CopyFrom(self._shape(prompt))
        slot = None
        for turn in prompt.turns:
            if turn.role == CONVERSATION:
                slot = len(made.chat.messages)
            else:
                made.chat.messages.add(role=ROLES[turn.role], parts=[chat.ContentPart(text=turn.text)])
        made.slot = len(made.chat.messages) if slot is None else slot
        made.used.extend(_used(one) for one in prompt.used)
        return made

    def _shape(self, prompt: Prompt) -> pb.Resolution:
        template, other = prompt.template.version, prompt.configuration
        key = (template.digest, other.version.digest if other is not None else "")
        if (known := self._shapes.get(key)) is None:
            known = self._shapes[key] = _shape(template, other.version if other is not None else None)
            while len(self._shapes) > MOST_SHAPES:
                self._shapes.popitem(last=False)
        return known


def _shape(template: Version, configuration: Version | None) -> pb.Resolution:
    content, settings = pb.Template(), pb.Settings()
    documents.read(template.content["template"], content)
    if configuration is not None:
        documents.read(configuration.content["configuration"], settings)
        if content.settings.stop:
            settings.ClearField("stop")
    settings.MergeFrom(content.settings)
    made = pb.Resolution(routing=settings.routing)
    made.chat.model = settings.model
    for known, value in settings.ListFields():
        if known.name in SAME:
            setattr(made.chat, known.name, value)
    made.chat.stop.extend(settings.stop)
    made.chat.tools.extend(content.tools)
    if content.HasField("output"):
        made.chat.response_format.CopyFrom(content.output)
    return made


def _used(one: Used) -> chat.PromptVersion:
    return chat.PromptVersion(
        name=one.version.name,
        kind=one.version.kind,
        number=one.version.number,
        digest=one.version.digest,
        label=one.label,
        candidate=one.candidate,
    )


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def duration(length: timedelta) -> Duration:
    made = Duration()
    made.FromTimedelta(length)
    return made
