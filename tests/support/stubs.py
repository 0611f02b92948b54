"""A service's stub under a caller's token."""

from functools import partial
from typing import Any

from tests.support.callers import bearing


class Called:
    """Every call of `stub` carries a token of `account`, and a deadline."""

    def __init__(self, stub: Any, account: str = "acme/search", **more: Any) -> None:
        self.stub, self.account, self.more = stub, account, more

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self.stub, name), metadata=bearing(self.account, **self.more), timeout=20.0)

    def by(self, account: str, **more: Any) -> "Called":
        return Called(self.stub, account, **more)
