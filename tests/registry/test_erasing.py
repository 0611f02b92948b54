"""A tenant is taken out of the registry whole, and of others nothing; what was erased stands in the log that begins anew."""

import json

import pytest
from tollway.registry.v1 import registry_pb2 as pb

from services.registry import audit
from tests.registry.served import Jobs, propose, served
from tests.registry.test_drift import probe
from tests.registry.test_reviews import record
from tests.registry.test_runs import dataset, ended, started
from tests.registry.test_shadows import compared, set_, shadow
from tests.support.refusals import refused
from tests.support.serve import TRANSPORTS
from tests.support.stubs import Called


async def filled(stub: Called) -> None:
    """Something of everything."""
    await propose(stub, "questions", dataset())
    await propose(stub, "support/answer", {"template": {"turns": [{"text": {"role": "system", "text": "be kind"}}]}})
    await stub.MoveLabel(pb.MoveLabelRequest(name="support/answer", label="production", number=1))
    await set_(stub, shadow())
    await compared(stub, 2)
    await ended(stub, await started(stub))
    await stub.SetProbe(pb.SetProbeRequest(probe=probe(models=["a"])))
    await stub.RecordAnswer(pb.RecordAnswerRequest(record=record()))
    await stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=pb.Feedback(trace_id="ab", score=1)))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_tenant_is_erased(postgres_url: str, transport: str) -> None:
    async with served(postgres_url, Jobs(), transport) as stub:
        admin, other = stub.by("operator", admin=True, key="key_root"), stub.by("globex/app")
        await filled(stub)
        await propose(other, "questions", dataset())
        await stub.Resolve(pb.ResolveRequest(reference="support/answer"))
        gone = dict((await admin.Erase(pb.EraseRequest(tenant="acme", everything=True))).erased)
        assert gone.pop("audit_entries") > 4
        assert gone == {
            "versions": 2, "labels": 1, "shadows": 1, "runs": 1, "probes": 1, "records": 1, "feedback": 1,
        }  # fmt: skip
        assert not (await stub.ListArtifacts(pb.ListArtifactsRequest())).artifacts
        assert not (await stub.ListRuns(pb.ListRunsRequest())).runs
        assert (await refused(stub.Resolve(pb.ResolveRequest(reference="support/answer@1"))))[1] == "VERSION_UNKNOWN"
        (entry,) = (await stub.ListAudit(pb.ListAuditRequest())).entries
        said = json.loads(entry.json)
        assert (said["action"], said["actor"], said["after"]["versions"]) == ("registry.Erase", "key_root", 2)
        assert audit.verified([audit.Entry(entry.sequence, entry.json, entry.hash)]) is not None
        assert len((await other.ListArtifacts(pb.ListArtifactsRequest())).artifacts) == 1
        await propose(stub, "questions", dataset())
