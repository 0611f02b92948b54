"""`python -m services.edge` serves the HTTP edge alone."""

from services.edge.app import Settings, app
from services.edge.server import main

if __name__ == "__main__":
    main(Settings, app)
