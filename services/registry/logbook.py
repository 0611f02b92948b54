"""The audit log in PostgreSQL: written with the change that it tells of."""

from typing import Any

from services.registry import audit
from services.registry.audit import Change


async def logged(connection: Any, change: Change) -> None:
    """Appends `change`. Called within the transaction of the change itself."""
    await connection.execute(
        "INSERT INTO chain (tenant, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING", change.tenant, audit.GENESIS
    )
    head = await connection.fetchrow("SELECT sequence, hash FROM chain WHERE tenant = $1 FOR UPDATE", change.tenant)
    made = audit.entry(change, head["sequence"] + 1, head["hash"])
    await connection.execute(
        "INSERT INTO entry (tenant, sequence, json, hash) VALUES ($1, $2, $3, $4)",
        change.tenant, made.sequence, made.json, made.hash,
    )  # fmt: skip
    await connection.execute(
        "UPDATE chain SET sequence = $2, hash = $3 WHERE tenant = $1", change.tenant, made.sequence, made.hash
    )
