"""Prints `docs/asyncapi.yaml`: what Tollway tells brokers and webhooks, as AsyncAPI 3.0, made from the contracts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

IMAGE = Path("gen/image.binpb")
EVENTS = {
    "tollway/jobs/v1/events.proto": {
        "JobEnded": [f"dev.tollway.job.{state}" for state in ("succeeded", "failed", "cancelled", "dead")],
        "AlertRaised": [f"dev.tollway.alert.{kind}" for kind in ("budget_warning", "loop", "spike", "suspended")],
    },
}
"""By file and message: the types of the CloudEvents that carry it as `data`."""
TOPIC = "tollway.events"
SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_INT32: "integer",
    FieldDescriptorProto.TYPE_BOOL: "boolean",
    FieldDescriptorProto.TYPE_DOUBLE: "number",
}
MESSAGES, FIELDS = 4, 2
"""Numbers of these fields in a descriptor: the way to a comment is made of them."""


def document() -> dict[str, Any]:
    image = FileDescriptorSet.FromString(IMAGE.read_bytes())
    files = {file.name: file for file in image.file}
    schemas: dict[str, Any] = {"CloudEvent": _cloud_event()}
    messages: dict[str, Any] = {}
    for path, carried in EVENTS.items():
        for name, types in carried.items():
            text, schemas[name] = _schema(files[path], name)
            messages |= {_camel(one): _message(one, name, text) for one in types}
    named = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tollway's events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in JSON. At least once: an event's `id` tells a repeated one.",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {
            "nats": {"host": "nats.example.com:4222", "protocol": "nats", "description": "Stream TOLLWAY."},
            "rabbitmq": {"host": "rabbitmq.example.com:5672", "protocol": "amqp", "description": "Exchange tollway."},
            "kafka": {"host": "kafka.example.com:9092", "protocol": "kafka"},
        },
        "channels": {
            "events": {
                "address": TOPIC,
                "description": "Every event. Those of a tenant keep their order where the broker keeps any.",
                "servers": [{"$ref": f"#/servers/{name}"} for name in ("nats", "rabbitmq", "kafka")],
                "messages": named,
                "bindings": {
                    "amqp": {"is": "routingKey", "exchange": {"name": "tollway", "type": "topic", "durable": True}},
                    "kafka": {"topic": TOPIC},
                },
            },
            "webhook": {
                "address": None,
                "description": "The `webhook_url` of a job, by POST, signed as Standard Webhooks says.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            },
        },
        "operations": {
            "publish": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "Tells every group of consumers.",
            },
            "call": {
                "action": "send",
                "channel": {"$ref": "#/channels/webhook"},
                "summary": "Tells whoever handed the job in; tried again for a day and a half.",
                "bindings": {"http": {"method": "POST"}},
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _cloud_event() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "tenant", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**text, "format": "uuid"},
            "source": text,
            "type": text,
            "subject": text,
            "time": {**text, "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "tenant": {**text, "description": "Whose it is: an extension of ours."},
            "data": {"type": "object"},
        },
    }


def _message(kind: str, schema: str, text: str) -> dict[str, Any]:
    own = {"properties": {"type": {"const": kind}, "data": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "name": kind,
        "summary": text,
        "contentType": "application/cloudevents+json",
        "payload": {"allOf": [{"$ref": "#/components/schemas/CloudEvent"}, own]},
    }


def _schema(file: FileDescriptorProto, name: str) -> tuple[str, dict[str, Any]]:
    """A message's comment, and its JSON as a schema."""
    comments = {tuple(one.path): " ".join(one.leading_comments.split()) for one in file.source_code_info.location}
    at, message = next((n, one) for n, one in enumerate(file.message_type) if one.name == name)
    properties = {
        field.name: {**_type(message, field), "description": comments[MESSAGES, at, FIELDS, n]}
        for n, field in enumerate(message.field)
    }
    return comments[MESSAGES, at], {"type": "object", "required": list(properties), "properties": properties}


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> dict[str, Any]:
    for inner in message.nested_type:
        if inner.options.map_entry and field.type_name.endswith(f".{inner.name}"):
            return {"type": "object", "additionalProperties": _type(inner, inner.field[1])}
    one = {"type": SCALARS[field.type]}
    return {"type": "array", "items": one} if field.label == FieldDescriptorProto.LABEL_REPEATED else one


def _camel(kind: str) -> str:
    words: Iterator[str] = iter(kind.removeprefix("dev.tollway.").replace("_", ".").split("."))
    return next(words) + "".join(word.capitalize() for word in words)


def main() -> int:
    yaml.SafeDumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    sys.stdout.write("# Made by tools/asyncapi.py from the contracts: `make protos` makes it anew.\n")
    yaml.safe_dump(document(), sys.stdout, sort_keys=False, width=120, allow_unicode=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
