"""Reads a tenant's policy from YAML. A fault is refused with the line it stands in."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
import re2
import yaml

from services.guard.policy import BESIDE, CHECKED, ORDER, Check, Direction, Kept, Policy
from services.guard.rules import Action, Condition, Denied, Languages, Required, Rule, Topic, condition

ACTIONS = {action.name.lower(): action for action in Action}
SECTIONS = ("prompt", "completion", "injection", "deny_patterns", "require_patterns", "topics", "languages", "rules",
            "classes", "masking", "dry_run", "checks")  # fmt: skip
CHECK = ("name", "url", "on", "action", "key", "within_s", "fails", "params")
USUAL_CHECK_S, LONGEST_CHECK_S = 2.0, 60.0
NEAR = 0.7
"""Cosine of static vectors from which a text is of a topic, where the policy names none."""


class BadPolicy(Exception):
    """Names the place of the fault."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the document, and where it stands."""

    tenant: str
    node: yaml.Node

    def fault(self, words: str) -> BadPolicy:
        return BadPolicy(f"{self.tenant}: line {self.node.start_mark.line + 1}: {words}")

    @property
    def value(self) -> Any:
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self.node, deep=True)
        except yaml.YAMLError as error:
            raise self.fault(str(error)) from None
        finally:
            loader.dispose()

    def fields(self, *known: str, needed: tuple[str, ...] = ()) -> dict[str, "Place"]:
        """Its parts by name; every name must be among `known`, where any are given."""
        if not isinstance(self.node, yaml.MappingNode):
            if self.node.tag == "tag:yaml.org,2002:null":
                return {}
            raise self.fault("not a mapping")
        made = {}
        for key, value in self.node.value:
            if known and key.value not in known:
                raise Place(self.tenant, key).fault(f"{key.value} is unknown; known are {', '.join(known)}")
            made[key.value] = Place(self.tenant, value)
        if missing := [name for name in needed if name not in made]:
            raise self.fault(f"{' and '.join(missing)} must be given")
        return made

    def items(self) -> Iterator["Place"]:
        if self.node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fault("not a list")
        yield from (Place(self.tenant, one) for one in self.node.value)

    def words(self) -> tuple[str, ...]:
        return tuple(str(one.value) for one in self.items())

    def share(self) -> float:
        said = self.value
        if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 1:
            raise self.fault(f"{said!r} is not between 0 and 1")
        return float(said)

    def json(self) -> dict[str, Any]:
        """A mapping that JSON has words for."""
        made = {key: place.value for key, place in self.fields().items()}
        try:
            orjson.dumps(made)
        except TypeError as error:
            raise self.fault(str(error)) from None
        return made

    def seconds(self, most: float) -> float:
        said = self.value
        if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said <= most:
            raise self.fault(f"{said!r} is not above 0 and at most {most:g} seconds")
        return float(said)

    def flag(self) -> bool:
        if not isinstance(said := self.value, bool):
            raise self.fault(f"{said!r} is neither true nor false")
        return said

    def action(self) -> Action:
        if (action := ACTIONS.get(str(said := self.value))) is None:
            raise self.fault(f"{said!r} is none of {', '.join(ACTIONS)}")
        return action

    def pattern(self) -> Any:
        try:
            return re2.compile(str(self.value))
        except re2.error as error:
            raise self.fault(str(error)) from None


def parse(text: str, tenant: str) -> Policy:
    """Reads one policy.

    Raises:
        BadPolicy: names the line of the first fault.
    """
    try:
        node = yaml.compose(text)
    except yaml.YAMLError as error:
        raise BadPolicy(f"{tenant}: {error}") from None
    empty = yaml.MappingNode("tag:yaml.org,2002:map", [], yaml.Mark("", 0, 0, 0, "", 0))
    said = Place(tenant, node if node is not None else empty).fields(*SECTIONS)
    injection = said["injection"].fields("user", "document", "action") if "injection" in said else {}
    masking = said["masking"].value if "masking" in said else "placeholders"
    if masking not in ("placeholders", "surrogates"):
        raise said["masking"].fault(f"{masking!r} is neither placeholders nor surrogates")
    return Policy(
        tenant=tenant,
        version=sha256(text.encode()).hexdigest()[:16],
        prompt=_direction(said.get("prompt"), beside=True),
        completion=_direction(said.get("completion"), beside=False),
        user_injection=injection["user"].share() if "user" in injection else 0.97,
        document_injection=injection["document"].share() if "document" in injection else 0.9,
        injection_action=injection["action"].action() if "action" in injection else Action.BLOCK,
        rules=tuple(_rules(said)),
        classes=_classes(said["classes"]) if "classes" in said else {},
        surrogates=masking == "surrogates",
        dry_run=said["dry_run"].flag() if "dry_run" in said else False,
        checks=tuple(_checks(said["checks"])) if "checks" in said else (),
    )


def _direction(said: Place | None, *, beside: bool) -> Direction:
    parts = said.fields("default", "types") if said is not None else {}
    types = {
        kind: BESIDE if beside and place.value == BESIDE else place.action()
        for kind, place in (parts["types"].fields().items() if "types" in parts else ())
    }
    return Direction(parts["default"].action() if "default" in parts else Action.MASK, types)


def _rules(said: dict[str, Place]) -> Iterator[Rule]:
    for section, kind in (("deny_patterns", Denied), ("require_patterns", Required)):
        for one in said[section].items() if section in said else ():
            parts = one.fields("name", "pattern", "action", needed=("name", "pattern"))
            yield kind(f"{section}.{parts['name'].value}", _asked(parts), parts["pattern"].pattern())
    for one in said["topics"].items() if "topics" in said else ():
        parts = one.fields("name", "examples", "unlike", "at", "action", needed=("name", "examples"))
        at = parts["at"].share() if "at" in parts else NEAR
        if not (examples := parts["examples"].words()):
            raise parts["examples"].fault("a topic needs an example")
        unlike = parts["unlike"].words() if "unlike" in parts else ()
        yield Topic(f"topics.{parts['name'].value}", _asked(parts), examples, unlike, at)
    if "languages" in said:
        parts = said["languages"].fields("allow", "action", needed=("allow",))
        yield Languages("languages", _asked(parts), frozenset(parts["allow"].words()))
    for one in said["rules"].items() if "rules" in said else ():
        parts = one.fields("name", "when", "action", needed=("name", "when"))
        try:
            program = condition(str(parts["when"].value))
        except ValueError as error:
            raise parts["when"].fault(str(error)) from None
        yield Condition(f"rules.{parts['name'].value}", _asked(parts), program)


def _asked(parts: dict[str, Place]) -> Action:
    """A rule's action: it forbids where nothing is said, and cannot mask what has no place in the text."""
    if "action" not in parts:
        return Action.BLOCK
    if (action := parts["action"].action()) not in (Action.FLAG, Action.BLOCK):
        raise parts["action"].fault("a rule can flag or block")
    return action


def _checks(said: Place) -> Iterator[Check]:
    names = set[str]()
    for one in said.items():
        parts = one.fields(*CHECK, needed=("name", "url"))
        name, url = str(parts["name"].value), str(parts["url"].value)
        if name in names:
            raise parts["name"].fault(f"two checks are called {name}")
        names.add(name)
        if not url.startswith(("http://", "https://")):
            raise parts["url"].fault(f"{url!r} is no HTTP address")
        on = parts["on"].words() if "on" in parts else CHECKED[:1]
        if unknown := next((what for what in on if what not in CHECKED), None):
            raise parts["on"].fault(f"{unknown!r} is none of {', '.join(CHECKED)}")
        fails = parts["fails"].value if "fails" in parts else "closed"
        if fails not in ("closed", "open"):
            raise parts["fails"].fault(f"{fails!r} is neither closed nor open")
        yield Check(
            name, url, _asked(parts), frozenset(on), str(parts["key"].value) if "key" in parts else "",
            parts["within_s"].seconds(LONGEST_CHECK_S) if "within_s" in parts else USUAL_CHECK_S, fails == "open",
            parts["params"].json() if "params" in parts else {},
        )  # fmt: skip


def _classes(said: Place) -> dict[str, Kept]:
    made = {}
    for name, place in said.fields(*ORDER).items():
        parts = place.fields("models", "regions")
        made[name] = Kept(*(parts[key].words() if key in parts else () for key in ("models", "regions")))
    return made
