"""End users of tenants: what is kept of them bears a digest, by which it is found when it is to be erased."""

from hashlib import sha256

DIGITS = 32


def digest(tenant: str, subject: str) -> str:
    """Stands for an end user of a tenant; '' for nobody. The same name in two tenants is two users."""
    if not subject:
        return ""
    return sha256(f"{tenant}\0{subject}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
