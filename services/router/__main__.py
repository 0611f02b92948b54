"""`python -m services.router` serves the service alone."""

from services.router.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("router", Settings, app)
