"""Which services share a process where a mesh has several, and what each process is told beyond the plan's file.

Either every service has its own; or workers, as many as there are processors for, each hold the whole road of a request, and
one home beside them holds what only one process may open, and what is not on the road.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.mesh.plan import PORTS, TIERS, Plan

HOME = "home"
ROAD = ("ledger", "guard", "encoder", "models", "router", "orchestrator", "edge")
"""What a request passes and any number of processes may hold."""


@dataclass(frozen=True, slots=True)
class Group:
    """Services that share a process."""

    name: str
    services: tuple[str, ...]
    place: int
    """In the row of ports where processes serve their metrics."""

    @property
    def alone(self) -> bool:
        """Whether it is one service with a process of its own."""
        return self.services == (self.name,)


def groups(plan: Plan, whole: Mapping[str, Any]) -> list[list[Group]]:
    """By tier, in the order of starting; `whole` is what the plan's file says."""
    if not plan.workers:
        return [[Group(name, (name,), PORTS.get(name, len(PORTS))) for name in tier] for tier in TIERS]
    road = ROAD if whole["cache"]["store"].startswith("edge:") else ("cache", *ROAD)
    home = tuple(name for tier in TIERS for name in tier if name != "edge")
    return [[Group(HOME, home, 0)], [Group(f"worker-{n}", road, n) for n in range(1, plan.workers + 1)]]


def addresses(plan: Plan, group: Group) -> dict[str, str]:
    """Where a caller finds the services of `group`, the edge apart: of workers the gateway alone, which they share."""
    if group.alone:
        return {name: plan.address(name) for name in group.services if name in PORTS}
    if group.name == HOME:
        return {name: plan.address(name) for name in PORTS if name != "orchestrator" or not shared(plan)}
    return {"orchestrator": plan.address("orchestrator")} if shared(plan) else {}


def llama(plan: Plan) -> Path:
    """The socket of the local model that `home` runs, if it does."""
    return plan.run / "llama.sock"


def environ(plan: Plan, group: Group, local: bool) -> dict[str, str]:
    """Settings of a process that are not everybody's, over those of the file. `local` where the local model runs."""
    if group.alone:
        return {}
    own = {name: f"unix:{plan.run / group.name}-{name}.sock" for name in group.services if name != "edge"}
    if group.name == HOME:
        said = {"TOLLWAY_MODELS__LOCAL_SOCKET": str(llama(plan))}
        own = {"orchestrator": own["orchestrator"]} if shared(plan) else {}
    else:
        said = {"TOLLWAY_MODELS__LOCAL": "false"}
        said |= {"TOLLWAY_MODELS__LOCAL_SOCKET": str(llama(plan))} if local else {}
        if shared(plan):
            own["orchestrator"] = plan.address("orchestrator")
            said["TOLLWAY_ORCHESTRATOR__SERVE__SHARED"] = "true"
    return {**said, **{f"TOLLWAY_{name.upper()}__SERVE__ADDRESS": address for name, address in own.items()}}


def shared(plan: Plan) -> bool:
    """Whether all workers listen for calls of the gateway at one address: at a port they can, at a unix socket they cannot."""
    return not plan.address("orchestrator").startswith("unix:")
