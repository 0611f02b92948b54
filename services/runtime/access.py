"""Who may call a method, as its contract says: read from the option once for each method, enforced before it runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from services.runtime.identity import AdministratorsOnly, Caller, ScopeMissing

OPTION = "tollway.access.v1.access"

Audit = Callable[[str, Message], Awaitable[None]]
"""Writes down a call, by its service and method, before it runs. It raises what keeps the call from running."""


@dataclass(frozen=True, slots=True)
class Access:
    scopes: frozenset[str] = frozenset()
    """One of them is needed by a key that has any."""
    administrator: bool = False
    public: bool = False
    audited: bool = False

    def check(self, caller: Caller) -> None:
        """
        Raises:
            AdministratorsOnly, ScopeMissing
        """
        if self.administrator and not caller.admin:
            raise AdministratorsOnly
        if self.scopes and caller.scopes and not self.scopes.intersection(caller.scopes):
            raise ScopeMissing(scope=" or ".join(sorted(self.scopes)))


EVERYBODY = Access()
"""For every caller who is known: what methods without the option are for."""


def access(method: str) -> Access:
    """Of a method by its path, `/tollway.ledger.v1.LedgerService/Reserve`."""
    service, _, name = method.strip("/").partition("/")
    try:
        found = Default().FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return EVERYBODY
    for option, value in found.GetOptions().ListFields():
        if option.full_name == OPTION:
            return Access(frozenset(value.scopes), value.administrator, value.public, value.audited)
    return EVERYBODY
