"""Templates made into messages. Pure: MiniJinja has no way to files, to Python or to the network, and stops when its fuel is used up."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from minijinja import Environment, TemplateError

from services.registry.variables import Variable, declared, filled
from services.registry.versions import Version
from services.runtime.errors import Failure, Kind

FUEL = 250_000
"""Steps of one text, those that copy much counting for more: some milliseconds at the most."""
LONGEST = 1 << 20
"""Characters of one prompt."""
MOST_DEPTH = 8
"""Texts that include one another."""
UNWANTED = ("debug", "cycler", "joiner")
CONVERSATION = "conversation"
_INCLUDE = re.compile(r"""\{%[-+]?\s*(?:include|import|from|extends)\s+(?:"([^"]+)"|'([^']+)')""")


class ContentUnfit(Failure):
    kind, reason = Kind.INVALID, "CONTENT_UNFIT"
    text = "{place}: {rule}"
    field = "content"


class RenderingFailed(Failure):
    kind, reason = Kind.PRECONDITION, "RENDERING_FAILED"
    text = "{place}, line {line}: {why}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a prompt, or the place of the request's own."""

    role: str
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Part:
    """A turn as it is kept: a text by its name in the environment, or examples."""

    role: str = ""
    name: str = ""
    shots: str = ""
    """The variable that holds more examples."""


class Compiled:
    """A template ready to be rendered, with all that it includes.

    `texts` are the versions that it includes, directly or not, by digest.

    Raises:
        ContentUnfit: the place and what is wrong there.
    """

    def __init__(self, version: Version, texts: Mapping[str, Version]) -> None:
        self.version = version
        content = version.content["template"]
        self.variables: dict[str, Variable] = {}
        for n, said in enumerate(content.get("variables", ())):
            place = f"template.variables[{n}]"
            if said["name"] in self.variables:
                raise ContentUnfit(place=place, rule="there is one of this name already")
            try:
                self.variables[said["name"]] = declared(said)
            except ValueError as error:
                raise ContentUnfit(place=place, rule=error) from None
        self._includes = {"": version.includes, **{key: one.includes for key, one in texts.items()}}
        self._environment = environment = Environment(
            loader=None,
            undefined_behavior="strict",
            fuel=FUEL,
            keep_trailing_newline=True,
            auto_escape_callback=lambda name: False,
            path_join_callback=self._joined,
        )
        for name in UNWANTED:
            environment.remove_global(name)
        for key, one in texts.items():
            self._add(key, one.content["snippet"]["text"], f"include {one.name}@{one.number}")
        self._parts = list(self._read(content["turns"]))
        if sum(part.role == CONVERSATION for part in self._parts) > 1:
            raise ContentUnfit(place="template.turns", rule="the conversation stands there twice")

    def render(self, said: Mapping[str, Any]) -> list[Turn]:
        """The conversation; a turn of role `conversation` stands for the request's own messages.

        Raises:
            VariablesUnfit, RenderingFailed
        """
        values, made, length = filled(self.variables, said), [], 0
        for part in self._parts:
            for turn in self._turns(part, values):
                length += len(turn.text)
                if length > LONGEST:
                    raise RenderingFailed(place=part.name, line=1, why=f"the prompt has more than {LONGEST} characters")
                made.append(turn)
        return made

    def _turns(self, part: _Part, values: Mapping[str, Any]) -> Iterator[Turn]:
        if part.role == CONVERSATION:
            yield Turn(CONVERSATION)
        elif part.shots:
            for n, shot in enumerate(values[part.shots]):
                for role in ("user", "assistant"):
                    text = shot.get(role) if isinstance(shot, Mapping) else None
                    if not isinstance(text, str):
                        raise RenderingFailed(place=f"{part.shots}[{n}]", line=1, why=f"no {role}")
                    yield Turn(role, text)
        else:
            yield Turn(part.role, self._rendered(part.name, values))

    def _rendered(self, name: str, values: Mapping[str, Any]) -> str:
        try:
            return self._environment.render_template(name, **values)
        except TemplateError as error:
            # Only what speaks of the template itself is told: other texts may quote a value.
            why = error.detail if error.kind in ("UndefinedError", "SyntaxError") else error.kind
            raise RenderingFailed(place=name, line=error.line or 1, why=why) from None

    def _read(self, turns: list[Mapping[str, Any]]) -> Iterator[_Part]:
        for n, turn in enumerate(turns):
            place = f"template.turns[{n}]"
            if (text := turn.get("text")) is not None:
                yield _Part(text["role"], self._add(f"{place}.text", text["text"]))
            elif (shots := turn.get("shots")) is not None:
                for m, shot in enumerate(shots.get("shots", ())):
                    for role in ("user", "assistant"):
                        yield _Part(role, self._add(f"{place}.shots[{m}].{role}", shot.get(role, "")))
                if variable := shots.get("variable", ""):
                    if variable not in self.variables or self.variables[variable].type != "list":
                        raise ContentUnfit(place=f"{place}.shots.variable", rule="not a variable of type list")
                    yield _Part(shots=variable)
            else:
                yield _Part(CONVERSATION)

    def _add(self, name: str, text: str, place: str = "") -> str:
        place = place or name
        try:
            self._environment.add_template(name, text)
            undeclared = self._environment.undeclared_variables_in_str(text)
        except TemplateError as error:
            raise ContentUnfit(place=place, rule=f"line {error.line or 1}: {error.detail or error.kind}") from None
        known = self._environment.globals
        if unknown := sorted(one for one in undeclared if one not in self.variables and one not in known):
            raise ContentUnfit(place=place, rule=f"no such variable: {', '.join(unknown)}")
        return name

    def _joined(self, name: str, parent: str) -> str:
        """What `name` includes where it stands: the version that was fixed when its text was proposed."""
        own = self._includes.get(parent, self._includes[""])
        return own.get(name, f"{name} is no text that was included when this was proposed")


def included(content: Mapping[str, Any]) -> list[str]:
    """What a template or a text includes, each once, in order."""
    return list(dict.fromkeys(one or other for text in _texts(content) for one, other in _INCLUDE.findall(text)))


def _texts(content: Mapping[str, Any]) -> Iterator[str]:
    if "snippet" in content:
        yield content["snippet"]["text"]
    for turn in content.get("template", {}).get("turns", ()):
        if "text" in turn:
            yield turn["text"]["text"]
        for shot in turn.get("shots", {}).get("shots", ()):
            yield from (shot.get("user", ""), shot.get("assistant", ""))


def check_text(text: str) -> None:
    """Whether a text that templates include can be read. Its variables are theirs.

    Raises:
        ContentUnfit
    """
    try:
        Environment().add_template("snippet", text)
    except TemplateError as error:
        rule = f"line {error.line or 1}: {error.detail or error.kind}"
        raise ContentUnfit(place="snippet.text", rule=rule) from None
