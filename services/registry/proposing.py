"""What is checked of a version before it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.registry.rendering import Compiled, ContentUnfit, check_text, included
from services.registry.shelf import Shelf, reached
from services.registry.versions import ArtifactUnknown, Version, reference


@dataclass(frozen=True, slots=True)
class Proposing:
    shelf: Shelf

    async def checked(self, version: Version) -> Version:
        """`version` with what it includes fixed.

        Raises:
            ContentUnfit: the place and what is wrong there.
            ReferenceUnfit, ArtifactUnknown, LabelUnknown, VersionUnknown: of what it includes, or of its configuration.
        """
        made = replace(version, includes=await self._includes(version.tenant, version.content))
        match version.kind:
            case "snippet":
                check_text(version.content["snippet"]["text"])
                await self.shelf.texts(made)
            case "dataset":
                names = [one["case_id"] for one in version.content["dataset"]["cases"]]
                if twice := next((name for n, name in enumerate(names) if name in names[:n]), None):
                    raise ContentUnfit(place=f"dataset.cases {twice}", rule="there is one of this name already")
            case "template":
                if said := version.content["template"].get("configuration"):
                    found = await self.shelf.found(version.tenant, reference(said))
                    if found.kind != "configuration":
                        raise ContentUnfit(place="template.configuration", rule=f"{said} is a {found.kind}")
                Compiled(made, await self.shelf.texts(made))
        return made

    async def _includes(self, tenant: str, content: Mapping[str, Any]) -> dict[str, str]:
        made = {}
        for said in included(content):
            wanted = reference(said)
            if wanted.label and "@" not in said:  # a text has no labels unless somebody wants them: its newest version
                found = await self._newest(tenant, wanted.name)
            else:
                found = await self.shelf.found(tenant, wanted)
            if found.kind != "snippet":
                raise ContentUnfit(place=f"include {said}", rule=f"a {found.kind} cannot be included")
            made[said] = found.digest
        return made

    async def _newest(self, tenant: str, name: str) -> Version:
        async with reached():
            found = await self.shelf.store.versions(tenant, name, 0, 1)
        if not found:
            raise ArtifactUnknown(name=name)
        return found[0]
