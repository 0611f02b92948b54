"""Shadows from messages, and messages of what they found."""

from datetime import timedelta

from tollway.gateway.v1 import gateway_pb2
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import verdicts
from services.registry.comparisons import Comparison, Shadow, Side, Standing
from services.registry.messages import duration, stamp
from services.registry.shadowing import Given, by_measure
from services.registry.shelf import Shelf
from services.registry.verdicts import Found
from services.registry.versions import Actor, KindDiffers, reference
from services.runtime.errors import Failure, Kind

VERDICTS = {"undecided": pb.VERDICT_UNDECIDED, "better": pb.VERDICT_BETTER, "worse": pb.VERDICT_WORSE}
MOST_EVIDENCE = 1e12


class ShadowUnfit(Failure):
    kind, reason = Kind.INVALID, "SHADOW_UNFIT"
    text = "{rule}"
    field = "shadow"


async def checked(asked: pb.Shadow, tenant: str, shelf: Shelf) -> None:
    """
    Raises:
        ShadowUnfit, and what is said of a template that is not there.
    """
    candidate, names = asked.candidate, [one.measure.name for one in asked.measures]
    if not (candidate.model or candidate.routing or candidate.prompt):
        raise ShadowUnfit(rule="the candidate differs in nothing: name a model, a routing or a prompt")
    if len(set(names)) < len(names):
        raise ShadowUnfit(rule="two measures have one name")
    if candidate.prompt:
        wanted = reference(candidate.prompt)
        if not wanted.number:
            raise ShadowUnfit(rule="the candidate's prompt is name@number: what it is compared by must not move")
        found = await shelf.version(tenant, wanted.name, wanted.number)
        if found.kind != "template":
            raise KindDiffers(name=found.name, known=found.kind, proposed="template")
    elif asked.HasField("promotion"):
        raise ShadowUnfit(rule="only a candidate with a prompt can be promoted")


def wanted(asked: pb.Shadow, tenant: str, by: Actor) -> Shadow:
    kept = pb.Shadow()
    kept.CopyFrom(asked)
    kept.tenant, kept.key_id, kept.revision = "", "", 0
    return Shadow(tenant, asked.name, 0, kept.SerializeToString(), by)


def spec(shadow: Shadow) -> pb.Shadow:
    return pb.Shadow.FromString(shadow.spec)


def message(shadow: Shadow) -> pb.Shadow:
    made = spec(shadow)
    made.tenant, made.key_id, made.revision = shadow.tenant, shadow.by.key_id, shadow.revision
    return made


def of_legacy(request: pb.CompareShadowRequest) -> Given:
    options = gateway_pb2.Options()
    options.prompt.variables_json = request.variables_json
    if not request.variables_json:
        options.ClearField("prompt")
    took = request.took.ToTimedelta() if request.HasField("took") else timedelta()
    return Given(request.chat, options, request.answer, request.cost_nano_usd, took, request.expected)


def of_mesh(request: pb.MirrorRequest) -> Given:
    options = gateway_pb2.Options()
    options.CopyFrom(request.options)
    if request.used.number:
        options.prompt.reference = f"{request.used.name}@{request.used.number}"
    took = request.took.ToTimedelta()
    return Given(request.chat, options, request.answer, request.cost_nano_usd, took, trace=request.trace_id)


def report(shadow: Shadow, standing: Standing) -> pb.GetShadowReportResponse:
    asked = spec(shadow)
    error, found = asked.error or verdicts.ERROR, by_measure(asked, standing.found)
    measures = [
        _measure(one.measure.name, each, error, len(found)) for one, each in zip(asked.measures, found, strict=True)
    ]
    return pb.GetShadowReportResponse(
        shadow=message(shadow),
        verdict=VERDICTS[verdicts.overall(found, error)],
        measures=measures,
        live=_side(standing.live),
        candidate=_side(standing.candidate),
        waiting=standing.waiting,
        failed=standing.failed,
        skipped=shadow.skipped,
        promoted=stamp(shadow.promoted) if shadow.promoted is not None else None,
    )


def comparison(one: Comparison) -> pb.Comparison:
    return pb.Comparison(
        comparison_id=str(one.id),
        job_id=str(one.job),
        state=one.state,
        candidate=one.candidate,
        live=one.live,
        trace_id=one.trace,
        at=stamp(one.at),
    )


def _measure(name: str, found: Found, error: float, measures: int) -> pb.MeasureReport:
    sums, verdict = found.differences, found.verdict(error, measures)
    pairs = max(sums.count, 1)
    return pb.MeasureReport(
        name=name,
        verdict=VERDICTS[verdict],
        pairs=sums.count,
        candidate=found.candidate / pairs,
        live=found.live / pairs,
        better=min(sums.above, MOST_EVIDENCE),
        worse=min(sums.below, MOST_EVIDENCE),
        more=sums.more(error) if verdict == "undecided" else 0,
    )


def _side(side: Side) -> pb.Side:
    return pb.Side(answers=side.answers, cost_nano_usd=round(side.cost), took=duration(side.took))
