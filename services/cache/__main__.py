"""`python -m services.cache` serves the service alone."""

from services.cache.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("cache", Settings, app)
