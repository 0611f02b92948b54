"""What Tollway claims, measured: `python -m benchmarks.NAME`."""

import services as services  # first: it says how many threads numpy may take
