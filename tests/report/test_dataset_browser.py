"""A data set's page in a real browser: no errors, no wider than the screen, in both themes."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from episodes import filmed, random_episode, write
from test_browser import FLAGS, draw_all

from trajrl.cli.main import dispatch

pytestmark = pytest.mark.slow
WIDTHS = pytest.mark.parametrize(
    ("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a store whose environment and sources have long names."""
    folder = tmp_path_factory.mktemp("page")
    episodes = [random_episode(0, e, marks=True, obs_dim=9) for e in range(30)]
    path = write(
        folder / "x.h5", episodes, environment="a_laboratory.environments:make_an_arm_of_seven_joints"
    )
    assert dispatch(["store", "page", str(path), "--out", str(folder / "p.html")]) == 0
    return folder / "p.html"


@contextmanager
def browsing(path: Path, width: int, theme: str):
    """Open a page in a browser of a width and a theme."""
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
        scheme = {"name": "prefers-color-scheme", "value": theme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.set_script_timeout(60)
        driver.get(path.as_uri())
        yield driver
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert driver.execute_script("return document.documentElement.dataset.theme") == theme
        assert [line for line in driver.get_log("browser") if line["level"] == "SEVERE"] == []
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@WIDTHS
def test_the_page_draws_everything_and_fits(page, width, theme):
    with browsing(page, width, theme) as driver:
        assert draw_all(driver) == 9
        assert driver.execute_script("return document.querySelectorAll('.plot .main-svg').length") >= 9


@WIDTHS
def test_frames_are_shown_and_fit(tmp_path, width, theme):
    store = write(tmp_path / "x.h5", [filmed(0, e) for e in range(9)])
    assert dispatch(["store", "page", str(store), "--out", str(tmp_path / "p.html")]) == 0
    with browsing(tmp_path / "p.html", width, theme) as driver:
        sizes = driver.execute_script(
            "return [...document.images].map((one) => one.naturalWidth * one.width)"
        )
        assert len(sizes) == 10
        assert min(sizes) > 0
