"""`python -m services.encoder` serves the service alone."""

from services.encoder.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("encoder", Settings, app)
