"""Which model each conversation is with. Bounded, and forgotten after a while."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 100_000
FOR_S = 1800.0


@dataclass(slots=True)
class Conversations:
    now: Callable[[], float] = time.monotonic
    _with: OrderedDict[tuple[str, str], tuple[str, float]] = field(default_factory=OrderedDict)

    def model(self, tenant: str, conversation: str) -> str:
        """The model that a conversation of `tenant` is with; '' for none."""
        found = self._with.get((tenant, conversation))
        return found[0] if found is not None and self.now() - found[1] < FOR_S else ""

    def keep(self, tenant: str, conversation: str, model: str) -> None:
        self._with[tenant, conversation] = (model, self.now())
        self._with.move_to_end((tenant, conversation))
        if len(self._with) > MOST:
            self._with.popitem(last=False)
