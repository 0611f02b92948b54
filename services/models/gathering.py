"""Embeddings that nobody waits for share calls: texts of one tenant for one model that come within a moment go together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from services.models.pools import Asker
from services.models.ranking import Ranking
from services.models.wires.adapter import Embedded
from services.runtime import channels
from services.runtime.errors import Failure, Kind

GATHER_S = 0.03
MOST_TEXTS, MOST_TOKENS = 256, 16_384
"""Of one call, so that it stays within what every provider takes."""
OWN = (Kind.INVALID, Kind.DENIED, Kind.PRECONDITION)
"""Failures that one text brings on all that go with it."""

Key = tuple[str, str, int]
"""Tenant, model, dimensions."""


@dataclass(slots=True)
class _Part:
    texts: list[str]
    asker: Asker
    made: "asyncio.Future[Embedded]"


@dataclass(slots=True)
class Gathering:
    ranking: Ranking
    _waiting: dict[Key, list[_Part]] = field(default_factory=dict)
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)

    async def embed(self, model: str, texts: list[str], dimensions: int, asker: Asker) -> Embedded:
        """As `Ranking.embed`, a moment later. Tokens that a call is billed for are shared out by length."""
        self.ranking.catalogue.entry(model)
        key = asker.tenant, model, dimensions
        part = _Part(texts, asker, asyncio.get_running_loop().create_future())
        waiting = self._waiting.setdefault(key, [])
        if waiting and not _fits([*waiting, part]):
            self._leave(key)
            waiting = self._waiting.setdefault(key, [])
        waiting.append(part)
        if len(waiting) == 1:
            asyncio.get_running_loop().call_later(GATHER_S, self._leave, key, waiting)
        return await part.made

    def _leave(self, key: Key, waiting: list[_Part] | None = None) -> None:
        """Those that wait go, unless it is the turn of some that have gone already."""
        if waiting is not None and self._waiting.get(key) is not waiting:
            return
        parts = [one for one in self._waiting.pop(key, ()) if not one.made.done()]
        if parts:
            task = asyncio.create_task(self._call(key, parts))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _call(self, key: Key, parts: Sequence[_Part]) -> None:
        _, model, dimensions = key
        until = [one.asker.until for one in parts]
        last = None if None in until else max(one for one in until if one is not None)
        channels.DEADLINE.set(last)  # who waits longest says how long
        asker = replace(parts[0].asker, tokens=sum(one.asker.tokens for one in parts), until=last)
        try:
            made = await self.ranking.embed(model, [text for one in parts for text in one.texts], dimensions, asker)
        except Failure as failure:
            if failure.kind in OWN and len(parts) > 1:
                await asyncio.gather(*(self._call(key, [one]) for one in parts))
                return
            _tell(parts, failure)
        except Exception as error:  # noqa: BLE001 - passed on to each caller, whose own call fails with it
            _tell(parts, error)
        else:
            for one, mine in zip(parts, shared(made, [one.texts for one in parts]), strict=True):
                if not one.made.done():
                    one.made.set_result(mine)


def shared(made: Embedded, texts: Sequence[Sequence[str]]) -> list[Embedded]:
    """One call's vectors and tokens by who asked for what. The tokens add up to what was billed."""
    lengths = [sum(map(len, one)) or 1 for one in texts]
    marks = [made.input_tokens * upto // sum(lengths) for upto in accumulate(lengths, initial=0)]
    places = accumulate((len(one) for one in texts), initial=0)
    return [
        Embedded(made.vectors[start:end], after - before)
        for (start, end), (before, after) in zip(pairwise(places), pairwise(marks), strict=True)
    ]


def _fits(parts: Sequence[_Part]) -> bool:
    texts = sum(len(one.texts) for one in parts)
    return texts <= MOST_TEXTS and sum(one.asker.tokens for one in parts) <= MOST_TOKENS


def _tell(parts: Sequence[_Part], error: Exception) -> None:
    for one in parts:
        if not one.made.done():
            one.made.set_exception(error)
