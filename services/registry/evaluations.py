"""Messages of runs."""

from collections.abc import Mapping, Sequence

from tollway.registry.v1 import registry_pb2 as pb

from services.registry import intervals
from services.registry.messages import duration, stamp
from services.registry.runs import Result, Run

STATES = {"running": pb.RUN_STATE_RUNNING, "done": pb.RUN_STATE_DONE, "cancelled": pb.RUN_STATE_CANCELLED}
MOST_NAMED = 1000


def run(one: Run, results: Sequence[Result] = (), counts: tuple[int, int] = (0, 0)) -> pb.Run:
    """With what its `results` come to once it is done, or with `counts` of judged and failed cases while it goes on."""
    judged = [each for each in results if not each.error]
    made = pb.Run(
        run_id=str(one.id),
        dataset=one.dataset,
        number=one.version,
        candidate=pb.Candidate.FromString(one.candidate),
        state=STATES[one.state],
        cases=one.cases,
        judged=len(judged) or counts[0],
        failed=len(results) - len(judged) or counts[1],
        by=one.by.key_id,
        created=stamp(one.created),
        job_id=str(one.job),
    )
    if judged:
        for name in one.measures:
            interval = intervals.of_mean([each.scores[name] for each in judged if name in each.scores])
            made.scores.add(name=name, mean=interval.mean, low=interval.low, high=interval.high)
        made.cost_nano_usd = sum(each.cost for each in judged)
        made.took.FromTimedelta(sum((each.took for each in judged), start=judged[0].took * 0) / len(judged))
    return made


def result(one: Result) -> pb.RunResult:
    return pb.RunResult(
        case_id=one.case_id, scores=one.scores, error=one.error, cost_nano_usd=one.cost, took=duration(one.took)
    )


def compared(before: tuple[Run, Sequence[Result]], after: tuple[Run, Sequence[Result]]) -> pb.CompareRunsResponse:
    old, new = _by_case(before[1]), _by_case(after[1])
    both = [case for case in old if case in new]
    made = pb.CompareRunsResponse(
        cases=len(both),
        cost_before_nano_usd=sum(old[case].cost for case in both),
        cost_after_nano_usd=sum(new[case].cost for case in both),
        failing=[case for case in both if new[case].error and not old[case].error][:MOST_NAMED],
    )
    for name in before[0].measures:
        if name in after[0].measures:
            found = intervals.of_difference(_scores(old, name), _scores(new, name))
            made.differences.add(
                name=name, before=found.before, after=found.after, low=found.low, high=found.high,
                regressions=found.regressions[:MOST_NAMED], improved=found.improved,
            )  # fmt: skip
    return made


def _by_case(results: Sequence[Result]) -> dict[str, Result]:
    return {one.case_id: one for one in results}


def _scores(results: Mapping[str, Result], name: str) -> dict[str, float]:
    return {case: one.scores[name] for case, one in results.items() if name in one.scores}
