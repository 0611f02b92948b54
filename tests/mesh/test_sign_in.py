"""People sign in to the console at their company's issuer, in a real Chromium."""

import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.mesh.client import sent
from tests.mesh.running import Mesh, running
from tests.peers import issuer as peer
from tests.peers.issuer import AUDIENCE, Issuer
from tests.peers.provider import provider


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with peer.issuer() as made:
        yield made


@pytest.fixture
async def mesh(issuer: Issuer) -> AsyncIterator[Mesh]:
    trusted = json.dumps({issuer.url: {"audience": AUDIENCE}})
    offered = json.dumps({"issuer": issuer.url, "client_id": AUDIENCE, "name": "Example Corp"})
    with provider() as upstream, running(upstream, TOLLWAY_LEDGER__OIDC=trusted, TOLLWAY_EDGE__SIGN_IN=offered) as made:
        yield made


async def at_the_door(browser: Browser, mesh: Mesh) -> Page:
    page = await browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page broke: {error}"))
    await page.goto(f"{mesh.url}/console/#cost?by=key")
    await expect(page.get_by_role("button", name="Sign in with Example Corp")).to_be_visible()
    return page


@pytest.mark.timeout(180)
async def test_a_person_signs_in_where_their_company_does(issuer: Issuer, mesh: Mesh, browser: Browser) -> None:
    page = await at_the_door(browser, mesh)
    await page.get_by_role("button", name="Sign in with Example Corp").click()
    await expect(page.get_by_role("alert")).to_contain_text("role")  # known, and bound to nothing yet
    assert mesh.tollway("roles", "bind", "user:ann@example.com", "viewer", "acme/app").returncode == 0
    await page.reload()
    await expect(page.locator("#who")).to_have_text("acme/app")
    await expect(page.locator("main[data-view=cost]")).to_be_visible()
    assert page.url == f"{mesh.url}/console/#cost?by=key", "back where they were, and no code in the address"

    await page.get_by_role("button", name="Sign out").click()
    issuer.refuses = "access_denied"
    await page.get_by_role("button", name="Sign in with Example Corp").click()
    await expect(page.get_by_role("alert")).to_contain_text("access_denied")
    await page.goto(f"{mesh.url}/console/?code=stolen&state=other")
    await expect(page.get_by_role("alert")).to_contain_text("not begun in this tab")


async def test_a_code_is_traded_for_who_began_and_nobody_else(issuer: Issuer, mesh: Mesh) -> None:
    issuer.codes["c1"] = {"code_challenge": "x", "redirect_uri": "y", "client_id": AUDIENCE, "nonce": "n"}
    body = {"code": "c1", "code_verifier": "guess", "redirect_uri": f"{mesh.url}/console/"}
    guessed = await sent(mesh, body, path="/console/sign-in", key="")
    assert (guessed.status, guessed.code) == (401, "sign_in_refused") and "invalid_grant" in guessed.raw.decode()
    wrong = await sent(mesh, {**body, "redirect_uri": "https://evil.example/take"}, path="/console/sign-in", key="")
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "redirect_uri")
    assert (await sent(mesh, {"code": "c1"}, path="/console/sign-in", key="")).status == 400
    issuer.away = True
    away = await sent(mesh, body, path="/console/sign-in", key="")
    assert (away.status, away.code) == (503, "issuer_away")
