"""`python -m services.ledger` serves the ledger alone."""

from services.ledger.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("ledger", Settings, app)
