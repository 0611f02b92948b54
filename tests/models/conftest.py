"""A provider that answers what it is told to, for tests of what is asked and what is taken."""

from collections.abc import AsyncIterator

import pytest

from tests.models.upstream import Upstream
from tests.models.upstream import upstream as serving


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving() as made:
        yield made
