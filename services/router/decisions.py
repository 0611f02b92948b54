"""What a decision rested on, told by its id.

An id carries all that a later judgement or outcome needs, under a code that only those with the key can make. So whichever
replica is asked knows it, after a restart too, and none is kept in memory.
"""

import base64
import hmac
import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from msgspec import Struct

from services.router.predictor import TASKS, UNKNOWN, Prediction
from services.router.ranking import Model
from services.runtime.errors import Failure, Kind

KNOWN_S = 30 * 86_400
"""How long an id is known: models and what is predicted of them change."""
FORM = struct.Struct(">4sIIHHBH")
"""The run that made it, its number there, when (in seconds since the epoch), the chances predicted of the weak and the strong
anchor, the task, and from which chance a cascade takes an answer."""
CODE_BYTES = 8
WHOLE, NONE = 0xFFFE, 0xFFFF
"""A chance of 1 as it is written, and none at all."""
UNREAD = 0xFF
"""In place of a task: nobody read the prompt."""
NAMED = ("", *TASKS)


class DecisionUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "DECISION_UNKNOWN"
    text = "there is no decision {decision_id}, or it is long past"
    field = "decision_id"


class Decision(Struct, frozen=True):
    prediction: Prediction | None
    """None where a model was asked for by name."""
    enough: float | None = None
    """Chance from which its cascade takes the first model's answer; None without one."""

    @property
    def expected(self) -> Prediction:
        return self.prediction or UNKNOWN

    def chance(self, model: Model, ability: float) -> float:
        """Predicted of a model that is so able: that its answer is good."""
        return self.expected.chance(ability + model.by_task.get(self.expected.task, 0.0))


@dataclass(slots=True)
class Ids:
    """Makes and reads ids of decisions. Those who share `key` read one another's."""

    key: str = field(default="", repr=False)
    """Empty for ids that nobody else reads."""
    now: Callable[[], float] = time.time
    _run: bytes = field(default_factory=lambda: os.urandom(4))
    _number: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _code: "blake2b" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        secret = blake2b(self.key.encode(), person=b"tollway decision").digest() if self.key else os.urandom(64)
        self._code = blake2b(key=secret, digest_size=CODE_BYTES)

    def of(self, decision: Decision, tenant: str) -> str:
        """36 letters, of which no two are alike."""
        seen, number = decision.prediction, next(self._number) & 0xFFFFFFFF
        weak, strong, task = (
            (_written(seen.weak), _written(seen.strong), NAMED.index(seen.task)) if seen else (0, 0, UNREAD)
        )
        enough = NONE if decision.enough is None else _written(decision.enough)
        said = FORM.pack(self._run, number, int(self.now()), weak, strong, task, enough)
        return base64.urlsafe_b64encode(said + self._coded(said, tenant)).decode()

    def read(self, decision_id: str, tenant: str) -> Decision:
        """
        Raises:
            DecisionUnknown: it is another tenant's, long past, or none.
        """
        try:
            whole = base64.b64decode(decision_id, altchars=b"-_", validate=True)
        except ValueError:
            raise DecisionUnknown(decision_id=decision_id) from None
        said, code = whole[: FORM.size], whole[FORM.size :]
        if len(said) < FORM.size or not hmac.compare_digest(code, self._coded(said, tenant)):
            raise DecisionUnknown(decision_id=decision_id)
        _, _, at, weak, strong, task, enough = FORM.unpack(said)
        if at < self.now() - KNOWN_S or (task != UNREAD and task >= len(NAMED)):
            raise DecisionUnknown(decision_id=decision_id)
        seen = None if task == UNREAD else Prediction(weak / WHOLE, strong / WHOLE, NAMED[task])
        return Decision(seen, None if enough == NONE else enough / WHOLE)

    def _coded(self, said: bytes, tenant: str) -> bytes:
        code = self._code.copy()
        code.update(said)
        code.update(tenant.encode())
        return code.digest()


def _written(chance: float) -> int:
    return round(min(max(chance, 0.0), 1.0) * WHOLE)
