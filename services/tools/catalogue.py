"""The MCP servers there are: one entry each, from settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.runtime.accounts import within
from services.runtime.settings import BadSettings
from services.tools.oauth import OAuth

NAME = re.compile(r"[a-z0-9](?:[-_]?[a-z0-9]){0,31}")


@dataclass(frozen=True, slots=True)
class Server:
    """One server: spoken to over HTTP at `url`, or run as `command` and spoken to over its standard input and output."""

    url: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the command, beside `PATH`, `HOME` and `LANG`; each value as in `key`."""
    folder: str = ""
    """Where the command runs."""
    key: str = field(default="", repr=False)
    """Sent as a bearer token: `env:NAME`, `file:PATH` or `vault:PATH#FIELD`; anything else is the secret itself."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of every request; each value as in `key`."""
    oauth: OAuth = field(default_factory=OAuth)
    """Who gives us tokens for it, where it takes no key for good."""
    tools: tuple[str, ...] = ()
    """The only ones that are offered, by the server's names for them; empty for all."""
    hidden: tuple[str, ...] = ()
    """Those that are not, by the same names."""
    prompts: bool = False
    """Its prompts are offered, too."""
    resources: bool = False
    """So are its documents: all that it hands out to whoever may use it."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """By tool, the digest of what was approved: one that has changed since is not offered."""
    accounts: tuple[str, ...] = ()
    """Who may use it, with all that is below them; empty for everybody."""
    trusted: bool = False
    """It may see what policy masks, and its results are not rewritten."""
    call_s: float = 60.0
    """How long a call may take."""
    at_once: int = 32
    """Calls under way."""
    refresh_s: float = 60.0
    """How often it is asked which tools it has."""

    def open_to(self, account: str) -> bool:
        return not self.accounts or any(within(account, one) for one in self.accounts)


def checked(servers: Mapping[str, Server]) -> Mapping[str, Server]:
    """
    Raises:
        BadSettings: names every server that cannot be meant so.
    """
    faults = []
    for name, one in servers.items():
        at = f"tools.servers.{name}"
        if not NAME.fullmatch(name):
            faults.append(
                f"{at}: a name is small letters and digits, with single hyphens or underscores between, at most 32"
            )
        if bool(one.url) is bool(one.command):
            faults.append(f"{at}: either url or command must be given")
        if one.url and not one.url.startswith(("http://", "https://")):
            faults.append(f"{at}.url: must begin with http:// or https://")
        if one.oauth != OAuth():
            if one.key or not one.url:
                faults.append(f"{at}.oauth: is for a server with a url, in place of its key")
            if not one.oauth.client_id:
                faults.append(f"{at}.oauth.client_id: missing")
            elif fault := one.oauth.fault:
                faults.append(f"{at}.oauth: {fault}")
        if min(one.call_s, one.at_once, one.refresh_s) <= 0:
            faults.append(f"{at}: call_s, at_once and refresh_s are above 0")
    if faults:
        raise BadSettings("; ".join(faults))
    return servers
