"""The AsyncAPI document is what the contracts say, is AsyncAPI, and real events are as it says."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from jsonschema import Draft7Validator
from tollway.ledger.v1 import ledger_pb2

from services.jobs import events
from services.jobs.life import Fault, Job, State

DOCUMENT = Path("docs/asyncapi.yaml")
SPECIFICATION = Path(".tools/node_modules/@asyncapi/specs/schemas/3.0.0.json")


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(DOCUMENT.read_text())


def test_it_is_made_of_the_contracts() -> None:
    made = subprocess.run([sys.executable, "tools/asyncapi.py"], capture_output=True, text=True, check=True)
    assert made.stdout == DOCUMENT.read_text(), "`make protos` makes it anew"


def test_it_is_asyncapi(document: Any) -> None:
    if not SPECIFICATION.exists():
        pytest.skip("AsyncAPI's own schema is not here: `make lint` fetches it")
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text()))
    assert [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize("state", [state for state in State if state.over])
def test_events_are_as_it_says(document: Any, state: State) -> None:
    now = datetime.now(UTC)
    job = Job(uuid4(), "chat", "acme/app", "key_1", now, now, now + timedelta(hours=1), b"", state=state)
    job = replace(job, fault=Fault(3, "BAD", "no"), metadata={"order": "4711"})
    event = json.loads(events.ended(job, now))
    name = f"job{state.name.capitalize()}"
    message = document["components"]["messages"][name]
    assert message["name"] == event["type"]
    schema = {**message["payload"], "components": document["components"]}
    assert [error.message for error in Draft7Validator(schema).iter_errors(event)] == []
    known = document["components"]["schemas"]
    assert set(event) == set(known["CloudEvent"]["properties"])
    assert set(event["data"]) == set(known["JobEnded"]["properties"])


@pytest.mark.parametrize("kind", ["budget_warning", "loop", "spike", "suspended"])
def test_alerts_are_as_it_says(document: Any, kind: str) -> None:
    event = json.loads(events.alert(ledger_pb2.Alert(alert_id=7, kind=kind, account="acme/app", subject="key_1")))
    (message,) = [one for one in document["components"]["messages"].values() if one["name"] == event["type"]]
    schema = {**message["payload"], "components": document["components"]}
    assert [error.message for error in Draft7Validator(schema).iter_errors(event)] == []
    assert set(event["data"]) == set(document["components"]["schemas"]["AlertRaised"]["properties"])
