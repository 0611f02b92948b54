"""What roles let people do, and under which account. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from services.runtime.errors import Failure, Kind

ROLES: Mapping[str, frozenset[str]] = {
    "viewer": frozenset({"read", "usage"}),
    "developer": frozenset({"chat", "embeddings", "tools", "jobs", "documents"}),
    "author": frozenset({"read", "propose"}),
    "reviewer": frozenset({"read", "review"}),
    "promoter": frozenset({"read", "promote"}),
    "auditor": frozenset({"read", "audit", "usage"}),
    "owner": frozenset(
        {"chat", "embeddings", "tools", "jobs", "documents", "usage", "read", "propose", "review", "promote", "audit"}
    ),
    "administrator": frozenset(),
}
"""The scopes of each; an administrator has them all."""
ADMINISTRATOR = "administrator"


class NoRole(Failure):
    kind, reason = Kind.DENIED, "NO_ROLE"
    text = "{who} is bound to no account: an administrator binds people with `tollway roles bind`"


class BindingUnknown(Failure):
    kind, reason = Kind.NOT_FOUND, "BINDING_UNKNOWN"
    text = "{subject} is not {role} under {account}"


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    account: str
    subject: str
    role: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token speaks of."""

    id: str
    """Stands where a key's id stands."""
    issuer: str
    sub: str
    names: tuple[str, ...]
    """`subject:...`, `user:...` and each `group:...`: what bindings call them."""


@dataclass(frozen=True, slots=True)
class Grant:
    account: str
    admin: bool
    scopes: tuple[str, ...]
    """Empty for all, of an administrator."""


def granted(person: Person, bindings: Iterable[Binding]) -> Grant:
    """What a person may do: under the account nearest the root that they are bound to, the first by name of several. What is
    bound below it does not count there.

    Raises:
        NoRole
    """
    own = sorted(
        (one for one in bindings if one.subject in person.names), key=lambda one: (one.account.count("/"), one)
    )
    if not own:
        raise NoRole(who=_shown(person.names))
    account = own[0].account
    roles = {one.role for one in own if one.account == account}
    if ADMINISTRATOR in roles:
        return Grant(account, True, ())
    return Grant(account, False, tuple(sorted(frozenset[str]().union(*(ROLES[role] for role in roles)))))


def _shown(names: Collection[str]) -> str:
    return next((name for name in names if name.startswith("user:")), next(iter(names), "nobody"))
