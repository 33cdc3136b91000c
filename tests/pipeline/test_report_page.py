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
from selenium.webdriver import Chrome, Keys  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

from tests.worlds.chromium import chromium, console_errors, requests  # noqa: E402

pytestmark = pytest.mark.reports
WIDTHS = (390, 820, 1440)


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
    page = run.path / REPORT
    assert page.stat().st_size < 5e6
    backgrounds = set()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            open_page(browser, page, width, scheme)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
            charts = browser.find_elements(By.CSS_SELECTOR, ".chart")
            assert len(charts) >= 15 and all(chart.get_attribute("data-state") == "drawn" for chart in charts)
            assert all(chart.size["height"] > 60 and chart.size["width"] > 200 for chart in charts)
            backgrounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2, "dark is not light"
    assert console_errors(browser) == []
    assert {url.split(":")[0] for url in requests(browser)} <= {"file", "data", "blob"}


def test_no_id_of_a_log_runs_and_all_are_shown(browser: Chrome, run: Run) -> None:
    open_page(browser, run.path / REPORT)
    assert browser.execute_script("return window.broken") is None
    text = browser.execute_script("return document.getElementById('examples').textContent")
    for id in HOSTILE[:3]:
        assert id in text, "as text, letter by letter"
    assert "line\\nbreak\\ttab\\x07bell" in text and "\u202e" not in text
    names = browser.execute_script("return document.getElementById('graph').textContent")
    assert HOSTILE[0] in names, "names of relations, too"


def test_examples_are_searched(browser: Chrome, run: Run) -> None:
    open_page(browser, run.path / REPORT)
    field = browser.find_element(By.ID, "find")
    field.send_keys("EMOJI")
    shown = [one for one in browser.find_elements(By.CSS_SELECTOR, "#examples > details") if one.is_displayed()]
    assert len(shown) == 1 and "1 example" in browser.find_element(By.ID, "found").text
    shown[0].find_element(By.TAG_NAME, "summary").click()
    assert len(shown[0].find_elements(By.TAG_NAME, "li")) == 10, "five users and five pins"
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("nobody has this id")
    assert "0 examples" in browser.find_element(By.ID, "found").text


def test_series_are_hidden_and_the_map_is_zoomed_by_keyboard(browser: Chrome, run: Run) -> None:
    open_page(browser, run.path / REPORT)
    button = browser.find_element(By.CSS_SELECTOR, "#map [data-series='0']")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "false"
    visible = (
        "return Bokeh.documents.flatMap((d) => d.roots()).find((r) => r.name === 'map').renderers.map((r) => r.visible)"
    )
    assert browser.execute_script(visible) == [False, True]
    width = "const r = Bokeh.documents.flatMap((d) => d.roots()).find((r) => r.name === 'map').x_range; return r.end - r.start"
    before = browser.execute_script(width)
    browser.find_element(By.CSS_SELECTOR, "[data-zoom='0.5']").send_keys(Keys.SPACE)
    assert browser.execute_script(width) == pytest.approx(before / 2)


def test_every_chart_has_a_name_and_its_numbers(browser: Chrome, run: Run) -> None:
    open_page(browser, run.path / REPORT)
    for figure in browser.find_elements(By.TAG_NAME, "figure"):
        assert figure.find_elements(By.CSS_SELECTOR, "table tbody tr"), figure.text
        assert figure.find_element(By.CSS_SELECTOR, "[role=img]").get_attribute("aria-label")
    unnamed = (
        "return [...document.querySelectorAll('input,button')].filter((e) => !e.labels?.length && !e.innerText).length"
    )
    assert browser.execute_script(unnamed) == 0
