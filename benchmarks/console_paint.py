"""How long the console takes over ten million requests, in a real Chromium: `python -m benchmarks.console_paint`.

Beside an empty ledger in the same run: first paint of the page, then until the view shows its figures, and until an interaction has
redrawn it. Needs Chromium (`apt-get install chromium`).
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import yaml
from playwright.async_api import Browser, Page, async_playwright

from benchmarks import processes, report
from benchmarks.gateway_load import until_file
from benchmarks.seeded import seed
from services.mesh.running import Running, admin_key, running

VIEWS = ("overview", "cost", "requests", "budgets")
Step = Callable[[Page], Any]


async def by(page: Page, what: str) -> None:
    await page.locator("select[name=by]").select_option(what)
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("heading", name=f"By {what}", exact=True).wait_for()


async def deeper(page: Page) -> None:
    await page.locator("button.link").first.click()
    await page.wait_for_function("new URLSearchParams(location.hash.split('?')[1]).get('account')?.startsWith('org')")
    await page.wait_for_function("!document.querySelector('main').textContent.includes('org0/team0 ')")


async def earlier(page: Page) -> None:
    first = await page.locator("tbody tr").first.inner_text()
    await page.get_by_role("button", name="Earlier").click()
    await page.wait_for_function("first => document.querySelector('tbody tr').innerText !== first", arg=first)


INTERACTIONS: dict[str, tuple[str, Step]] = {
    "cost by model": ("cost?hours=2160", lambda page: by(page, "model")),
    "cost by day": ("cost?hours=2160", lambda page: by(page, "day")),
    "into an account": ("cost?hours=2160", deeper),
    "earlier requests": ("requests?hours=2160", earlier),
}


@contextmanager
def mesh(state: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "services.mesh", "up", "--quiet", "--port=0", "--grpc-port=0", f"--state={state}"]
    with processes.started(command, {"TOLLWAY_MODELS__LOCAL": "false"}, state / "log"):
        until_file(state / "run" / "up.json")
        yield running(state)


async def opened(browser: Browser, url: str, key: str, view: str) -> tuple[Page, float, float]:
    """The page, its first paint and when its figures stood, both in milliseconds from its beginning."""
    page = await browser.new_page()
    await page.add_init_script(f"sessionStorage.setItem('tollway-key', {json.dumps(key)})")
    await page.goto(f"{url}/console/#{view}")
    await page.locator(f"main[data-view={view.partition('?')[0]}]").wait_for()
    shown = float(await page.evaluate("performance.now()"))
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return page, float(await page.evaluate(paint)), shown


async def measured(browser: Browser, url: str, key: str, rounds: int, *, interactions: bool) -> dict[str, float]:
    samples: dict[str, list[float]] = {}
    for _ in report.progress(range(rounds), "rounds"):
        for view in VIEWS:
            page, painted, shown = await opened(browser, url, key, view)
            samples.setdefault("first paint", []).append(painted)
            samples.setdefault(view, []).append(shown)
            await page.close()
        for name, (view, step) in INTERACTIONS.items() if interactions else ():
            page, *_ = await opened(browser, url, key, view)
            began = time.perf_counter()
            await step(page)
            samples.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
            await page.close()
    return {name: report.percentiles(values)[0] for name, values in samples.items()}


async def main(rows: int, days: int, rounds: int) -> None:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        os.chmod(folder, 0o755)
        state = Path(folder) / "state"
        state.mkdir()
        with mesh(state) as made:
            key = admin_key(state)
            async with async_playwright() as player:
                browser = await player.chromium.launch(executable_path=binary, args=["--no-sandbox"])
                empty = await measured(browser, made.url, key, rounds, interactions=False)
                settings = yaml.safe_load((state / "mesh.yaml").read_text())
                connection = await asyncpg.connect(
                    settings["ledger"]["database_url"], server_settings={"search_path": "ledger"}
                )
                await seed(connection, rows, datetime.now(UTC), days)
                await connection.close()
                full = await measured(browser, made.url, key, rounds, interactions=True)
                await browser.close()
    report.table(
        f"milliseconds, at the median of {rounds}",
        ("", "no request", f"{rows:,} requests"),
        [(name, empty.get(name, "-"), value) for name, value in full.items()],
    )
    report.finish({"rows": rows, "empty_ms": empty, "full_ms": full, "slowest_ms": max(full.values())})


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--days", type=int, default=90)
    asked.add_argument("--rounds", type=int, default=5)
    args = asked.parse_args()
    asyncio.run(main(args.rows, args.days, args.rounds))
