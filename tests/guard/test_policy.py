"""Policies: what they say is done, and a faulty one is refused with its line."""

from pathlib import Path

import pytest

from services.guard.finding import Found
from services.guard.policies import Policies
from services.guard.policy import Action, BadPolicy, data_class, parse


def one(kind: str, recognizer: str = "r") -> Found:
    return Found(kind, 0, 1, 1.0, recognizer, "w")


def test_each_type_has_its_action_and_the_strictest_rule_speaks() -> None:
    policy = parse("prompt: {default: mask, types: {SECRET: block, URL: allow, PERSON: flag}}", "acme")
    judged, action, rule = policy.judged(policy.prompt, "prompt", [one("URL"), one("PERSON"), one("EMAIL")])
    assert [act for _, act in judged] == [Action.ALLOW, Action.FLAG, Action.MASK]
    assert (action, rule) == (Action.MASK, "prompt.default")
    assert policy.judged(policy.prompt, "prompt", [one("SECRET")])[1:] == (Action.BLOCK, "prompt.types.SECRET")


def test_beside_masks_only_where_something_else_is_masked() -> None:
    policy = parse("prompt: {types: {PERSON: beside}}", "acme")
    assert policy.judged(policy.prompt, "prompt", [one("PERSON")])[1] is Action.FLAG
    assert [act for _, act in policy.judged(policy.prompt, "prompt", [one("PERSON"), one("EMAIL")])[0]] == [
        Action.MASK
    ] * 2


def test_a_dry_run_only_reports() -> None:
    policy = parse("{prompt: {default: block}, dry_run: true}", "acme")
    assert policy.judged(policy.prompt, "prompt", [one("EMAIL")])[1] is Action.FLAG


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("colour: red", "line 1: colour is unknown"),
        ("prompt: {default: mask}\ncompletion:\n  default: sometimes", "line 2: 'sometimes' is none of"),
        ("prompt: 3", "line 1"),
        ("injection: {user: 2}", "line 1: 2 is not between 0 and 1"),
        ("deny_patterns:\n  - {name: x, pattern: '('}", "line 1"),
        ("[1]", "not a mapping"),
        ("{", "acme"),
    ],
)
def test_a_faulty_policy_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(BadPolicy, match="acme") as fault:
        parse(text, "acme")
    assert line in str(fault.value)


def test_denied_patterns_name_themselves() -> None:
    policy = parse("deny_patterns: [{name: codename, pattern: '(?i)project bluebird'}]", "acme")
    assert policy.denied("about Project Bluebird") == "deny_patterns.codename" and policy.denied("about birds") == ""


def test_data_classes() -> None:
    assert data_class([]) == "public"
    assert data_class([one("ORGANIZATION")]) == "internal"
    assert data_class([one("EMAIL"), one("ORGANIZATION")]) == "confidential"
    assert data_class([one("CREDIT_CARD")]) == data_class([one("ID", "de-tax")]) == "restricted"


def test_a_folder_is_read_again_as_it_changes(tmp_path: Path) -> None:
    policies = Policies(str(tmp_path))
    usual = policies.of("acme")
    (tmp_path / "acme.yaml").write_text("prompt: {default: block}")
    policies._load()
    assert policies.of("acme").prompt.default is Action.BLOCK and policies.of("other") == usual
    (tmp_path / "acme.yaml").write_text("colour: red")
    with pytest.raises(BadPolicy):
        policies._load()
    assert policies.of("acme").prompt.default is Action.BLOCK
    (tmp_path / "acme.yaml").unlink()
    policies._load()
    assert policies.of("acme") == usual
