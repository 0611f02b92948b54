"""`python -m services.guard` serves the service alone."""

from services.guard.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("guard", Settings, app)
