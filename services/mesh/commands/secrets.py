"""`tollway secrets`: what a deployment must keep to itself, made anew, as lines of an environment file."""

import secrets

from services.mesh.screen import say

NAMES = {
    "TOLLWAY_ADMIN_KEY": "tw_",
    "TOLLWAY_SEAL_KEYS": "",
    "TOLLWAY_CACHE_KEY": "",
    "TOLLWAY_WEBHOOK_KEY": "",
    "POSTGRES_PASSWORD": "",
    "GRAFANA_PASSWORD": "",
}
"""And what each begins with."""


def make() -> None:
    """Prints fresh secrets for compose.yaml: `tollway secrets > .env`. Run it once; they are not made twice alike."""
    for name, begins in NAMES.items():
        say(f"{name}={begins}{secrets.token_urlsafe(32)}")
