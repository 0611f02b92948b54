"""Messages as documents that people write in files, and back: enums by their short names, numbers as numbers."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from services.registry.rendering import ContentUnfit


def document(message: Message) -> dict[str, Any]:
    """All that is set in `message`: JSON values alone."""
    return {field.name: _said(field, value) for field, value in message.ListFields()}


def read(said: Mapping[str, Any], into: Message) -> None:
    """Writes a document into a message.

    Raises:
        ContentUnfit: it has an unknown field, or a value of another type.
    """
    try:
        ParseDict(_full(said, into.DESCRIPTOR), into)
    except ParseError as error:
        raise ContentUnfit(place=into.DESCRIPTOR.name.lower(), rule=error) from None


def _said(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_one(field, one) for one in value]
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return document(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name.removeprefix(_prefix(field.enum_type)).lower()
    return value


def _full(said: Any, kind: Any) -> Any:
    """`said` with the full names of enums; `kind` is the message's descriptor."""
    if not isinstance(said, Mapping):
        return said
    made = {}
    for name, value in said.items():
        field = kind.fields_by_name.get(str(name))
        if field is not None and field.message_type is not None:
            inner = field.message_type
            value = [_full(one, inner) for one in value] if isinstance(value, list) else _full(value, inner)
        elif field is not None and field.enum_type is not None and isinstance(value, str):
            value = _prefix(field.enum_type) + value.upper()
        made[name] = value
    return made


def _prefix(kind: EnumDescriptor) -> str:
    return kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
