"""Prompts and resources as MCP's clients read them. Behind `/mcp` a prompt is `SERVER__PROMPT`, and an address `SERVER+ADDRESS`."""

from typing import Any

from tollway.gateway.v1 import gateway_pb2 as pb
from tollway.tools.v1 import tools_pb2 as tools

from services.edge.wire.mcp import PARAMS, Fault, Message, content, document, page
from services.runtime.mcp import WHOSE, named, own_name

LONGEST_URI, MOST_ARGUMENTS = 2048, 64


def prompts(made: pb.ListPromptsResponse, server: str) -> dict[str, Any]:
    return page("prompts", [_prompt(one, server) for one in made.prompts], made.next_page_token)


def wanted(asked: Message, server: str) -> pb.GetPromptRequest:
    """
    Raises:
        Fault: it names no prompt, or its arguments are no texts.
    """
    name, given = asked.said.get("name"), asked.said.get("arguments")
    given = {} if given is None else given
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise Fault(PARAMS, "name must be a prompt's name")
    if not isinstance(given, dict) or len(given) > MOST_ARGUMENTS:
        raise Fault(PARAMS, f"arguments must be an object of at most {MOST_ARGUMENTS} texts")
    for key, value in given.items():
        if not isinstance(value, str):
            raise Fault(PARAMS, f"arguments.{key} must be a text")
    return pb.GetPromptRequest(name=named(server, name) if server else name, arguments=given)


def prompt(made: pb.GetPromptResponse) -> dict[str, Any]:
    said = [{"role": one.role, "content": content(one.content)} for one in made.messages]
    return {"messages": said, **({"description": made.description} if made.description else {})}


def resources(made: pb.ListResourcesResponse, server: str) -> dict[str, Any]:
    return page("resources", [_entry(one, server) for one in made.resources], made.next_page_token)


def templates(made: pb.ListResourcesResponse, server: str) -> dict[str, Any]:
    return page("resourceTemplates", [_entry(one, server) for one in made.resources], made.next_page_token)


def reading(asked: Message, server: str) -> pb.ReadResourceRequest:
    """
    Raises:
        Fault: it names no address.
    """
    uri = asked.said.get("uri")
    if not isinstance(uri, str) or not 0 < len(uri) <= LONGEST_URI:
        raise Fault(PARAMS, "uri must be an address")
    if server:
        return pb.ReadResourceRequest(server=server, uri=uri)
    said = WHOSE.match(uri)
    return pb.ReadResourceRequest(server=said[1] if said else "", uri=uri[said.end() :] if said else uri)


def read(made: pb.ReadResourceResponse, server: str) -> dict[str, Any]:
    contents = [document(one) for one in made.contents]
    for one in contents:
        one["uri"] = _address(made.server, one["uri"], server)
    return {"contents": contents, "ttlMs": 0, "cacheScope": "private"}


def _prompt(one: tools.Prompt, server: str) -> dict[str, Any]:
    arguments = [
        {
            "name": each.name,
            "required": each.required,
            **({"description": each.description} if each.description else {}),
        }
        for each in one.arguments
    ]
    said = {"name": own_name(one.name, server) if server else one.name, "arguments": arguments}
    return {**said, **_about(title=one.title, description=one.description)}


def _entry(one: tools.ResourceEntry, server: str) -> dict[str, Any]:
    where = "uriTemplate" if one.template else "uri"
    about = _about(title=one.title, description=one.description, mimeType=one.mime_type)
    said = {where: _address(one.server, one.uri, server), "name": one.name, **about}
    return {**said, "size": one.size} if one.size else said


def _address(keeper: str, uri: str, server: str) -> str:
    return uri if server else f"{keeper}+{uri}"


def _about(**told: str) -> dict[str, str]:
    return {name: value for name, value in told.items() if value}
