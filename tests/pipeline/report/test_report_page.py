"""The page in a browser: everything is drawn, nothing is asked of a network, and no id of a log runs as a script."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.report.view import REPORT
from pipeline.workspace.workspace import Run
from tests.worlds.hostile_world import HOSTILE, add_ranking, write_world
from tests.worlds.night_world import latest_of, transra

pytest.importorskip("selenium")
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.worlds.chromium import chromium, console_errors, requests

pytestmark = pytest.mark.reports
MAP = "Bokeh.documents.flatMap((one) => one.roots()).find((root) => root.name === 'map')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run(browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The second of two nights, with a ranking: it has every chart."""
    root = tmp_path_factory.mktemp("hostile")
    write_world(root)
    assert transra(root, "run") == 0
    write_world(root, seed=1)
    assert transra(root, "run") == 0
    found = latest_of(root)
    add_ranking(found)
    assert transra(root, "report") == 0
    return found


def open_page(browser: Chrome, page: Path, width: int = 1440, scheme: str = "light") -> float:
    """Opens a page and waits until all is drawn; returns the seconds until its text could be read."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme_of_media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme_of_media)
    begun = time.perf_counter()
    browser.get(page.as_uri())
    opened = time.perf_counter() - begun
    for _ in range(600):
        state = browser.execute_script("return {...document.documentElement.dataset}")
        if state.get("charts") and state.get("drawn") == state["charts"]:
            print(f"{width} px, {scheme}: open in {opened:.2f} s, all drawn in {time.perf_counter() - begun:.2f} s")
            return opened
        time.sleep(0.1)
    pytest.fail(f"{state}: not every chart was drawn; {console_errors(browser)}")


def test_all_is_drawn_in_every_width_and_light(browser: Chrome, run: Run) -> None:
    page, backgrounds = run.path / REPORT, set()
    assert page.stat().st_size < 5e6
    requests(browser)  # those of the browser's own first page
    for width, scheme in ((390, "dark"), (820, "light"), (1440, "dark")):
        open_page(browser, page, width, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
        charts = browser.find_elements(By.CSS_SELECTOR, ".chart")
        assert len(charts) >= 15 and all(chart.get_attribute("data-state") == "drawn" for chart in charts)
        assert all(chart.size["height"] > 60 and chart.size["width"] > 200 for chart in charts)
        backgrounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2, "dark is not light"
    assert console_errors(browser) == []
    assert {url.split(":")[0] for url in requests(browser)} <= {"file", "data", "blob"}


@pytest.fixture(scope="module")
def opened(browser: Chrome, run: Run) -> Chrome:
    """The browser with the page, for tests that look or type and leave the rest as it is."""
    open_page(browser, run.path / REPORT)
    return browser


def test_no_id_of_a_log_runs_and_all_are_shown(opened: Chrome) -> None:
    assert opened.execute_script("return window.broken") is None
    text = opened.execute_script("return document.getElementById('examples').textContent")
    for id in HOSTILE[:3]:
        assert id in text, "as text, letter by letter"
    assert "line\\nbreak\\ttab\\x07bell" in text and "\u202e" not in text
    names = opened.execute_script("return document.getElementById('graph').textContent")
    assert HOSTILE[0] in names, "names of relations, too"


def test_examples_are_searched(opened: Chrome) -> None:
    field = opened.find_element(By.ID, "find")
    field.send_keys("EMOJI")
    shown = [one for one in opened.find_elements(By.CSS_SELECTOR, "#examples > details") if one.is_displayed()]
    assert len(shown) == 5 and "5 examples" in opened.find_element(By.ID, "found").text, "an id and four labels"
    shown[0].find_element(By.TAG_NAME, "summary").click()
    assert len(shown[0].find_elements(By.TAG_NAME, "li")) == 10, "five users and five pins"
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("nobody has this id")
    assert "0 examples" in opened.find_element(By.ID, "found").text


def test_series_are_hidden_and_the_map_is_zoomed_by_keyboard(opened: Chrome) -> None:
    button = opened.find_element(By.CSS_SELECTOR, "#map [data-series='0']")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "false"
    visible = f"return {MAP}.renderers.map((one) => one.visible)"
    assert opened.execute_script(visible) == [False, True]
    width = f"const range = {MAP}.x_range; return range.end - range.start"
    before = opened.execute_script(width)
    opened.find_element(By.CSS_SELECTOR, "[data-zoom='0.5']").send_keys(Keys.SPACE)
    assert opened.execute_script(width) == pytest.approx(before / 2)


def test_every_chart_has_a_name_and_its_numbers(opened: Chrome) -> None:
    for figure in opened.find_elements(By.TAG_NAME, "figure"):
        assert figure.find_elements(By.CSS_SELECTOR, "table tbody tr"), figure.text
        assert figure.find_element(By.CSS_SELECTOR, "[role=img]").get_attribute("aria-label")
    unnamed = (
        "return [...document.querySelectorAll('input,button')].filter((e) => !e.labels?.length && !e.innerText).length"
    )
    assert opened.execute_script(unnamed) == 0
