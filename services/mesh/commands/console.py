"""`tollway console`: where the console is, and the key to sign in with."""

from services.mesh import running
from services.mesh.commands.calling import State
from services.mesh.screen import err, say


def console(state: State = running.STATE) -> None:
    """Prints the console's address and an administrator's key for it."""
    found = running.running(state)
    err.print("Sign in with this administrator's key: it sees every account and may change budgets.")
    say(f"{found.url}/console/")
    say(running.admin_key(state))
