"""JSON schemas of others, compiled so that they lead nowhere: what they refer to must stand in them."""

from typing import Any, NoReturn

import jsonschema_rs

HIDDEN = "the value"
"""Stands for a value in what is said of it."""


def validator(schema: Any, *, hides: bool = False) -> Any:
    """Holds values against `schema`. With `hides`, what it says of a value does not show it.

    Raises:
        ValueError: it is no schema, or refers to what is not in it. Left to itself the library would fetch that, from any address
            and any file.
    """
    return jsonschema_rs.validator_for(schema, mask=HIDDEN if hides else None, retriever=_refused)


def _refused(address: str) -> NoReturn:
    raise ValueError("a schema refers to what is not in it")
