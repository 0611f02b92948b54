"""What releases before have logged is replayed, too."""

import json

from services.router.policy import Rule, Terms
from services.router.ranking import Needs, rank
from services.router.replay import entry, replayed
from tests.router.test_ranking import STRONG, WEAK, model

SINCE_0_15, SINCE_0_16 = 1, 1
"""Facts of a model that came with each release: the price of a call, and whether it searches the web."""


def test_older_entries_say_the_same() -> None:
    models = [(one, one.ability) for one in (WEAK, STRONG)]
    made = rank(models, Needs(input_tokens=400), Terms(), None)
    logged = json.loads(json.dumps(entry("d", "acme", 1.0, models, Needs(input_tokens=400), Terms(), None, made)))
    for fewer in (0, SINCE_0_16, SINCE_0_16 + SINCE_0_15):
        rows = [row[: len(row) - fewer] for row in logged["models"]]
        needs = logged["needs"][: -1 if fewer else None]
        told = replayed([{**logged, "models": rows, "needs": needs}], Terms(), frozenset())
        assert told.decisions == 1 and told.before == told.after and told.cost_before == told.cost_after


def test_what_a_model_must_be_able_to_do_is_replayed() -> None:
    models, needs = [(one, one.ability) for one in (STRONG, model("seeker", web_search=True))], Needs(web_search=True)
    made = rank(models, needs, Terms(), None)
    logged = json.loads(json.dumps(entry("d", "acme", 1.0, models, needs, Terms(), None, made)))
    told = replayed([logged], Terms(Rule.FIXED), frozenset())
    assert dict(told.after) == {"seeker": 1}
