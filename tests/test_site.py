"""The site: it builds without warnings, every link has a target, a browser shows each page with no errors.

The fast tests build it with notebooks whose outputs are put in; the slow ones with notebooks executed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
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


POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ROWS = '<table border="1" class="dataframe"><tr><td>7</td></tr></table>'
TABLE = f"<div>\n<style scoped> .x {{}}</style>\n{ROWS}\n</div>"


def executed(source: Path, folder: Path) -> None:
    """Write a notebook as it is after execution, with a picture, a table and an answer in its last cell."""
    notebook = json.loads(source.read_text())
    figure = {"image/png": POINT, "text/plain": "Scores < 5", "application/vnd.plotly.v1+json": {}}
    forms = (figure, {"text/html": TABLE, "text/plain": "7"}, {"text/markdown": "- It is a\\_b."})
    shown = [{"output_type": "display_data", "data": form, "metadata": {}} for form in forms]
    notebook["cells"][-1]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "5 of 7: a_b*c\nthen"},
        *shown,
    ]
    (folder / source.name).write_text(json.dumps(notebook))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once, with notebooks that nobody had to wait for."""
    notebooks = tmp_path_factory.mktemp("notebooks")
    for path in (ROOT / "analysis").glob("*.ipynb"):
        executed(path, notebooks)
    return built(tmp_path_factory.mktemp("site"), notebooks)


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory):
    """Build the site as `make docs` does; what was executed before and has not changed is kept."""
    words = [sys.executable, str(ROOT / "docs" / "execute_notebooks.py")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return built(tmp_path_factory.mktemp("whole"), ROOT / "out" / "notebooks")


def built(out: Path, notebooks: Path) -> Path:
    """Build the site with executed notebooks; a warning is an error."""
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), "SITE_NOTEBOOKS": str(notebooks)}
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
    assert links_held(site) > 25


def links_held(site: Path) -> int:
    """Hold that every link and whatever is loaded lies in the site; returns the number of pages."""
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
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
    return len(pages)


def test_a_notebook_is_a_page_with_its_picture_its_table_and_its_answer(site):
    pages = sorted((site / "notebooks").glob("*.html"))
    assert [page.name[:2] for page in pages] == ["01", "02", "03", "04", "05", "06", "07"]
    for page in pages:
        text = page.read_text()
        assert f'<img src="{page.stem}-0.png" alt="Scores &lt; 5"' in text
        assert (page.parent / f"{page.stem}-0.png").read_bytes() == b64decode(POINT)
        assert "<table><tr><td>7</td></tr></table>" in text
        assert "<li>It is a_b.</li>" in text
        assert "<p>5 of 7: a_b*c</p>\n<p>then</p>" in text
        assert "?<a" in text.split("<h1")[1]
    assert 'href="notebooks/07-evidence.html"' in (site / "evidence.html").read_text()


def test_a_notebook_that_was_not_executed_is_named_and_no_site_is_built(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "SITE_NOTEBOOKS": str(tmp_path)}
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    ended = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "01-what-is-in-my-data.ipynb is not there; `make docs` executes the notebooks" in ended.stderr
    assert not (tmp_path / "site" / "index.html").exists()


def test_every_option_and_every_public_name_is_on_its_page(site):
    options = (site / "reference" / "options.html").read_text()
    for name in COMMANDS:
        for inner in GROUPS.get(name, {"": None}):
            assert f">{f'{name} {inner}'.strip()}<" in options, (name, inner)
    assert "--learning-starts" in options
    python = (site / "reference" / "python.html").read_text()
    assert [name for name, module in _PUBLIC.items() if f'id="{module}.{name}"' not in python] == []


@pytest.fixture(scope="module")
def served(whole_site):
    """Serve the site on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(whole_site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


SEARCH = """const query = document.querySelector("[data-md-component=search-query]");
query.focus();
query.value = "td_error_rank";
for (const name of ["keyup", "input"]) query.dispatchEvent(new Event(name));"""
FOUND = "return document.querySelectorAll('.md-search-result__item').length"


@pytest.mark.slow
@pytest.mark.timeout(1500)  # executing the notebooks first takes minutes beside other tests
def test_the_notebooks_of_the_whole_site_show_what_they_drew(whole_site):
    links_held(whole_site)
    for source in (ROOT / "analysis").glob("*.ipynb"):
        page = (whole_site / "notebooks" / f"{source.stem}.html").read_text()
        assert page.count(f'src="{source.stem}-') >= 3, source.name
        answer = page.split('id="the-answer"')[1]
        assert answer.count("<li>") >= 2
        assert str(ROOT) not in page


BROKEN = """return [...document.images].filter((image) => !(image.complete && image.naturalWidth))
.map((image) => image.src)"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_a_browser_shows_every_page_without_an_error(whole_site, served, width, theme):
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
        for page in sorted(whole_site.rglob("*.html")):
            if page.name == "404.html":
                continue
            driver.get(f"{served}/{page.relative_to(whole_site)}")
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"{page.name} is {wide} pixels wide at {width}"
            shown = driver.execute_script("return document.body.getAttribute('data-md-color-scheme')")
            assert shown == {"light": "default", "dark": "slate"}[theme]
            assert driver.execute_script(BROKEN) == [], page.name
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
