"""`python -m services.retrieval` serves the service alone."""

from services.retrieval.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("retrieval", Settings, app)
