"""What was settled and how budgets stand, as metrics. Accounts are no labels: reports know them, and series stay few."""

from collections.abc import Iterator

from services.ledger.replica import Replica
from services.ledger.store import Entry
from services.runtime import metrics
from services.runtime.metrics import Counted

COST = Counted("tollway.ledger.cost", "USD", "Settled, by the model that answered.", ("model",))
BASELINE = Counted("tollway.ledger.baseline", "USD", "What the strongest model alone would have cost.", ("by",))
TOKENS = Counted("tollway.ledger.tokens", "{token}", "Settled, by model and kind.", ("model", "type"))
REQUESTS = Counted("tollway.ledger.requests", "{request}", "Settled, by whether the cache answered.", ("cached",))
NANO = 1e9


def settled(entry: Entry) -> None:
    """Counts a settlement; one that is repeated is counted again, which reports do not."""
    REQUESTS.add(1, "yes" if entry.cached else "no")
    if entry.baseline:
        BASELINE.add(entry.baseline / NANO, "cache" if entry.cached else "model")
    if entry.model:
        COST.add(entry.cost / NANO, entry.model)
        TOKENS.add(entry.input_tokens, entry.model, "input")
        TOKENS.add(entry.output_tokens, entry.model, "output")


def publish(replica: Replica) -> None:
    """Budgets with a warning mark, and accounts that are stopped, as this replica last saw them."""

    def used() -> Iterator[tuple[float, dict[str, str]]]:
        for budget, stands, _ in replica.stands.marked(replica.now()):
            if budget.limit:
                yield stands.spent / budget.limit, {"account": budget.account, "budget": budget.name}

    metrics.gauge("tollway.ledger.budget.used", "1", "Part of a budget with a warning mark that is spent.", used)
    metrics.gauge(
        "tollway.ledger.suspended", "{account}", "Accounts that are stopped.",
        lambda: [(float(len(replica.suspended)), {})],
    )  # fmt: skip
