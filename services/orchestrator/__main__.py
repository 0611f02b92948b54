"""`python -m services.orchestrator` serves the service alone."""

from services.orchestrator.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("orchestrator", Settings, app)
