"""How this process collects its garbage."""

import gc

YOUNG, MIDDLE, OLD = 100_000, 10, 20
"""Collections of the young and middle are made less often than Python makes them, and of the old far less: requests
leave next to no cycles, and a full collection of a mesh's objects takes a tenth of a second."""


def opening() -> None:
    """To be called before code comes in and services are opened: nearly all of that stays, and a fifth of the time would go into looking
    at it."""
    gc.disable()


def settled() -> None:
    """To be called once all is open: what stands by now stays, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.enable()
