"""`python -m services.models` serves the service alone."""

from services.models.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("models", Settings, app)
