"""The dashboard in a real browser: Chromium, as Debian has it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from example_app import create_app
from example_app.extensions import db
from tests.dashboard.browsing import HOSTILE, Site, served, use
from tests.dashboard.conftest import PICTURES, USERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

MODES = ("light", "dark")
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(filled: Path) -> Iterator[Site]:
    """The example application with some traffic, of which tests only read.

    It is made before the browser, whose event loop would be in the way of asynchronous views.
    """
    app = create_app({"DEBUG": True, "DATABASE_URL": f"sqlite:///{filled}"})
    app.add_url_rule("/search/<path:term>", "search", _search)
    use(app, minutes=35 if PICTURES else 3, rounds=3 if PICTURES else 1)
    client = app.test_client()
    client.get(f"/search/{HOSTILE}?q={HOSTILE}", headers={"User-Agent": HOSTILE})
    client.get(f"/{HOSTILE}")
    with served(app) as site:
        yield site
    with app.app_context():
        db.engine.dispose()


def _search(term: str) -> str:
    """Send a statement that holds a client's words where no value stands."""
    name = term.replace('"', "")
    return str(db.session.execute(text(f'SELECT 1 AS "{name}"')).scalar())


@pytest.fixture
def opened(site: Site, browser: Browser) -> Iterator[Open]:
    """Opens a page of the dashboard; nothing may fail or be refused in it."""
    contexts, complaints = [], []

    def opened(page: str, **options: Any) -> Page:
        context = browser.new_context(base_url=site.address, **options)
        contexts.append(context)
        context.on(
            "console", lambda said: complaints.append(said.text) if said.type == "error" else None
        )
        context.on("weberror", lambda failed: complaints.append(str(failed.error)))
        context.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab = context.new_page()
        tab.goto(site.pages.get(page, page))
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert [each for each in complaints if "404 (NOT FOUND)" not in each] == []


def test_why_an_endpoint_is_slow_is_three_clicks_away(opened: Open) -> None:
    page = opened("overview", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("region", name="Routes").get_by_role("link", name="/before/analytics").click()
    assert page.locator("h1").inner_text().endswith("/before/analytics")
    page.get_by_role("region", name="The slowest").locator("tbody th a").first.click()

    row = page.locator("tr.folded", has_text="User.documents")
    assert f"{USERS} ×" in row.inner_text()  # noqa: RUF001
    assert "example_app/blueprints/before.py:36" in row.inner_text()
    assert row.locator("svg rect").count() == 2
    row.locator("summary").click()
    assert "FROM documents" in row.locator("pre").inner_text()

    finding = page.locator("article", has_text="n_plus_one: User.documents")
    finding.get_by_role("button", name="Copy").click()
    finding.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "selectinload(User.documents)"


def test_a_list_is_filtered_and_its_address_says_how(opened: Open) -> None:
    page = opened("requests")
    page.keyboard.press("/")
    page.keyboard.type("before/documents")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=before*")
    rows = page.locator("tbody th").all_inner_texts()
    assert rows
    assert all(row.endswith("/before/documents") for row in rows)
    page.get_by_label("Findings").select_option("1")
    page.get_by_role("button", name="Filter").click()
    assert "found=1" in page.url
    assert "q=before" in page.url
    page.get_by_role("link", name="15m").click()
    assert "found=1" in page.url
    assert page.get_by_label("Search a path or route").input_value() == "before/documents"


def _is_dark(page: Page) -> bool:
    colour: str = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    return all(int(part) < 60 for part in re.findall(r"\d+", colour)[:3])


@pytest.mark.parametrize("mode", MODES)
def test_dark_and_light_follow_the_system_and_the_switch(opened: Open, mode: str) -> None:
    page = opened("overview", color_scheme=mode)
    assert _is_dark(page) is (mode == "dark")
    page.get_by_role("button", name="Dark mode").click()
    assert _is_dark(page) is (mode != "dark")
    page.get_by_role("link", name="Findings", exact=True).click()
    page.wait_for_url("**/findings*")
    assert _is_dark(page) is (mode != "dark")


def test_all_but_comfort_works_without_scripts(opened: Open, site: Site) -> None:
    page = opened("overview", java_script_enabled=False)
    assert page.locator("svg.plot rect.column").count() > 0
    assert page.locator("svg.spark rect").count() > 0
    assert page.get_by_role("button", name="Dark mode").count() == 0
    page.get_by_label("Search a route or job").fill("sleep")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tbody tr").count() == 1
    page.goto(site.pages["request"])
    row = page.locator("tr.folded").first
    assert not row.locator("pre").is_visible()
    row.locator("summary").click()
    assert row.locator("pre").is_visible()
    page.goto(site.pages["statement"])
    page.get_by_role("button", name="Show the plan").click()
    assert "documents" in page.locator("section", has_text="Plan").locator("pre").inner_text()


def test_a_page_shows_itself_anew(opened: Open) -> None:
    page = opened("about:blank")
    page.clock.install()
    page.goto("/perfkit/requests?refresh=5")
    before = page.locator("tbody tr").count()
    page.request.get("/health")
    with page.expect_response("**/perfkit/requests?refresh=5"):
        page.clock.fast_forward(5_000)
    page.locator("tbody tr", has_text="/health").first.wait_for()
    assert page.locator("tbody tr").count() == before + 1


def test_what_clients_send_is_shown_and_does_nothing(opened: Open, site: Site) -> None:
    page = opened("requests")
    assert page.locator("tbody th", has_text="<script>").count() >= 1
    links = page.locator("tbody th a", has_text="<script>")
    pages = [link.get_attribute("href") for link in links.all()]
    pages += [site.pages[name] for name in ("overview", "statements", "findings")]
    pages += [f"/perfkit/{name}?q={HOSTILE}" for name in ("requests", "statements", "findings")]
    pages += [f"/perfkit/route?method={HOSTILE}&name={HOSTILE}", "/perfkit/requests/<img src=x>"]
    statements = page.context.request.get("/perfkit/statements?q=script&format=json").json()
    pages += [f"/perfkit/statements/{each['fingerprint']}" for each in statements["statements"]]
    assert len(statements["statements"]) == 1
    for each in pages:
        page.goto(each)
        assert page.locator("h1").count() == 1
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0
        assert page.locator("body script").count() == 0


def test_the_badge_leads_from_a_page_to_what_it_did(opened: Open) -> None:
    page = opened("/")
    badge = page.locator("perfkit-badge").get_by_role("link")
    assert re.fullmatch(r"PerfKit: [\d.,]+ ms, 0 statements", badge.get_attribute("aria-label"))
    badge.click()
    assert page.locator("h1").inner_text().split() == ["GET", "/", "200"]


@pytest.mark.parametrize("mode", MODES)
def test_nobody_is_kept_out(opened: Open, site: Site, mode: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if mode == "dark":
        options["runOnly"] = ["color-contrast"]  # all that differs
    page = opened("overview", color_scheme=mode)
    for name, address in site.pages.items():
        page.goto(address)
        found = axe.run(page, options=options).response["violations"]
        grave = [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert grave == [], name


def test_no_page_is_wider_than_a_telephone(opened: Open, site: Site) -> None:
    page = opened("overview", viewport={"width": 390, "height": 800})
    for name, address in site.pages.items():
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_the_keyboard_reaches_everything(opened: Open) -> None:
    page = opened("overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Filter", "/before/analytics"} <= reached


@pytest.mark.parametrize("mode", MODES)
def test_pictures_for_the_documentation(
    opened: Open, site: Site, mode: str, tmp_path: Path
) -> None:
    """Make them; with PERFKIT_PICTURES=docs/images in the environment, of more data, there."""
    directory = Path(PICTURES) if PICTURES else tmp_path
    page = opened("overview", color_scheme=mode, viewport={"width": 1280, "height": 800})
    for name in ("overview", "request"):
        page.goto(site.pages[name])
        path = directory / f"dashboard-{name}-{mode}.png"
        page.screenshot(path=path, full_page=name == "request")
        assert 10_000 < path.stat().st_size < 300_000
