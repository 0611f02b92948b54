"""What policy does about findings. One YAML document a tenant; a verdict names the rule that made it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from msgspec import Struct

from services.guard.finding import Found
from services.guard.rules import Action, Condition, Facts, Rule, Topic
from services.runtime.errors import Failure, Kind

BESIDE = "beside"
CLASSES = {
    "restricted": frozenset(("SECRET", "CREDIT_CARD", "IBAN", "US_SSN", "PASSPORT", "DRIVER_LICENSE", "US_BANK_ACCOUNT")),
    "internal": frozenset(("ORGANIZATION", "IP_ADDRESS", "MAC_ADDRESS", "USERNAME", "URL", "LOCATION", "DATE_TIME", "TITLE", "NRP")),
}  # fmt: skip
CHECKED = ("prompt", "document", "completion")
"""What checks of a company's own may be asked about."""
ORDER = ("public", "internal", "confidential", "restricted")
NATIONAL = ("uk", "ca", "de", "fr", "es", "it", "nl", "in", "br", "au", "pl")


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
class Kept:
    """Where data of a class may go; empty for anywhere."""

    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A service of the company's own that is asked about texts."""

    name: str
    url: str
    action: Action
    """What is done with what it blocks."""
    on: frozenset[str]
    """Of [CHECKED][]."""
    key: str = field(repr=False)
    """Where its key lies: `env:NAME`, `file:PATH` or `vault:PATH#FIELD`."""
    within_s: float
    open: bool
    """Whether a text passes that it cannot be asked about."""
    params: Mapping[str, Any]
    """Told to it with every text."""

    @property
    def rule(self) -> str:
        return f"checks.{self.name}"


class Verdict(Struct, frozen=True):
    """What is done with a request, and why."""

    action: Action
    rule: str
    would_be: Action
    """The action without a dry run."""


@dataclass(frozen=True, slots=True)
class Policy:
    tenant: str
    version: str
    prompt: Direction
    completion: Direction
    user_injection: float
    document_injection: float
    injection_action: Action
    rules: tuple[Rule, ...] = ()
    classes: Mapping[str, Kept] = field(default_factory=dict)
    surrogates: bool = False
    """Masked values become invented ones of their form instead of placeholders."""
    dry_run: bool = False
    checks: tuple[Check, ...] = ()

    def checks_on(self, what: str) -> list[Check]:
        """Those that are asked about it, in the order of the file."""
        return [one for one in self.checks if what in one.on]

    @property
    def topics(self) -> list[Topic]:
        return [rule for rule in self.rules if isinstance(rule, Topic)]

    @property
    def weighs_chances(self) -> bool:
        """Whether a condition of its own may look at the chance of an attack itself, and not at the limits alone."""
        return any(isinstance(rule, Condition) for rule in self.rules)

    def judged(
        self, direction: Direction, name: str, found: Iterable[Found]
    ) -> tuple[list[tuple[Found, Action]], Verdict]:
        """Each finding with its action, and the strictest of them with the rule that asks for it."""
        found = list(found)
        masked = any(direction.firm(one.type) for one in found)
        judged, worst, rule = [], Action.ALLOW, ""
        for one in found:
            action = direction.action(one.type, masked)
            judged.append((one, self.softened(action)))
            if action > worst:
                worst = action
                rule = f"{name}.types.{one.type}" if one.type in direction.types else f"{name}.default"
        return judged, Verdict(self.softened(worst), rule, worst)

    def stricter(self, verdict: Verdict, rule: str, action: Action) -> Verdict:
        """`verdict`, or that of `rule` where it asks for more."""
        return Verdict(self.softened(action), rule, action) if action > verdict.would_be else verdict

    def broken(self, facts: Facts) -> list[Rule]:
        """The rules that a request breaks, in the order of the file."""
        return [rule for rule in self.rules if rule.broken(facts)] if self.rules else []

    def softened(self, action: Action) -> Action:
        """A dry run reports, and does no more."""
        return Action.FLAG if self.dry_run and action > Action.FLAG else action


def data_class(found: Iterable[Found]) -> str:
    """How private the worst finding is."""
    worst = 0
    for one in found:
        name = next((name for name, types in CLASSES.items() if one.type in types), None)
        if name is None:
            name = "restricted" if one.recognizer.partition("-")[0] in NATIONAL else "confidential"
        worst = max(worst, ORDER.index(name))
    return ORDER[worst]
