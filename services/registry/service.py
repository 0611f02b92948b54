"""Messages to the registry and back."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from tollway.registry.v1 import registry_pb2 as pb
from tollway.registry.v1.registry_pb2_grpc import RegistryServiceServicer

from services.registry import (
    diffing,
    documents,
    evaluations,
    messages,
    probing,
    reviewing,
    rollouts,
    shadows,
    variables,
    versions,
)
from services.registry.comparisons import Comparisons
from services.registry.erasing import Erasing
from services.registry.evaluating import Evaluating
from services.registry.outcomes import Outcomes
from services.registry.probing import Probing
from services.registry.promoting import Approvals
from services.registry.proposing import Proposing
from services.registry.resolving import Resolving
from services.registry.reviewing import Reviewing
from services.registry.rollouts import Tally
from services.registry.runs import Result, Run, RunNotDone
from services.registry.shadowing import Shadowing
from services.registry.shelf import Shelf, reached
from services.registry.store import Store
from services.registry.versions import Actor, ArtifactUnknown, LabelUnknown, Version, VersionUnknown, reference
from services.runtime import identity
from services.runtime.identity import Caller
from services.runtime.subjects import digest

PAGE = 100
WATCHED_EVERY_S = 0.5


@dataclass(slots=True)
class RegistryService(RegistryServiceServicer):
    store: Store
    shelf: Shelf
    outcomes: Outcomes
    approvals: Approvals
    shadowing: Shadowing
    evaluating: Evaluating
    reviewing: Reviewing
    probing: Probing
    erasing: Erasing
    resolutions: messages.Resolutions = field(default_factory=messages.Resolutions)

    async def ProposeVersion(self, request: pb.ProposeVersionRequest, context: object) -> pb.ProposeVersionResponse:
        caller = identity.caller()
        wanted = await Proposing(self.shelf).checked(messages.proposed(request, caller.tenant, _actor(caller)))
        async with reached():
            if request.dry_run:
                known = await self.store.digested(caller.tenant, wanted.name, wanted.digest)
                if known is None:
                    newest = await self.store.versions(caller.tenant, wanted.name, 0, 1)
                    versions.following(newest[0] if newest else None, wanted)
                made, created = known or wanted, known is None
            else:
                made, created = await self.store.propose(wanted)
        return pb.ProposeVersionResponse(version=messages.version(made), created=created)

    async def ReviewVersion(self, request: pb.ReviewVersionRequest, context: object) -> pb.ReviewVersionResponse:
        caller = identity.caller()
        review = versions.Review(caller.key_id, request.approve, request.note, datetime.now(UTC))
        async with reached():
            made = await self.store.review(caller.tenant, request.name, request.number, review, _actor(caller))
        return pb.ReviewVersionResponse(version=messages.version(made))

    async def GetVersion(self, request: pb.GetVersionRequest, context: object) -> pb.GetVersionResponse:
        return pb.GetVersionResponse(version=messages.version(await self._read(request.reference)))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: object) -> pb.ListVersionsResponse:
        most, below = request.page_size or PAGE, int(request.page_token or 0)
        async with reached():
            found = await self.store.versions(identity.caller().tenant, request.name, below, most + 1)
        if not found and not below:
            raise ArtifactUnknown(name=request.name)
        token = str(found[most - 1].number) if len(found) > most else ""
        return pb.ListVersionsResponse(versions=map(messages.version, found[:most]), next_page_token=token)

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: object) -> pb.ListArtifactsResponse:
        most, kind = request.page_size or PAGE, messages.kind(request.kind)
        async with reached():
            found = await self.store.artifacts(identity.caller().tenant, kind, request.page_token, most + 1)
        token = found[most - 1].name if len(found) > most else ""
        return pb.ListArtifactsResponse(artifacts=map(messages.artifact, found[:most]), next_page_token=token)

    async def DiffVersions(self, request: pb.DiffVersionsRequest, context: object) -> pb.DiffVersionsResponse:
        before, after = await self._read(getattr(request, "from")), await self._read(request.to)
        return pb.DiffVersionsResponse(diff=diffing.diff(before, after))

    async def MoveLabel(self, request: pb.MoveLabelRequest, context: object) -> pb.MoveLabelResponse:
        caller = identity.caller()
        key = (caller.tenant, request.name, request.label)
        needed = self.approvals.needed(caller.tenant, request.label)
        async with reached():
            for number in (request.number, *([request.rollout.candidate] if request.HasField("rollout") else [])):
                found = await self.store.version(caller.tenant, request.name, number)
                if found is None:
                    raise VersionUnknown(name=request.name, version=number)
                versions.check_moved(found, request.label, needed)
            standing, seen = await self.store.label(*key), Tally()
            if standing is not None and standing.rollout is not None:
                counted = await self.store.tally(standing, {})
                seen = counted.get(standing.rollout.candidate, Tally())
            wanted = messages.wanted_label(request, caller.tenant, _actor(caller), standing, seen)
            made = versions.moved(standing, wanted) if request.dry_run else await self.store.move(wanted)
        return pb.MoveLabelResponse(label=messages.label(made))

    async def DeleteLabel(self, request: pb.DeleteLabelRequest, context: object) -> pb.DeleteLabelResponse:
        caller, now = identity.caller(), datetime.now(UTC)
        async with reached():
            await self.store.drop(caller.tenant, request.name, request.label, request.revision, _actor(caller), now)
        return pb.DeleteLabelResponse()

    async def ListLabels(self, request: pb.ListLabelsRequest, context: object) -> pb.ListLabelsResponse:
        async with reached():
            found = await self.store.labels(identity.caller().tenant, request.name)
        return pb.ListLabelsResponse(labels=map(messages.label, found))

    async def Resolve(self, request: pb.ResolveRequest, context: object) -> pb.ResolveResponse:
        tenant, values = identity.caller().tenant, variables.parsed(request.variables_json)
        found = await Resolving(self.shelf).resolved(tenant, request.reference, values, request.subject)
        made = pb.ResolveResponse(resolution=self.resolutions.message(found.prompt), reported=found.reported)
        if found.stable is not None:
            made.stable.CopyFrom(self.resolutions.message(found.stable))
        return made

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: object) -> pb.ReportOutcomeResponse:
        key = (identity.caller().tenant, request.name, request.label)
        took = Tally(1, 1) if request.failed else Tally(1, 0, request.took.ToTimedelta())
        self.outcomes.add(key, request.number, took)
        return pb.ReportOutcomeResponse()

    async def GetRollout(self, request: pb.GetRolloutRequest, context: object) -> pb.GetRolloutResponse:
        async with reached():
            label = await self.store.label(identity.caller().tenant, request.name, request.label)
            if label is None:
                raise LabelUnknown(name=request.name, label=request.label)
            counted = await self.store.tally(label, {})
        made = pb.GetRolloutResponse(
            label=messages.label(label), stable=messages.arm(label.number, counted.get(label.number, Tally()))
        )
        if label.rollout is not None:
            candidate = counted.get(label.rollout.candidate, Tally())
            made.candidate.CopyFrom(messages.arm(label.rollout.candidate, candidate))
            made.evidence = min(rollouts.evidence(label.rollout, candidate), 1e12)
        return made

    async def ListAudit(self, request: pb.ListAuditRequest, context: object) -> pb.ListAuditResponse:
        most, after = request.page_size or PAGE, int(request.page_token or 0)
        async with reached():
            found = await self.store.audited(identity.caller().tenant, after, most + 1)
        token = str(found[most - 1].sequence) if len(found) > most else ""
        return pb.ListAuditResponse(entries=map(messages.entry, found[:most]), next_page_token=token)

    async def _read(self, said: str) -> Version:
        """With its reviews, as they stand now."""
        found = await self.shelf.found(identity.caller().tenant, reference(said))
        async with reached():
            return await self.store.version(found.tenant, found.name, found.number) or found

    async def AppendAudit(self, request: pb.AppendAuditRequest, context: object) -> pb.AppendAuditResponse:
        async with reached():
            await self.store.append(messages.called(request, identity.caller()))
        return pb.AppendAuditResponse()

    async def SetShadow(self, request: pb.SetShadowRequest, context: object) -> pb.SetShadowResponse:
        caller = identity.caller()
        await shadows.checked(request.shadow, caller.tenant, self.shelf)
        wanted = shadows.wanted(request.shadow, caller.tenant, _actor(caller))
        async with reached():
            made = await self.comparisons.set(wanted, documents.document(request.shadow), datetime.now(UTC))
        return pb.SetShadowResponse(shadow=shadows.message(made))

    async def DeleteShadow(self, request: pb.DeleteShadowRequest, context: object) -> pb.DeleteShadowResponse:
        caller = identity.caller()
        async with reached():
            await self.comparisons.delete(caller.tenant, request.name, _actor(caller), datetime.now(UTC))
        return pb.DeleteShadowResponse()

    async def ListShadows(self, request: pb.ListShadowsRequest, context: object) -> pb.ListShadowsResponse:
        async with reached():
            found = await self.comparisons.shadows(identity.caller().tenant)
        return pb.ListShadowsResponse(shadows=map(shadows.message, found))

    async def GetShadowReport(self, request: pb.GetShadowReportRequest, context: object) -> pb.GetShadowReportResponse:
        async with reached():
            shadow = await self.comparisons.shadow(identity.caller().tenant, request.name)
            return shadows.report(shadow, await self.comparisons.standing(shadow))

    async def ListComparisons(self, request: pb.ListComparisonsRequest, context: object) -> pb.ListComparisonsResponse:
        most, below, tenant = request.page_size or PAGE, int(request.page_token or 0), identity.caller().tenant
        async with reached():
            await self.comparisons.shadow(tenant, request.name)
            found = await self.comparisons.listed(tenant, request.name, below, most + 1)
        token = str(found[most - 1].number) if len(found) > most else ""
        return pb.ListComparisonsResponse(comparisons=map(shadows.comparison, found[:most]), next_page_token=token)

    async def CompareShadow(self, request: pb.CompareShadowRequest, context: object) -> pb.CompareShadowResponse:
        async with reached():
            shadow = await self.comparisons.shadow(identity.caller().tenant, request.name)
        spec = shadows.spec(shadow)
        if spec.share and random.random() >= spec.share:
            return pb.CompareShadowResponse()
        made = await self.shadowing.compare(shadow, shadows.of_legacy(request))
        return pb.CompareShadowResponse(comparison_id=str(made))

    async def Mirror(self, request: pb.MirrorRequest, context: object) -> pb.MirrorResponse:
        async with reached():
            shadow = await self.comparisons.shadow(request.tenant, request.name)
        await self.shadowing.compare(shadow, shadows.of_mesh(request))
        return pb.MirrorResponse()

    async def Watch(self, request: pb.WatchRequest, context: object) -> AsyncIterator[pb.WatchResponse]:
        told, policies = None, reviewing.policies(self.reviewing.policies)
        while True:
            async with reached():
                found = await self.comparisons.shadows()
            if (now := [(one.tenant, one.name, one.revision) for one in found]) != told:
                yield pb.WatchResponse(shadows=map(shadows.message, found), policies=policies)
                told = now
            await asyncio.sleep(WATCHED_EVERY_S)

    async def StartRun(self, request: pb.StartRunRequest, context: object) -> pb.StartRunResponse:
        caller = identity.caller()
        made = await self.evaluating.start(request, caller.tenant, _actor(caller))
        return pb.StartRunResponse(run=evaluations.run(made))

    async def GetRun(self, request: pb.GetRunRequest, context: object) -> pb.GetRunResponse:
        run, results = await self._run(request.run_id)
        counts = await self.evaluating.counts(run) if run.state == "running" else (0, 0)
        return pb.GetRunResponse(run=evaluations.run(run, results, counts))

    async def ListRuns(self, request: pb.ListRunsRequest, context: object) -> pb.ListRunsResponse:
        most, below = request.page_size or PAGE, int(request.page_token or 0)
        async with reached():
            found = await self.evaluating.runs.listed(identity.caller().tenant, request.dataset, below, most + 1)
        token = str(found[most - 1].number) if len(found) > most else ""
        return pb.ListRunsResponse(runs=map(evaluations.run, found[:most]), next_page_token=token)

    async def ListRunResults(self, request: pb.ListRunResultsRequest, context: object) -> pb.ListRunResultsResponse:
        most, after = request.page_size or PAGE, int(request.page_token or -1)
        async with reached():
            run = await self.evaluating.runs.run(identity.caller().tenant, UUID(request.run_id))
            found = await self.evaluating.runs.results(run, after, most + 1)
        token = str(found[most - 1].line) if len(found) > most else ""
        return pb.ListRunResultsResponse(results=map(evaluations.result, found[:most]), next_page_token=token)

    async def CompareRuns(self, request: pb.CompareRunsRequest, context: object) -> pb.CompareRunsResponse:
        before, after = await self._run(request.before), await self._run(request.after)
        for run, _ in (before, after):
            if run.state != "done":
                raise RunNotDone(run_id=run.id, state=run.state)
        return evaluations.compared(before, after)

    async def _run(self, run_id: str) -> tuple[Run, list[Result]]:
        async with reached():
            run = await self.evaluating.runs.run(identity.caller().tenant, UUID(run_id))
            return run, await self.evaluating.runs.results(run)

    async def RecordFeedback(self, request: pb.RecordFeedbackRequest, context: object) -> pb.RecordFeedbackResponse:
        return await self.reviewing.feedback(request.feedback, identity.caller())

    async def ListFeedback(self, request: pb.ListFeedbackRequest, context: object) -> pb.ListFeedbackResponse:
        most, below = request.page_size or PAGE, int(request.page_token or 0)
        async with reached():
            found = await self.reviewing.records.said(identity.caller().tenant, request.trace_id, below, most + 1)
        token = str(found[most - 1].number) if len(found) > most else ""
        return pb.ListFeedbackResponse(entries=map(reviewing.entry, found[:most]), next_page_token=token)

    async def RecordAnswer(self, request: pb.RecordAnswerRequest, context: object) -> pb.RecordAnswerResponse:
        made = await self.reviewing.keep(request.record, identity.caller(), request.user)
        return pb.RecordAnswerResponse(record_id=str(made))

    async def GetRecord(self, request: pb.GetRecordRequest, context: object) -> pb.GetRecordResponse:
        async with reached():
            found = await self.reviewing.records.record(identity.caller().tenant, request.record_id)
        return pb.GetRecordResponse(record=reviewing.message(found))

    async def ListRecords(self, request: pb.ListRecordsRequest, context: object) -> pb.ListRecordsResponse:
        most, below, review = request.page_size or PAGE, int(request.page_token or 0), reviewing.WORDS[request.review]
        async with reached():
            found = await self.reviewing.records.listed(identity.caller().tenant, review, below, most + 1)
        token = str(found[most - 1].number) if len(found) > most else ""
        rows = [reviewing.message(one, whole=False) for one in found[:most]]
        return pb.ListRecordsResponse(records=rows, next_page_token=token)

    async def DecideReview(self, request: pb.DecideReviewRequest, context: object) -> pb.DecideReviewResponse:
        caller = identity.caller()
        made = await self.reviewing.decide(request, caller.tenant, _actor(caller))
        return pb.DecideReviewResponse(record=reviewing.message(made))

    async def AwaitReview(self, request: pb.AwaitReviewRequest, context: object) -> pb.AwaitReviewResponse:
        found = await self.reviewing.awaited(identity.caller().tenant, request.record_id)
        return pb.AwaitReviewResponse(
            decision=reviewing.STATES[found.review], correction=found.correction, reason=found.reason
        )

    async def SetProbe(self, request: pb.SetProbeRequest, context: object) -> pb.SetProbeResponse:
        caller, said = identity.caller(), documents.document(request.probe)
        return pb.SetProbeResponse(
            probe=probing.message(await self.probing.set(request.probe, caller.tenant, _actor(caller), said))
        )

    async def DeleteProbe(self, request: pb.DeleteProbeRequest, context: object) -> pb.DeleteProbeResponse:
        caller = identity.caller()
        async with reached():
            await self.probing.probes.delete(caller.tenant, request.name, _actor(caller), datetime.now(UTC))
        return pb.DeleteProbeResponse()

    async def ListProbes(self, request: pb.ListProbesRequest, context: object) -> pb.ListProbesResponse:
        async with reached():
            found = await self.probing.probes.listed(identity.caller().tenant)
        return pb.ListProbesResponse(probes=[probing.report(*one) for one in found])

    async def RenewProbe(self, request: pb.RenewProbeRequest, context: object) -> pb.RenewProbeResponse:
        caller, now = identity.caller(), datetime.now(UTC)
        async with reached():
            await self.probing.probes.renew(caller.tenant, request.name, request.model, _actor(caller), now)
        return pb.RenewProbeResponse()

    async def Erase(self, request: pb.EraseRequest, context: object) -> pb.EraseResponse:
        tenant, by, now = request.tenant, _actor(identity.caller()), datetime.now(UTC)
        async with reached():
            if request.subject:
                gone = await self.erasing.subject(tenant, digest(tenant, request.subject), by, now)
            else:
                gone = await self.erasing.tenant(tenant, by, now)
                self.shelf.forget(tenant)
        return pb.EraseResponse(erased=gone)

    @property
    def comparisons(self) -> Comparisons:
        return self.shadowing.comparisons


def _actor(caller: Caller) -> Actor:
    return Actor(caller.key_id, caller.account)
