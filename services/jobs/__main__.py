"""`python -m services.jobs` serves jobs alone, its worker with it."""

from services.jobs.app import Settings, app
from services.runtime.server import main

if __name__ == "__main__":
    main("jobs", Settings, app)
