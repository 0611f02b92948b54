"""Runs over datasets: what is asked, what is found, how two of them compare."""

import random
from typing import Any
from uuid import uuid4

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollway.jobs.v1 import jobs_pb2
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import documents, intervals
from tests.registry.served import Jobs, propose, served, templates
from tests.support.refusals import field_of, refused
from tests.support.serve import TRANSPORTS
from tests.support.stubs import Called
from tests.support.waiting import eventually

SAME = jobs_pb2.Measure(name="same", kind=jobs_pb2.Measure.KIND_EXACT)


def dataset(count: int = 4) -> dict[str, Any]:
    cases = [
        {
            "case_id": f"case {n}",
            "messages": [{"role": "user", "text": f"question {n}"}],
            "variables_json": f'{{"q": "{n}"}}',
            "expected": f"answer {n}",
            "tags": ["even" if n % 2 == 0 else "odd"],
        }
        for n in range(count)
    ]
    return {"dataset": {"cases": cases}}


async def started(stub: Called, **more: Any) -> pb.Run:
    said: dict[str, Any] = {"dataset": "questions@1", "candidate": pb.Candidate(model="m"), "measures": [SAME], **more}
    made: pb.Run = (await stub.StartRun(pb.StartRunRequest(**said))).run
    return made


async def ended(stub: Called, run: pb.Run) -> pb.Run:
    async def over() -> bool:
        found = (await stub.GetRun(pb.GetRunRequest(run_id=run.run_id))).run
        return bool(found.state != pb.RUN_STATE_RUNNING)

    await eventually(over)
    made: pb.Run = (await stub.GetRun(pb.GetRunRequest(run_id=run.run_id))).run
    return made


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_candidate_answers_a_dataset(postgres_url: str, transport: str) -> None:
    jobs = Jobs(scores=lambda case: {"same": float(case != "case 0")}, errors={"case 3": "PROVIDER_BROKE"})
    async with served(postgres_url, jobs, transport) as stub:
        await propose(stub, "questions", dataset())
        run = await started(stub)
        assert (run.state, run.cases, run.by) == (pb.RUN_STATE_RUNNING, 4, "key_ann")
        run = await ended(stub, run)
        assert (run.state, run.judged, run.failed, run.cost_nano_usd) == (pb.RUN_STATE_DONE, 3, 1, 90)
        (score,) = run.scores
        assert score.mean == pytest.approx(2 / 3) and 0.2 < score.low < score.mean < score.high < 1
        assert run.took.seconds == 3
        (asked,) = jobs.asked.values()
        case = asked.evaluation.cases[1]
        assert (case.case_id, case.expected, case.chat.chat.model) == ("case 1", "answer 1", "m")
        assert case.chat.chat.messages[0].parts[0].text == "question 1" and case.chat.options.cache.no_cache
        page = await stub.ListRunResults(pb.ListRunResultsRequest(run_id=run.run_id, page_size=3))
        rest = await stub.ListRunResults(pb.ListRunResultsRequest(run_id=run.run_id, page_token=page.next_page_token))
        results = [*page.results, *rest.results]
        assert [one.case_id for one in results] == [f"case {n}" for n in range(4)]
        assert results[3].error == "PROVIDER_BROKE" and dict(results[1].scores) == {"same": 1.0}


async def test_a_prompt_is_tried_as_the_version_that_its_label_names_now(postgres_url: str) -> None:
    jobs = Jobs(held=True)
    async with served(postgres_url, jobs) as stub:
        await propose(stub, "questions", dataset())
        await propose(stub, "answer", *templates("one {{ q }}", "two {{ q }}", variables=("q",)))
        await stub.MoveLabel(pb.MoveLabelRequest(name="answer", label="production", number=2))
        run = await started(stub, candidate=pb.Candidate(prompt="answer"), tags=["odd"])
        assert run.candidate.prompt == "answer@2" and run.cases == 2
        case = next(iter(jobs.asked.values())).evaluation.cases[0]
        assert (
            case.chat.options.prompt.reference == "answer@2" and case.chat.options.prompt.variables_json == '{"q": "1"}'
        )
        assert case.chat.chat.model == "", "the template names it"
        going = (await stub.GetRun(pb.GetRunRequest(run_id=run.run_id))).run
        assert (going.judged, going.failed) == (1, 2)
        assert await refused(stub.CompareRuns(pb.CompareRunsRequest(before=run.run_id, after=run.run_id))) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "RUN_NOT_DONE",
        )
        jobs.held = False
        await ended(stub, run)


async def test_a_repeated_start_is_one_run(postgres_url: str) -> None:
    jobs, request_id = Jobs(), str(uuid4())
    async with served(postgres_url, jobs) as stub:
        await propose(stub, "questions", dataset())
        one, two = [await started(stub, request_id=request_id) for _ in range(2)]
        assert one.run_id == two.run_id == request_id and len(jobs.asked) == 1
        assert len((await stub.ListRuns(pb.ListRunsRequest())).runs) == 1


async def test_what_cannot_be_run_is_refused(postgres_url: str) -> None:
    async with served(postgres_url, Jobs()) as stub:
        await propose(stub, "questions", dataset())
        await propose(stub, "answer", *templates("one"))
        assert (await refused(started(stub, dataset="answer@1")))[1] == "KIND_DIFFERS"
        assert (await refused(started(stub, tags=["none"])))[1] == "NO_CASES"
        assert (await refused(started(stub, candidate=pb.Candidate(prompt="questions@1"))))[1] == "KIND_DIFFERS"
        assert (await refused(stub.GetRun(pb.GetRunRequest(run_id=str(uuid4())))))[1] == "RUN_UNKNOWN"
        twice = dataset()
        twice["dataset"]["cases"].append(twice["dataset"]["cases"][0])
        content = pb.Content()
        documents.read(twice, content)
        assert await field_of(stub.ProposeVersion(pb.ProposeVersionRequest(name="q", content=content))) == "content"


async def test_runs_are_the_tenants_own_and_paged(postgres_url: str) -> None:
    async with served(postgres_url, Jobs()) as stub:
        await propose(stub, "questions", dataset())
        runs = [await ended(stub, await started(stub)) for _ in range(3)]
        first = await stub.ListRuns(pb.ListRunsRequest(dataset="questions", page_size=2))
        rest = await stub.ListRuns(pb.ListRunsRequest(page_token=first.next_page_token))
        assert [one.run_id for one in [*first.runs, *rest.runs]] == [one.run_id for one in reversed(runs)]
        theirs = stub.by("globex/app")
        assert not (await theirs.ListRuns(pb.ListRunsRequest())).runs
        assert (await refused(theirs.GetRun(pb.GetRunRequest(run_id=runs[0].run_id))))[1] == "RUN_UNKNOWN"


async def test_two_runs_are_put_side_by_side(postgres_url: str) -> None:
    jobs = Jobs(scores=lambda case: {"same": float(case != "case 0")})
    async with served(postgres_url, jobs) as stub:
        await propose(stub, "questions", dataset(40))
        before = await ended(stub, await started(stub))
        jobs.scores = lambda case: {"same": float(int(case.split()[1]) % 4 != 1)}
        jobs.errors = {"case 39": "PROVIDER_BROKE"}
        after = await ended(stub, await started(stub))
        made = await stub.CompareRuns(pb.CompareRunsRequest(before=before.run_id, after=after.run_id))
        (found,) = made.differences
        assert made.cases == 40 and list(made.failing) == ["case 39"]
        assert found.improved == 1 and set(found.regressions) == {f"case {n}" for n in range(1, 39, 4)}
        assert found.high < 0 and found.low < found.after - found.before < found.high, "worse for sure"
        assert (made.cost_before_nano_usd, made.cost_after_nano_usd) == (1200, 1170)


# How sure a mean is.


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_a_mean_lies_in_its_interval(scores: list[float]) -> None:
    made = intervals.of_mean(scores)
    assert 0 <= made.low <= made.mean + 1e-12 and made.mean - 1e-12 <= made.high <= 1


def test_intervals_hold_what_they_say() -> None:
    chance, held, runs = random.Random(2), 0, 400
    for _ in range(runs):
        made = intervals.of_mean([float(chance.random() < 0.9) for _ in range(50)])
        held += made.low <= 0.9 <= made.high
    assert held / runs > 0.92
    held = 0
    for _ in range(100):
        old = {str(n): float(chance.random() < 0.5) for n in range(100)}
        new = {str(n): float(chance.random() < 0.6) for n in range(100)}
        found = intervals.of_difference(old, new)
        held += found.low <= 0.1 <= found.high
    assert held > 85
    assert intervals.of_difference({"a": 1.0}, {"b": 1.0}).high == 1.0, "nothing in common says nothing"
