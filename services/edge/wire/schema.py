"""Gemini's own way of writing schemas, which is OpenAPI's, as JSON Schema. Pure."""

from typing import Any

NUMBERS = frozenset(
    ("max_items", "maxItems", "min_items", "minItems", "max_length", "maxLength", "min_length", "minLength",
     "max_properties", "maxProperties", "min_properties", "minProperties")
)  # fmt: skip
"""What Google writes as a text, since it has 64 bits."""
NAMES = {
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
}
LEFT_OUT = frozenset(("property_ordering", "propertyOrdering", "nullable", "example"))
"""What JSON Schema has no word for, or another."""


def plain(said: Any) -> Any:
    """`said` with types in small letters, `null` as a type of its own, and each bound as a number."""
    if not isinstance(said, dict):
        return said
    made = {NAMES.get(name, name): _value(name, value) for name, value in said.items() if name not in LEFT_OUT}
    kind = made.get("type")
    if isinstance(kind, str):
        made["type"] = kind.lower()
        if kind == "TYPE_UNSPECIFIED":
            del made["type"]
        elif said.get("nullable"):
            made["type"] = [kind.lower(), "null"]
    return made


def _value(name: str, value: Any) -> Any:
    if name == "properties" and isinstance(value, dict):
        return {own: plain(inner) for own, inner in value.items()}
    if name in ("any_of", "anyOf") and isinstance(value, list):
        return [plain(one) for one in value]
    if name == "items" or (name in ("additionalProperties", "additional_properties") and isinstance(value, dict)):
        return plain(value)
    if name in NUMBERS and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value
