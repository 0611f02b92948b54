"""What policy does about findings. One YAML document a tenant; a verdict names the rule that made it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import Any

import re2
import yaml

from services.guard.finding import Found
from services.runtime.errors import Failure, Kind


class Action(IntEnum):
    """Weakest first; numbers are those of the contract."""

    ALLOW = 1
    FLAG = 2
    MASK = 3
    BLOCK = 4


BESIDE = "beside"
ACTIONS = {action.name.lower(): action for action in Action}
CLASSES = {
    "restricted": frozenset(("SECRET", "CREDIT_CARD", "IBAN", "US_SSN", "PASSPORT", "DRIVER_LICENSE", "US_BANK_ACCOUNT")),
    "internal": frozenset(("ORGANIZATION", "IP_ADDRESS", "MAC_ADDRESS", "USERNAME", "URL", "LOCATION", "DATE_TIME", "TITLE", "NRP")),
}  # fmt: skip
ORDER = ("public", "internal", "confidential", "restricted")


class BadPolicy(Exception):
    """Names the place of the fault."""


class PromptBlocked(Failure):
    kind, reason = Kind.DENIED, "POLICY_BREACH"
    text = "policy {rule} forbids it"


@dataclass(frozen=True)
class Direction:
    """Actions for one way: to the model, or from it."""

    default: Action
    types: Mapping[str, Action | str]

    def action(self, kind: str, masked: bool) -> Action:
        """For one type; `masked` says whether anything else is masked, which `beside` asks."""
        said = self.types.get(kind, self.default)
        if isinstance(said, Action):
            return said
        return Action.MASK if masked else Action.FLAG

    @cached_property
    def allowed(self) -> frozenset[str]:
        """Types that nothing is done about: they need not be looked for."""
        return frozenset(kind for kind, action in self.types.items() if action is Action.ALLOW)

    def firm(self, kind: str) -> bool:
        """Whether the type is masked by itself."""
        return self.types.get(kind, self.default) is Action.MASK


@dataclass(frozen=True, slots=True)
class Policy:
    tenant: str
    version: str
    prompt: Direction
    completion: Direction
    user_injection: float
    document_injection: float
    injection_action: Action
    deny: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    dry_run: bool = False

    def judged(
        self, direction: Direction, name: str, found: Iterable[Found]
    ) -> tuple[list[tuple[Found, Action]], Action, str]:
        """Each finding with its action, the strictest action and the rule that asks for it."""
        found = list(found)
        masked = any(direction.firm(one.type) for one in found)
        judged, worst, rule = [], Action.ALLOW, ""
        for one in found:
            action = direction.action(one.type, masked)
            if self.dry_run and action > Action.FLAG:
                action = Action.FLAG
            judged.append((one, action))
            if action > worst:
                worst = action
                rule = f"{name}.types.{one.type}" if one.type in direction.types else f"{name}.default"
        return judged, worst, rule

    def denied(self, text: str) -> str:
        """The rule of the first denied pattern that `text` meets; '' for none."""
        return next((f"deny_patterns.{name}" for name, pattern in self.deny if pattern.search(text)), "")


def data_class(found: Iterable[Found]) -> str:
    """How private the worst finding is."""
    worst = 0
    for one in found:
        name = next((name for name, types in CLASSES.items() if one.type in types), None)
        if name is None:
            name = (
                "restricted"
                if one.recognizer.partition("-")[0]
                in ("uk", "ca", "de", "fr", "es", "it", "nl", "in", "br", "au", "pl")
                else "confidential"
            )
        worst = max(worst, ORDER.index(name))
    return ORDER[worst]


def parse(text: str, tenant: str) -> Policy:
    """Reads one policy.

    Raises:
        BadPolicy: names the line of the first fault.
    """
    try:
        node, said = yaml.compose(text), yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise BadPolicy(f"{tenant}: {error}") from None
    if not isinstance(said, dict) or not isinstance(node, yaml.MappingNode):
        raise BadPolicy(f"{tenant}: line 1: not a mapping")
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    known = {"prompt", "completion", "injection", "deny_patterns", "dry_run"}
    for name in said:
        if name not in known:
            raise BadPolicy(f"{tenant}: line {lines[name]}: {name} is unknown")
    injection = said.get("injection") or {}
    return Policy(
        tenant=tenant,
        version=sha256(text.encode()).hexdigest()[:16],
        prompt=_direction(said.get("prompt") or {}, tenant, lines.get("prompt", 1), True),
        completion=_direction(said.get("completion") or {}, tenant, lines.get("completion", 1), False),
        user_injection=_share(injection.get("user", 0.97), tenant, lines.get("injection", 1)),
        document_injection=_share(injection.get("document", 0.9), tenant, lines.get("injection", 1)),
        injection_action=_action(injection.get("action", "block"), tenant, lines.get("injection", 1)),
        deny=tuple(_deny(one, tenant, lines["deny_patterns"]) for one in said.get("deny_patterns") or ()),
        dry_run=bool(said.get("dry_run", False)),
    )


def _direction(said: Any, tenant: str, line: int, beside: bool) -> Direction:
    if not isinstance(said, dict) or set(said) - {"default", "types"}:
        raise BadPolicy(f"{tenant}: line {line}: expected `default` and `types`")
    types = {
        str(kind): BESIDE if beside and action == BESIDE else _action(action, tenant, line)
        for kind, action in (said.get("types") or {}).items()
    }
    return Direction(_action(said.get("default", "mask"), tenant, line), types)


def _action(said: Any, tenant: str, line: int) -> Action:
    if (action := ACTIONS.get(str(said))) is None:
        raise BadPolicy(f"{tenant}: line {line}: {said!r} is none of {', '.join(ACTIONS)}")
    return action


def _share(said: Any, tenant: str, line: int) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 1:
        raise BadPolicy(f"{tenant}: line {line}: {said!r} is not between 0 and 1")
    return float(said)


def _deny(said: Any, tenant: str, line: int) -> tuple[str, Any]:
    if not isinstance(said, dict) or set(said) != {"name", "pattern"}:
        raise BadPolicy(f"{tenant}: line {line}: a denied pattern has a `name` and a `pattern`")
    try:
        return str(said["name"]), re2.compile(str(said["pattern"]))
    except re2.error as error:
        raise BadPolicy(f"{tenant}: line {line}: {error}") from None
