"""A call's arguments, held against the tool's own schema before they leave. Pure."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from tollway.tools.v1 import tools_pb2 as pb

from services.runtime.mcp import as_header
from services.runtime.schemas import validator
from services.tools.faults import ArgumentsWrong

log = logging.getLogger(__name__)

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Schema:
    """Of one tool. A schema that is none holds nothing back: the server judges by itself."""

    def __init__(self, tool: pb.Tool) -> None:
        self._tool = tool.name
        schema = orjson.loads(tool.input_schema_json)
        self._validator: Any = None
        try:
            self._validator = validator(schema, hides=True)
        except ValueError:
            log.debug("the schema of %s is none", self._tool)
        self._headers = dict(_headers(schema, ()))

    def parsed(self, text: str) -> dict[str, Any]:
        """
        Raises:
            ArgumentsWrong: names the place and the rule, and no value.
        """
        try:
            found = orjson.loads(text or "{}")
        except orjson.JSONDecodeError:
            raise ArgumentsWrong(tool=self._tool, at="arguments", rule="not JSON") from None
        if not isinstance(found, dict):
            raise ArgumentsWrong(tool=self._tool, at="arguments", rule="not an object")
        if self._validator is not None:
            for fault in self._validator.iter_errors(found):
                at = ".".join(["arguments", *map(str, fault.instance_path)])
                raise ArgumentsWrong(tool=self._tool, at=at, rule=fault.message)
        return found

    def headers(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Arguments that the tool wants repeated as headers (`x-mcp-header`), for what routes by them on the way."""
        made = {}
        for path, name in self._headers.items():
            value: Any = arguments
            for step in path:
                value = value.get(step) if isinstance(value, Mapping) else None
            if isinstance(value, bool):
                made[name] = "true" if value else "false"
            elif isinstance(value, str | int):
                made[name] = as_header(str(value))
        return made


def _headers(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(schema, Mapping) or not isinstance(properties := schema.get("properties"), Mapping):
        return
    for name, one in properties.items():
        if not isinstance(one, Mapping):
            continue
        if isinstance(token := one.get("x-mcp-header"), str) and TOKEN.fullmatch(token):
            yield (*path, name), f"mcp-param-{token.lower()}"
        yield from _headers(one, (*path, name))
