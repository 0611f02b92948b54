"""What a template's variables may hold, and whether a request's do. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.runtime.errors import Failure, Kind

MOST_NAMED = 20

CHECKS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "string": ("text", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "list": ("a list", (list,)),
    "object": ("an object", (dict,)),
}


class VariablesUnfit(Failure):
    kind, reason = Kind.INVALID, "VARIABLES_UNFIT"
    text = "{faults}"
    field = "variables"


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    type: str = "string"
    default: Any = None
    needed: bool = True
    """Every request must say it."""
    longest: int = 0
    choices: tuple[str, ...] = ()

    def fault(self, value: Any) -> str:
        """What is wrong with `value`; '' when nothing is. It is not quoted: it may be anybody's."""
        word, kinds = CHECKS[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            return f"{self.name}: not {word}"
        if self.longest and isinstance(value, str | list) and len(value) > self.longest:
            return f"{self.name}: longer than {self.longest}"
        if self.choices and value not in self.choices:
            return f"{self.name}: none of {', '.join(self.choices[:MOST_NAMED])}"
        return ""


def declared(said: Mapping[str, Any]) -> Variable:
    """A variable as it stands in a template's content.

    Raises:
        ValueError: its default is not JSON, or not what the variable may hold.
    """
    default = said.get("default_json")
    made = Variable(
        name=said["name"],
        type=said.get("type", "string"),
        default=json.loads(default) if default is not None else None,
        needed=default is None,
        longest=said.get("longest", 0),
        choices=tuple(said.get("choices", ())),
    )
    if default is not None and (fault := made.fault(made.default)):
        raise ValueError(f"the default of {fault}")
    return made


def parsed(said: str) -> dict[str, Any]:
    """
    Raises:
        VariablesUnfit: not a JSON object.
    """
    try:
        found = json.loads(said) if said else {}
    except ValueError:
        raise VariablesUnfit(faults="the variables are not JSON") from None
    if not isinstance(found, dict):
        raise VariablesUnfit(faults="the variables are not a JSON object")
    return found


def filled(variables: Mapping[str, Variable], said: Mapping[str, Any]) -> dict[str, Any]:
    """Every variable with its value.

    Raises:
        VariablesUnfit: names each that is missing, unknown, or not what it may hold.
    """
    faults = [f"{name}: no such variable" for name in said if name not in variables]
    values = {}
    for name, one in variables.items():
        if name in said:
            values[name] = said[name]
            if fault := one.fault(said[name]):
                faults.append(fault)
        elif one.needed:
            faults.append(f"{name}: missing")
        else:
            values[name] = one.default
    if faults:
        raise VariablesUnfit(faults="; ".join(faults[:MOST_NAMED]))
    return values
