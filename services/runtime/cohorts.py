"""Lets requests that are at the same step go through it one after another, while its code and data are warm.

The steps of a request together touch far more than a core's caches hold; requests that take turns at different steps
would each find theirs cold (cohort scheduling: Larus and Parkes, USENIX 2002). A request that is alone waits for nobody,
and no step waits for ever: the longer one has waited, the fewer need to wait there for it to be next.
"""

import asyncio
from dataclasses import dataclass, field

from services.runtime.loops import PerLoop


@dataclass(slots=True)
class _Step:
    since: int
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)


@dataclass(slots=True)
class _Cohorts:
    steps: dict[str, _Step] = field(default_factory=dict)
    """Those with somebody waiting. While there is one, the next turn is on its way."""
    turn: int = 0

    def join(self, name: str, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        passed: asyncio.Future[None] = loop.create_future()
        if not self.steps:
            loop.call_soon(self._call, loop)
        if (step := self.steps.get(name)) is None:
            step = self.steps[name] = _Step(self.turn)
        step.waiting.append(passed)
        return passed

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """It is the turn of the step where most have waited longest; all of them go before the next turn comes."""
        self.turn += 1
        name = max(self.steps, key=lambda one: len(self.steps[one].waiting) * (self.turn - self.steps[one].since))
        for passed in self.steps.pop(name).waiting:
            if not passed.done():
                passed.set_result(None)
        if self.steps:
            loop.call_soon(self._call, loop)


_cohorts = PerLoop(_Cohorts)


def join(step: str) -> "asyncio.Future[None]":
    """To be awaited: done when it is the turn of `step`, together with all who wait for it."""
    loop = asyncio.get_running_loop()
    return _cohorts.of(loop).join(step, loop)
