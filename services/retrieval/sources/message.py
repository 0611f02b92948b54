"""A change as a row or a message says it: the fields of a document by their contract's names, and `deleted`."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import protovalidate
from google.protobuf.timestamp_pb2 import Timestamp
from tollway.retrieval.v1 import retrieval_pb2 as pb

from services.retrieval.sources import Change, SourceSettings

TEXTS = ("document_id", "title", "text", "media_type", "uri")


class Malformed(ValueError):
    """It is no change. Tells which rule it breaks; `document` is what can be parked of it."""

    def __init__(self, reason: str, document: pb.Document) -> None:
        super().__init__(reason)
        self.document = document


def change_of(settings: SourceSettings, said: Mapping[str, Any], changed: float) -> Change:
    """
    Raises:
        Malformed
    """
    when = Timestamp()
    when.FromMicroseconds(int(changed * 1e6))
    made = pb.Document(collection=settings.collection, changed=when)
    try:
        for name in TEXTS:
            if name in said:
                setattr(made, name, said[name])
        content = said.get("content", b"")
        made.content = base64.b64decode(content, validate=True) if isinstance(content, str) else bytes(content)
        made.attributes.update({**settings.attributes, **said.get("attributes", {})})
        made.readers.extend(said.get("readers") or settings.readers)
        protovalidate.validate(made)
    except protovalidate.ValidationError as error:
        first = error.violations[0].proto
        where = ".".join(one.field_name for one in first.field.elements)  # type: ignore[union-attr]
        raise Malformed(f"{where}: {first.message}", made) from None
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise Malformed(f"a field has a wrong type: {type(error).__name__}", made) from None
    if said.get("deleted"):
        return Change(made.document_id, settings.collection, changed)
    return Change(made.document_id, settings.collection, changed, made)
