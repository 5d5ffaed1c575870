"""The site: it builds without warnings, every link has a target, a browser shows each page with no errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from trajrl import _PUBLIC
from trajrl.cli.commands import COMMANDS, GROUPS

ROOT = Path(__file__).parents[1]
SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
FLAGS = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once."""
    out = tmp_path_factory.mktemp("site")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    ended = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    return out


class Links(HTMLParser):
    """What a page links to or loads, and the places in it that a link may name."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.places = {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.targets.append(str(given["href"]))
        if tag in ("img", "script", "link") and (source := given.get("src") or given.get("href")):
            self.loaded.append(source)


def test_every_link_of_the_site_has_a_target_and_nothing_is_loaded_from_elsewhere(site):
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 25
    for page, links in pages.items():
        assert [source for source in links.loaded if urlparse(source).netloc] == [], page.name
        for target in (*links.targets, *links.loaded):
            parts = urlparse(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            goal = goal / "index.html" if goal.is_dir() else goal
            assert goal.exists(), f"{page.name} links to {target}"
            if goal in pages:
                assert unquote(parts.fragment) in pages[goal].places, f"{page.name} links to {target}"


def test_every_option_and_every_public_name_is_on_its_page(site):
    options = (site / "reference" / "options.html").read_text()
    for name in COMMANDS:
        for inner in GROUPS.get(name, {"": None}):
            assert f">{f'{name} {inner}'.strip()}<" in options, (name, inner)
    assert "--learning-starts" in options
    python = (site / "reference" / "python.html").read_text()
    assert [name for name, module in _PUBLIC.items() if f'id="{module}.{name}"' not in python] == []


@pytest.fixture(scope="module")
def served(site):
    """Serve the site on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


SEARCH = """const query = document.querySelector("[data-md-component=search-query]");
query.focus();
query.value = "td_error_rank";
for (const name of ["keyup", "input"]) query.dispatchEvent(new Event(name));"""
FOUND = "return document.querySelectorAll('.md-search-result__item').length"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_a_browser_shows_every_page_without_an_error(site, served, width, theme):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    places = shutil.which("chromium"), shutil.which("chromedriver")
    assert all(places), "the browser test needs Debian's chromium and chromium-driver: apt-get install both"
    options, profile = webdriver.ChromeOptions(), tempfile.mkdtemp()
    options.binary_location = places[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(places[1]))
    try:
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        for page in sorted(site.rglob("*.html")):
            if page.name == "404.html":
                continue
            driver.get(f"{served}/{page.relative_to(site)}")
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"{page.name} is {wide} pixels wide at {width}"
            shown = driver.execute_script("return document.body.getAttribute('data-md-color-scheme')")
            assert shown == {"light": "default", "dark": "slate"}[theme]
            errors = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
            assert errors == [], page.name
        until = time.monotonic() + 20
        driver.execute_script(SEARCH)
        while not driver.execute_script(FOUND) and time.monotonic() < until:
            time.sleep(0.2)
        assert driver.execute_script(FOUND) > 0
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
