"""`python -m services.registry` serves the registry alone."""

from services.registry.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("registry", Settings, app)
