"""Policies: what they say is done, and a faulty one is refused with its line."""

from pathlib import Path

import numpy as np
import pytest

from services.guard.finding import Found
from services.guard.policies import Policies
from services.guard.policy import Kept, data_class
from services.guard.policy_file import BadPolicy, parse
from services.guard.rules import Action, Facts, Vector
from services.runtime.languages import language
from tests.support.encoders import static


def one(kind: str, recognizer: str = "r") -> Found:
    return Found(kind, 0, 1, 1.0, recognizer, "w")


def test_each_type_has_its_action_and_the_strictest_rule_speaks() -> None:
    policy = parse("prompt: {default: mask, types: {SECRET: block, URL: allow, PERSON: flag}}", "acme")
    judged, verdict = policy.judged(policy.prompt, "prompt", [one("URL"), one("PERSON"), one("EMAIL")])
    assert [act for _, act in judged] == [Action.ALLOW, Action.FLAG, Action.MASK]
    assert (verdict.action, verdict.rule) == (Action.MASK, "prompt.default")
    verdict = policy.judged(policy.prompt, "prompt", [one("SECRET")])[1]
    assert (verdict.action, verdict.rule) == (Action.BLOCK, "prompt.types.SECRET")


def test_beside_masks_only_where_something_else_is_masked() -> None:
    policy = parse("prompt: {types: {PERSON: beside}}", "acme")
    assert policy.judged(policy.prompt, "prompt", [one("PERSON")])[1].action is Action.FLAG
    assert [act for _, act in policy.judged(policy.prompt, "prompt", [one("PERSON"), one("EMAIL")])[0]] == [
        Action.MASK
    ] * 2


def test_a_dry_run_only_reports() -> None:
    policy = parse("{prompt: {default: block}, dry_run: true}", "acme")
    verdict = policy.judged(policy.prompt, "prompt", [one("EMAIL")])[1]
    assert (verdict.action, verdict.would_be, verdict.rule) == (Action.FLAG, Action.BLOCK, "prompt.default")
    worse = policy.stricter(verdict, "rules.x", Action.BLOCK)
    assert worse == verdict


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("colour: red", "line 1: colour is unknown"),
        ("prompt: {default: mask}\ncompletion:\n  default: sometimes", "line 3: 'sometimes' is none of"),
        ("prompt: 3", "line 1"),
        ("injection: {user: 2}", "line 1: 2 is not between 0 and 1"),
        ("dry_run: false\ndeny_patterns:\n  - {name: x, pattern: '('}", "line 3"),
        ("deny_patterns: [{pattern: x}]", "line 1: name must be given"),
        ("deny_patterns:\n- {name: x, pattern: y, action: mask}", "line 2: a rule can flag or block"),
        ("topics:\n- name: x\n  examples: []", "line 3: a topic needs an example"),
        ("topics: [{name: x, examples: [a], at: 7}]", "line 1: 7 is not between 0 and 1"),
        ("languages: {allow: en}", "line 1: not a list"),
        ("rules:\n- {name: a, when: 'true'}\n- {name: b, when: 'cout(1) >'}", "line 3: "),
        ("rules: [{name: a, when: 'nobody > 1'}]", "line 1: "),
        ("rules: [{name: a, when: '1 + 1'}]", "line 1: it must be true or false"),
        ("classes: {secret: {}}", "line 1: secret is unknown"),
        ("prompt:\n  types:\n    EMAIL: hide", "line 3: 'hide' is none of"),
        ("masking: none", "line 1: 'none' is neither placeholders nor surrogates"),
        ("dry_run: maybe", "line 1: 'maybe' is neither"),
        ("[1]", "not a mapping"),
        ("{", "acme"),
    ],
)
def test_a_faulty_policy_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(BadPolicy, match="acme") as fault:
        parse(text, "acme")
    assert line in str(fault.value)


def broken(text: str, facts: Facts) -> list[tuple[str, Action]]:
    return [(rule.name, rule.action) for rule in parse(text, "acme").broken(facts)]


def test_patterns_that_must_not_or_must_be_there() -> None:
    denied = "deny_patterns: [{name: codename, pattern: '(?i)project bluebird'}]"
    assert broken(denied, Facts(["a", "about Project Bluebird"])) == [("deny_patterns.codename", Action.BLOCK)]
    assert broken(denied, Facts(["about birds"])) == []
    required = "require_patterns: [{name: ticket, pattern: 'T-\\d+', action: flag}]"
    assert broken(required, Facts(["no ticket"])) == [("require_patterns.ticket", Action.FLAG)]
    assert broken(required, Facts(["see T-12", "more"])) == []


def test_a_topic_is_near_its_examples() -> None:
    policy = parse("topics: [{name: legal, examples: ['Can I sue my landlord?', 'Is this contract binding?']}]", "acme")
    (topic,) = policy.topics
    near, far = static().encode("May I sue my landlord for that?"), static().encode("Bake a cake with me.")
    assert not policy.broken(Facts(vector=near))  # nobody has made its vectors yet
    topic.prototypes = np.stack([static().encode(text) for text in topic.examples])
    assert [rule.name for rule in policy.broken(Facts(vector=near))] == ["topics.legal"]
    assert not policy.broken(Facts(vector=far)) and not policy.broken(Facts(vector=None))
    assert not policy.broken(Facts(vector=np.zeros(8, np.float32)))


def test_a_topic_is_not_what_it_is_unlike() -> None:
    said = (
        "topics: [{name: legal, examples: ['How do I file a patent?'], unlike: ['How do I file a drawer?'], at: 0.5}]"
    )
    policy = parse(said, "acme")
    (topic,) = policy.topics
    topic.prototypes = np.stack([static().encode(text) for text in (*topic.examples, *topic.unlike)])
    assert policy.broken(Facts(vector=static().encode("How do I file my patent?")))
    assert not policy.broken(Facts(vector=static().encode("How do I file the drawer?")))


def test_languages_that_are_allowed() -> None:
    said = "languages: {allow: [en, de]}"
    german, french = (
        "Schreib mir bitte ein kurzes Gedicht über den Regen.",
        "Écris-moi un petit poème sur la pluie, s'il te plaît.",
    )
    assert broken(said, Facts([german], tell=language)) == []
    assert broken(said, Facts([french], tell=language)) == [("languages", Action.BLOCK)]
    assert broken(said, Facts(["ok"], tell=language)) == []  # too short to tell


def test_conditions_of_a_tenants_own() -> None:
    said = "rules: [{name: dump, when: \"count('EMAIL') > 2 || (data_class == 'restricted' && injection > 0.5)\"}]"
    assert broken(said, Facts(types={"EMAIL": 2})) == []
    assert broken(said, Facts(types={"EMAIL": 3})) == [("rules.dump", Action.BLOCK)]
    assert broken(said, Facts(data_class="restricted", injection=0.7)) == [("rules.dump", Action.BLOCK)]
    long = "rules: [{name: long, when: 'characters > 10 && messages == 1 && contains(\"x\")', action: flag}]"
    assert broken(long, Facts(["x" * 11], messages=1)) == [("rules.long", Action.FLAG)]
    tongue = 'rules: [{name: foreign, when: \'language() != "" && language() != "en"\'}]'
    assert broken(tongue, Facts(["Das ist ein ganz gewöhnlicher deutscher Satz."], tell=language))


def test_a_condition_that_cannot_be_computed_lets_nothing_through() -> None:
    assert broken("rules: [{name: x, when: 'size(types) == 0 || types[5] == \"EMAIL\"'}]", Facts(types={"A": 1}))


def test_where_data_of_a_class_may_go() -> None:
    policy = parse("classes: {restricted: {models: [local], regions: [eu]}, confidential: {regions: [eu]}}", "acme")
    assert policy.classes == {"restricted": Kept(("local",), ("eu",)), "confidential": Kept((), ("eu",))}


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


async def test_topics_are_taught_once_the_encoder_is_there(tmp_path: Path) -> None:
    there = False

    async def encode(texts: list[str]) -> list[Vector] | None:
        return [static().encode(text) for text in texts] if there else None

    (tmp_path / "acme.yaml").write_text("topics: [{name: legal, examples: ['Can I sue my landlord?']}]")
    policies = Policies(str(tmp_path), encode)
    await policies.teach()
    (topic,) = policies.of("acme").topics
    assert topic.prototypes is None
    there = True
    await policies.teach()
    assert topic.prototypes is not None and topic.prototypes.shape == (1, 256)
