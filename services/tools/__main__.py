"""`python -m services.tools` serves tools alone."""

from services.runtime.server import main
from services.tools.app import Settings, app

if __name__ == "__main__":
    main("tools", Settings, app)
