"""From what a request names to a prompt: which version answers, rendered, and how the model is to answer."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.registry import rollouts
from services.registry.rendering import Turn
from services.registry.shelf import Shelf
from services.registry.versions import KindDiffers, Reference, Version, reference


@dataclass(frozen=True, slots=True)
class Used:
    version: Version
    label: str = ""
    candidate: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    turns: list[Turn]
    template: Used
    configuration: Used | None

    @property
    def used(self) -> list[Used]:
        return [self.template, *([self.configuration] if self.configuration is not None else [])]


@dataclass(frozen=True, slots=True)
class Resolved:
    prompt: Prompt
    stable: Prompt | None
    """Where a candidate answers: what answers when it fails."""
    reported: bool
    """A rollout wants to hear of the answer."""


@dataclass(frozen=True, slots=True)
class Resolving:
    shelf: Shelf

    async def resolved(self, tenant: str, said: str, variables: Mapping[str, Any], subject: str) -> Resolved:
        """
        Raises:
            ReferenceUnfit, ArtifactUnknown, LabelUnknown, VersionUnknown, KindDiffers, VariablesUnfit, RenderingFailed
        """
        subject = subject or secrets.token_hex(8)
        wanted = reference(said)
        used, reported = await self._chosen(tenant, wanted, subject)
        prompt, more = await self._prompt(used, variables, subject)
        if not any(one.candidate for one in prompt.used):
            return Resolved(prompt, None, reported or more)
        stable = Used(await self.shelf.found(tenant, wanted), wanted.label)
        return Resolved(prompt, (await self._prompt(stable, variables, ""))[0], True)

    async def _prompt(self, used: Used, variables: Mapping[str, Any], subject: str) -> tuple[Prompt, bool]:
        """Without a subject all is stable."""
        version, configuration, reported = used.version, None, False
        if version.kind != "template":
            raise KindDiffers(name=version.name, known=version.kind, proposed="template")
        compiled = await self.shelf.compiled(version)
        turns = compiled.render(variables)
        if said := version.content["template"].get("configuration"):
            configuration, reported = await self._chosen(version.tenant, reference(said), subject)
        return Prompt(turns, used, configuration), reported

    async def _chosen(self, tenant: str, wanted: Reference, subject: str) -> tuple[Used, bool]:
        """The version for `subject`, and whether a rollout is under way."""
        if not wanted.label:
            return Used(await self.shelf.found(tenant, wanted)), False
        label = await self.shelf.label(tenant, wanted.name, wanted.label)
        candidate = bool(subject) and rollouts.chosen(label.rollout, subject, wanted.name)
        number = label.rollout.candidate if candidate and label.rollout is not None else label.number
        version = await self.shelf.version(tenant, wanted.name, number)
        return Used(version, wanted.label, candidate), label.rollout is not None
