"""Settings come from one YAML file and from the environment, once, into a frozen dataclass.

A variable is `TOLLWAY_<SERVICE>__<NAME>`, deeper names with more double underscores; it wins over the file. The
two underscores keep Kubernetes' own variables out of the way: for a Service called `tollway-ledger` it sets
`TOLLWAY_LEDGER_PORT` and its like in every pod. `TOLLWAY_CONFIG` names the file; its sections are the services.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")
TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class BadSettings(Exception):
    """Names every setting that is missing, unknown or unreadable, not just the first."""


def load(kind: type[T], environ: Mapping[str, str], service: str) -> T:
    """Reads `kind` for `service` from the file that `TOLLWAY_CONFIG` names, and the environment over it.

    A secret is a field with `repr=False`: no message shows it.

    Raises:
        BadSettings: names all faults at once.
    """
    prefix = f"TOLLWAY_{service.upper()}__"
    said = _section(environ.get("TOLLWAY_CONFIG", ""), service)
    for name, value in environ.items():
        if name.startswith(prefix):
            _put(said, name.removeprefix(prefix).lower().split("__"), value)
    return read(kind, said, service)


def read(kind: type[T], said: Any, at: str) -> T:
    """`said`, as it stands in a file, as `kind`; `at` is its place there.

    Raises:
        BadSettings: names all faults at once.
    """
    faults: list[str] = []
    made = _dataclass(kind, said, at, faults, secret=False)
    if faults:
        raise BadSettings("; ".join(faults))
    whole: T = made
    return whole


def _section(file: str, service: str) -> dict[str, Any]:
    if not file:
        return {}
    try:
        whole = yaml.safe_load(Path(file).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise BadSettings(f"{file}: {error}") from None
    section = whole.get(service) if isinstance(whole, dict) else None
    if section is not None and not isinstance(section, dict):
        raise BadSettings(f"{file}: {service}: not a mapping")
    return dict(section or {})


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    for step in path[:-1]:
        inner = into.get(step)
        into[step] = into = dict(inner) if isinstance(inner, dict) else {}
    into[path[-1]] = value


def _dataclass(kind: Any, said: Any, at: str, faults: list[str], *, secret: bool) -> Any:
    if not isinstance(said, Mapping):
        faults.append(f"{at}: not a mapping")
        return None
    hints, values = get_type_hints(kind), {}
    known = {one.name: one for one in fields(kind)}
    faults += [f"{at}.{name}: unknown" for name in said if name not in known]
    for name, one in known.items():
        if name in said:
            values[name] = _read(hints[name], said[name], f"{at}.{name}", faults, secret=secret or not one.repr)
        elif _needed(one):
            faults.append(f"{at}.{name}: missing")
    return None if faults else kind(**values)


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _read(kind: Any, value: Any, at: str, faults: list[str], *, secret: bool) -> Any:
    """`value` as `kind`; a fault when it is not one."""
    if is_dataclass(kind):
        return _dataclass(kind, _parsed(value), at, faults, secret=secret)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _read(inner[0], value, at, faults, secret=secret)
    if origin is tuple:
        many = _parsed(value, commas=True)
        if not isinstance(many, list):
            faults.append(f"{at}: not a list")
            return ()
        return tuple(_read(inner[0], one, f"{at}[{n}]", faults, secret=secret) for n, one in enumerate(many))
    if origin in (dict, Mapping):
        many = _parsed(value)
        if not isinstance(many, dict):
            faults.append(f"{at}: not a mapping")
            return {}
        return {str(name): _read(inner[1], one, f"{at}.{name}", faults, secret=secret) for name, one in many.items()}
    return _scalar(kind, value, at, faults, secret=secret)


def _scalar(kind: Any, value: Any, at: str, faults: list[str], *, secret: bool) -> Any:
    try:
        if kind is bool:
            return value if isinstance(value, bool) else TRUTHS[str(value).lower()]
        if isinstance(value, bool | dict | list | None):
            raise ValueError
        return kind(value)
    except (ValueError, KeyError, TypeError):
        faults.append(f"{at}: {'its value' if secret else repr(value)} is not {kind.__name__}")
        return None


def _parsed(value: Any, commas: bool = False) -> Any:
    """Structure given as text in a variable: YAML, or words between commas."""
    if not isinstance(value, str):
        return value
    if commas and not value.lstrip().startswith(("[", "-")):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
