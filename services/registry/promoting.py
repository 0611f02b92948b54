"""A candidate that was found better in the shadow begins to answer, as its shadow's rules say."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tollway.registry.v1 import registry_pb2 as pb

from services.registry import messages, versions
from services.registry.comparisons import Comparisons, Shadow
from services.registry.rollouts import Tally
from services.registry.store import Store
from services.registry.versions import RULES, VersionUnknown, reference
from services.runtime.errors import Failure

log = logging.getLogger(__name__)
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Approvals:
    """How many other people approve a version before a label may point at it."""

    by_tenant: Mapping[str, Mapping[str, int]]
    """`*` for all tenants without their own."""

    def needed(self, tenant: str, label: str) -> int:
        return self.by_tenant.get(tenant, self.by_tenant.get(EVERYBODY, {})).get(label, 0)


@dataclass(frozen=True, slots=True)
class Promoting:
    store: Store
    comparisons: Comparisons
    approvals: Approvals

    async def promote(self, shadow: Shadow, spec: pb.Shadow) -> None:
        """Begins the rollout that the shadow asks for, once. What stands in its way, an approval that is missing or a label that
        somebody moves, is tried again with the next comparison."""
        wanted, promotion, now = reference(spec.candidate.prompt), spec.promotion, datetime.now(UTC)
        try:
            version = await self.store.version(shadow.tenant, wanted.name, wanted.number)
            if version is None:
                raise VersionUnknown(name=wanted.name, version=wanted.number)
            versions.check_moved(version, promotion.label, self.approvals.needed(shadow.tenant, promotion.label))
            standing = await self.store.label(shadow.tenant, wanted.name, promotion.label)
            if standing is None:
                raise versions.LabelUnknown(name=wanted.name, label=promotion.label)
            rollout = pb.Rollout(candidate=wanted.number, share=promotion.share, rules=promotion.rules)
            request = pb.MoveLabelRequest(
                name=wanted.name,
                label=promotion.label,
                number=standing.number,
                revision=standing.revision,
                rollout=rollout,
                why=f"shadow {shadow.name} found it better",
            )
            label = messages.wanted_label(request, shadow.tenant, RULES, standing, Tally())
            await self.store.move(label)
            if await self.comparisons.promote(shadow, now):
                log.info("shadow %s of %s: its candidate begins to answer", shadow.name, shadow.tenant)
        except Failure as error:
            log.warning("shadow %s of %s: its candidate is better, and stays: %s", shadow.name, shadow.tenant, error)
