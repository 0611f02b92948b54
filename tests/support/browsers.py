"""A real Chromium, where there is one."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

expect.set_options(timeout=20_000)  # a browser beside a whole mesh, on two cores


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with async_playwright() as player:
        made = await player.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield made
        await made.close()
