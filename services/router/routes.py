"""A tenant's routes: the first whose conditions hold says how its requests are ranked, and what a model is asked with."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from hashlib import blake2b

import msgspec
import re2

from services.router.conditions import All, Like, Seen, compiled, likes
from services.router.policy import Policy, Route, Rule
from services.router.predictor import TASKS
from services.router.subjects import SUBJECTS
from services.router.when import NEEDS, When, looked_at

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
OVER = ("rule", "model", "quality_floor", "price_ceiling_usd", "latency_ceiling_s", "models", "weights", "cascade")
"""What a route says in place of its policy."""
CHOOSING = frozenset({"rule", "model", "weights"})
"""Who says one of these says how a model is chosen: what the policy says of the others counts no more."""
UNSAID: tuple[object, ...] = ("", None, (), {})


@dataclass(frozen=True, slots=True)
class Taken:
    """A route that can be taken."""

    route: Route
    policy: Policy
    """The tenant's, with what the route says in its place."""
    condition: All


@dataclass(frozen=True, slots=True)
class Routes:
    """A tenant's, in order."""

    ways: tuple[Taken, ...] = ()
    labels: frozenset[str] = frozenset()
    """That they look at."""
    account: bool = False
    """Whether they look at who asks."""
    likes: tuple[Like, ...] = field(default=())
    """All examples: their vectors are to be found."""
    digest: str = ""
    """Of the policy that they stand in, as far as it says who answers and what is asked: another policy makes other answers."""


def routes(policy: Policy) -> Routes:
    """
    Raises:
        re2.error: of a pattern.
    """
    ways = tuple(Taken(one, under(policy, one), compiled(one.when)) for one in policy.routes)
    looked = [looked_at(one.when) for one in policy.routes]
    return Routes(
        ways,
        reduce(frozenset[str].union, (labels for labels, _ in looked), frozenset[str]()),
        any(account for _, account in looked),
        tuple(like for way in ways for like in likes(way.condition)),
        _digest(policy),
    )


def _digest(policy: Policy) -> str:
    """Shares do not count: a canary grows without losing what is stored. Nor do fallbacks, which are for models that are named."""
    said = replace(
        policy,
        weights=_even(policy),
        routes=tuple(replace(one, weights=_even(one)) for one in policy.routes),
        fallbacks={},
    )
    return blake2b(msgspec.json.encode(said, order="sorted"), digest_size=16).hexdigest()


def _even(one: Policy | Route) -> dict[str, float]:
    return dict.fromkeys(one.weights, 1.0)


def under(policy: Policy, route: Route) -> Policy:
    """The policy of what takes the route."""
    said = {name: value for name in OVER if (value := getattr(route, name)) not in UNSAID}
    if CHOOSING & said.keys():
        said = {"rule": Rule.CHEAPEST_ABOVE.value, "model": "", "weights": {}, **said}
    made: Policy = replace(policy, **said)
    return made


def faults(at: str, policy: Policy) -> list[str]:
    """All that is wrong with a policy, each with its place below `at`."""
    return list(_faults(at, policy))


def _faults(at: str, policy: Policy) -> Iterator[str]:
    yield from _unknown(f"{at}.rule", (policy.rule,), [one.value for one in Rule])
    names = [one.name for one in policy.routes]
    for n, route in enumerate(policy.routes):
        here = f"{at}.routes[{n}]"
        if not route.name or names.index(route.name) != n:
            yield f"{here}.name: {route.name!r} is empty, or another route's"
        if route.rule:
            yield from _unknown(f"{here}.rule", (route.rule,), [one.value for one in Rule])
        if route.reasoning_effort:
            yield from _unknown(f"{here}.reasoning_effort", (route.reasoning_effort,), EFFORTS)
        yield from _of_conditions(f"{here}.when", route.when)


def _of_conditions(at: str, when: When) -> Iterator[str]:
    for name, known in (("subjects", SUBJECTS), ("tasks", TASKS), ("needs", NEEDS)):
        yield from _unknown(f"{at}.{name}", getattr(when, name), known)
    for n, pattern in enumerate(when.patterns):
        try:
            re2.compile(pattern)
        except re2.error as error:
            yield f"{at}.patterns[{n}]: {_said(error)}"
    for n, words in enumerate(when.words):
        if not words.strip():
            yield f"{at}.words[{n}]: is empty"
    if when.unlike and not when.like:
        yield f"{at}.unlike: counts beside `like` alone"
    for name in ("all", "any", "none"):
        for n, one in enumerate(getattr(when, name)):
            yield from _of_conditions(f"{at}.{name}[{n}]", one)


def _unknown(at: str, said: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    allowed = list(known)
    for one in said:
        if one not in allowed:
            yield f"{at}: {one!r} is none of {', '.join(allowed)}"


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


async def taken(among: Routes, seen: Seen, tell: Callable[[Seen], Awaitable[None]]) -> Taken | None:
    """The first that holds, None where none does. `tell` finds out what the text means, where that matters."""
    for one in among.ways:
        holds = one.condition.holds(seen)
        if holds is None:
            await tell(seen)
            holds = one.condition.holds(seen)
        if holds:
            return one
    return None


def considered(among: Routes, seen: Seen, found: Taken | None) -> Iterator[tuple[str, str]]:
    """Each route up to the one that was taken, and why it was not; '' for that one."""
    for one in among.ways:
        yield one.route.name, "" if one is found else one.condition.why_not(seen)
        if one is found:
            return
