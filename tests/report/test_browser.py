"""The report in a real browser with the network off: no errors, the pickers work, two widths, two themes."""

import base64
import shutil
import tempfile

import pytest

from trajrl.cli.main import dispatch

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(real_runs, tmp_path_factory):
    """A report with videos of two real runs."""
    path = tmp_path_factory.mktemp("page") / "r.html"
    assert dispatch(["report", str(real_runs), "--out", str(path), "--detail", "2"]) == 0
    return path


@pytest.fixture(scope="module", params=[(1280, "light"), (390, "light"), (1280, "dark")], ids=str)
def browser(request, page):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    width, theme = request.param
    places = shutil.which("chromium"), shutil.which("chromedriver")
    assert all(places), "the browser test needs Debian's chromium and chromium-driver: apt-get install both"
    options = webdriver.ChromeOptions()
    options.binary_location = places[0]
    profile = tempfile.mkdtemp()
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(places[1]))
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": theme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.set_script_timeout(60)
    driver.get(page.as_uri())
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


FIGURE = """const figure = document.querySelector(`figure[data-key="${arguments[0]}"]`);
const select = (name) => figure.querySelector(`select[data-choice="${name}"]`);
"""
PICK_RUN = """const pick = document.getElementById('pick-run');
pick.value = arguments[0];
pick.dispatchEvent(new Event('change'));
"""
FOCUSED = """const e = document.activeElement;
return e.id || e.dataset.choice || e.dataset.turn || e.className || e.tagName;
"""


def draw_all(browser) -> int:
    """Draw every figure that is not hidden, as scrolling past would; returns how many there are."""
    return browser.execute_async_script(
        """const done = arguments[0];
        const plots = [...document.querySelectorAll('.plot')].filter((plot) => !plot.closest('[hidden]'));
        Promise.all(plots.map((plot) => draw(plot))).then(() => done(plots.length));"""
    )


def choose(browser, key: str, choice: str, value: str) -> None:
    """Choose as a keyboard would: set the select and tell the page."""
    change = """select(arguments[1]).value = arguments[2];
    select(arguments[1]).dispatchEvent(new Event('change', {bubbles: true}));"""
    browser.execute_script(FIGURE + change, key, choice, value)


def traces(browser, key: str) -> list[dict]:
    printed = """return figure.querySelector('.plot').data
    .map((trace) => ({name: trace.name, type: trace.type, count: trace.x.length, z: trace.z}));"""
    return browser.execute_script(FIGURE + printed, key)


def test_it_loads_without_network_and_without_errors(browser):
    assert draw_all(browser) >= 10
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [entry["message"] for entry in browser.get_log("performance")]
    asked = [message for message in messages if "Network.requestWillBeSent" in message]
    assert [message for message in asked if '"url":"http' in message or '"url":"ws' in message] == []
    empty = browser.execute_script(
        """return [...document.querySelectorAll('.plot[data-drawn]')]
        .filter((plot) => !plot.querySelector('.main-svg'))
        .map((plot) => plot.closest('figure').dataset.key);"""
    )
    assert empty == []


def test_nothing_is_wider_than_the_screen(browser):
    draw_all(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_the_cluster_picker_changes_the_plot(browser):
    draw_all(browser)
    key = "trajectories-cluster-s0"
    before = traces(browser, key)
    assert len(before) >= 2
    assert before[0]["type"] == "scatter3d"
    choose(browser, key, "pick", before[1]["name"])
    after = traces(browser, key)
    assert [trace["name"] for trace in after] == ["others", before[1]["name"]]
    assert after[1]["count"] == before[1]["count"]
    assert after[0]["count"] == sum(trace["count"] for trace in before) - before[1]["count"]
    choose(browser, key, "pick", "all")
    choose(browser, key, "colour", "draws")
    assert [trace["name"] for trace in traces(browser, key)] == ["draws"]
    choose(browser, key, "view", "flat")
    assert traces(browser, key)[0]["type"] == "scatter"


def test_a_cloud_turns_by_button(browser):
    draw_all(browser)
    key, eye = "states-cluster-s0", "return figure.querySelector('.plot').layout.scene.camera.eye.x"
    before = browser.execute_script(FIGURE + eye, key)
    browser.execute_script(FIGURE + "figure.querySelector('button[data-turn=\"30\"]').click()", key)
    assert browser.execute_script(FIGURE + eye, key) != before


def test_the_q_explorer_shows_other_planes_and_never_one_dimension_twice(browser):
    draw_all(browser)
    key = "q-cluster-s0"
    first = traces(browser, key)[0]["z"]
    choose(browser, key, "state", "5")
    second = traces(browser, key)[0]["z"]
    assert second != first
    choose(browser, key, "across", "1")  # `up` was 1 and moves on
    values = browser.execute_script(FIGURE + "return ['across', 'up'].map((name) => select(name).value)", key)
    assert values[0] == "1"
    assert values[1] != "1"


def test_a_plane_the_other_way_round_is_the_transposed_one(browser):
    draw_all(browser)
    key = "q-cluster-s0"
    choose(browser, key, "across", "0")
    choose(browser, key, "up", "2")
    straight = traces(browser, key)[0]["z"]
    choose(browser, key, "across", "1")
    choose(browser, key, "up", "0")
    choose(browser, key, "across", "2")
    assert traces(browser, key)[0]["z"] == [list(column) for column in zip(*straight)]


def test_the_run_picker_shows_the_other_run(browser):
    shown = "return [...document.querySelectorAll('.panel:not([hidden])')].map((panel) => panel.dataset.run)"
    assert browser.execute_script(shown) == ["cluster-s0"]
    browser.execute_script(PICK_RUN, "uniform-s0")
    assert browser.execute_script(shown) == ["uniform-s0"]
    assert draw_all(browser) >= 10
    browser.execute_script(PICK_RUN, "cluster-s0")


def test_the_theme_follows_the_system_and_the_button(browser):
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(paper)
    draw_all(browser)
    ink = "return document.querySelector('figure[data-kind=\"chart\"] .plot').layout.font.color"
    text = browser.execute_script(ink)
    browser.execute_script("document.getElementById('theme').click()")
    assert browser.execute_script(paper) != before
    assert browser.execute_script(ink) != text
    browser.execute_script("document.getElementById('theme').click()")
    assert browser.execute_script(paper) == before


def test_everything_can_be_reached_with_a_keyboard(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.body.focus(); window.scrollTo(0, 0); document.activeElement.blur()")
    seen = []
    for _ in range(200):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.append(browser.execute_script(FOCUSED))
        if seen[-1] == "BODY" and len(seen) > 1:
            break
    assert seen[0] == "skip"
    for what in (
        "theme",
        "scroll",
        "SUMMARY",
        "pick-run",
        "colour",
        "pick",
        "view",
        "30",
        "state",
        "across",
        "VIDEO",
    ):
        assert what in seen, f"{what} is not reached"


def test_videos_play(browser):
    ready = browser.execute_async_script(
        """const done = arguments[0];
        const videos = [...document.querySelectorAll('.panel:not([hidden]) video')];
        Promise.all(videos.map((video) => video.play())).then(
          () => done(videos.map((video) => video.videoWidth)), (error) => done(String(error)));"""
    )
    assert ready
    assert all(width == 320 for width in ready), ready


def test_screenshots_are_not_blank(browser, tmp_path):
    from imageio.v3 import imread

    draw_all(browser)
    shot = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"])
    path = tmp_path / "shot.png"
    path.write_bytes(shot)
    assert imread(path).std() > 10
