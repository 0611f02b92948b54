"""Templates: what they make, what is refused, and what cannot get out of them."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.rendering import FUEL, Compiled, ContentUnfit, RenderingFailed, included
from services.registry.variables import VariablesUnfit
from services.registry.versions import Version
from tests.registry.made import snippet, template, version

SECRET = "the value that nobody may quote"


def compiled(content: dict[str, Any], *texts: Version, **more: Any) -> Compiled:
    return Compiled(version(content, **more), {one.digest: one for one in texts})


def rendered(*texts: str, variables: tuple[Any, ...] = (), **said: Any) -> list[str]:
    return [turn.text for turn in compiled(template(*texts, variables=variables)).render(said)]


def test_a_template_is_rendered_as_it_is_written() -> None:
    said = "Dear {{ name }},\n{% for one in items %}- {{ one }}\n{% endfor %}{% if formal %}Yours{% else %}Bye{% endif %}\n"
    variables = ("name", {"name": "items", "type": "list"}, {"name": "formal", "type": "boolean"})
    made = rendered(said, variables=variables, name="<Ann>", items=["a", "b"], formal=False)
    assert made == ["Dear <Ann>,\n- a\n- b\nBye\n"]


@given(st.text(max_size=200))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert rendered("[{{ q }}]", variables=("q",), q=value) == [f"[{value}]"]


def test_what_is_missing_extra_or_of_another_type_is_named_and_not_quoted() -> None:
    variables = (
        "name",
        {"name": "count", "type": "integer", "default_json": "3"},
        {"name": "tone", "choices": ["warm", "cool"]},
        {"name": "note", "longest": 5},
    )
    with pytest.raises(VariablesUnfit) as caught:
        rendered("{{ name }}{{ count }}", variables=variables, count=True, tone=SECRET, note=SECRET, colour=SECRET)
    said = str(caught.value)
    assert "name: missing" in said and "count: not a whole number" in said and "tone: none of warm, cool" in said
    assert "note: longer than 5" in said and "colour: no such variable" in said and SECRET not in said
    assert rendered("{{ name }}{{ count }}", variables=variables[:2], name="x") == ["x3"]


@pytest.mark.parametrize(
    ("content", "place", "rule"),
    [
        (template("{{ nobody }}"), "template.turns[0].text", "no such variable: nobody"),
        (template("a", "\n{% if %}"), "template.turns[1].text", "line 2"),
        (template("a", variables=("q", "q")), "template.variables[1]", "one of this name"),
        (template("a", variables=({"name": "q", "default_json": "{"},)), "template.variables[0]", "Expecting"),
        (
            template("a", variables=({"name": "q", "type": "list", "default_json": "1"},)),
            "template.variables[0]",
            "not a list",
        ),
        ({"template": {"turns": [{"conversation": True}, {"conversation": True}]}}, "template.turns", "twice"),
        ({"template": {"turns": [{"shots": {"variable": "q"}}]}}, "template.turns[0].shots.variable", "type list"),
    ],
)
def test_content_that_cannot_be_is_refused_with_its_place(content: dict[str, Any], place: str, rule: str) -> None:
    with pytest.raises(ContentUnfit) as caught:
        compiled(content)
    assert caught.value.facts["place"] == place and rule in caught.value.facts["rule"]


def test_examples_stand_between_the_turns_and_the_conversation_has_its_place() -> None:
    content = {
        "template": {
            "variables": [{"name": "more", "type": "list", "default_json": "[]"}, {"name": "who"}],
            "turns": [
                {"text": {"role": "system", "text": "You are {{ who }}."}},
                {"shots": {"shots": [{"user": "Who?", "assistant": "{{ who }}"}], "variable": "more"}},
                {"conversation": True},
                {"text": {"role": "developer", "text": "Be brief."}},
            ],
        }
    }
    made = compiled(content).render({"who": "Max", "more": [{"user": "a", "assistant": "b"}]})
    assert [(one.role, one.text) for one in made] == [
        ("system", "You are Max."), ("user", "Who?"), ("assistant", "Max"), ("user", "a"), ("assistant", "b"),
        ("conversation", ""), ("developer", "Be brief."),
    ]  # fmt: skip
    with pytest.raises(RenderingFailed, match=r"more\[0\].*no assistant"):
        compiled(content).render({"who": "Max", "more": [{"user": "a"}]})


def test_what_is_included_is_the_version_that_was_fixed() -> None:
    inner = version(snippet("never {{ what }}"), "rules/inner", number=1)
    outer = version(
        snippet('Rule: {% include "rules/inner" %}.'), "rules", number=4, includes={"rules/inner": inner.digest}
    )
    content = template('{% include "rules" %}', variables=("what",))
    assert included(content) == ["rules"]
    made = compiled(content, inner, outer, includes={"rules": outer.digest})
    assert made.render({"what": "lie"})[0].text == "Rule: never lie."
    plain = version(snippet("plain"), "plain", number=1)
    with pytest.raises(RenderingFailed):  # what was not fixed cannot be had, whoever writes its name
        compiled(template("{% include name %}", variables=("name",)), plain).render({"name": plain.digest})
    with pytest.raises(ContentUnfit, match="include rules/inner@1: no such variable: what"):
        compiled(template('{% include "rules/inner" %}'), inner, includes={"rules/inner": inner.digest})


HOSTILE = (
    "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 'x'|indent(1000000000) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ range(100000)|list|join('x' * 10000) }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in range(10000) %}{{ q|upper }}{% endfor %}",
    "{{ q|replace('x', 'x' * 5000)|length }}",
    "{% set ns = namespace(a=q) %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "{{ q.__class__.__mro__ }}",
    "{{ ''.__class__ }}",
    "{{ q.mro() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.environ }}",
    "{{ q|attr('__class__') }}",
    "{{ q[99999] }}{{ 1 // 0 }}",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_templates_are_contained(text: str) -> None:
    began = time.process_time()
    with pytest.raises((RenderingFailed, ContentUnfit)) as caught:
        rendered(text, variables=("q",), q=SECRET + "x" * 100_000)
    assert SECRET not in str(caught.value)
    assert time.process_time() - began < 5.0  # not how fast it is, but that it ends


def test_the_state_of_the_machine_cannot_be_seen() -> None:
    with pytest.raises(ContentUnfit, match="debug"):
        rendered("{{ debug() }}")
    assert FUEL <= 1_000_000


def test_a_prompt_has_its_longest() -> None:
    variables = ("q",)
    assert len(rendered("{{ q }}", variables=variables, q="x" * 1_000_000)[0]) == 1_000_000
    with pytest.raises(RenderingFailed, match="characters"):
        rendered("{{ q }}", "{{ q }}", variables=variables, q="x" * 1_000_000)
