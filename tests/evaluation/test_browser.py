"""The pages in a real browser: nothing fails, all is there, on a laptop, a phone and paper."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pertcore.cli.app import main
from tests.evaluation.folders import attack_folder, curve_folder, robustness_folder

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
)
KINDS = ("attack", "deepfool", "regression", "curve", "robustness", "outputs", "demo")
PAPER = 688  # CSS pixels between the margins of A4
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    folders = {
        "attack": attack_folder(root / "a", "--eps", "0.1"),
        "deepfool": attack_folder(root / "d", "--attack", "deepfool"),
        "regression": attack_folder(root / "r", "--eps", "0.1", regression=True),
        "curve": curve_folder(root / "curve", "--attack", "fgsm"),
        "robustness": robustness_folder(root / "robustness"),
        "outputs": curve_folder(root / "outputs", regression=True),
        "demo": root / "demo",
    }
    assert main(["demo", "--out", str(root / "demo")]) == 0
    return {kind: folder / "report.html" for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, page: Path, *, width: int = 1280, dark: bool = False) -> None:
    """The page alone on a screen of that width, and what the browser logged before forgotten."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wanted]})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    time.sleep(0.15)  # what scripts throw reaches the log a little after the page is loaded


def asked(browser: Any) -> set[str]:
    """Addresses that the browser went to, data URIs aside."""
    logged = "".join(entry["message"] for entry in browser.get_log("performance")
                     if "requestWillBeSent" in entry["message"])  # fmt: skip
    return {url for url in re.findall(r'"url":"([^"]+)"', logged) if not url.startswith("data:")}


def cut_tables(browser: Any) -> list[str]:
    """Heads of the tables that are wider than the page: on paper nobody scrolls."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(s => s.firstElementChild"
        ".getBoundingClientRect().width > s.clientWidth + 1).map(s => s.textContent)"
    )
    return found


def is_dark(browser: Any) -> bool:
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) < 3 * 80


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_and_nothing_is_fetched(
    kind: str, pages: dict[str, Path], browser: Any
) -> None:
    opened(browser, pages[kind])
    assert browser.get_log("browser") == []
    assert asked(browser) == {pages[kind].as_uri()}


def test_a_page_that_fails_and_fetches_is_seen(tmp_path: Path, browser: Any) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='missing.png'><script>throw new Error('x')</script>")
    opened(browser, page)
    assert len(browser.get_log("browser")) >= 2
    assert len(asked(browser)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_there_and_described(
    kind: str, pages: dict[str, Path], browser: Any
) -> None:
    opened(browser, pages[kind])
    images = browser.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.alt, i.clientWidth])"
    )
    assert len(images) >= 18
    assert all(natural == 8 and alt and shown > 40 for natural, alt, shown in images)
    charts = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map("
        "s => [s.getAttribute('aria-label'), s.getBoundingClientRect().height])"
    )
    assert charts and all(label and height > 100 for label, height in charts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(kind: str, width: int, pages: dict[str, Path], browser: Any) -> None:
    opened(browser, pages[kind], width=width)
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth")
    clipped = browser.execute_script(
        "const wide = innerWidth;"
        "return [...document.querySelectorAll('svg text, img, b, figcaption, dd, button')]"
        ".filter(e => e.getBoundingClientRect().right > wide || e.getBoundingClientRect().left < 0)"
        ".map(e => e.textContent)"
    )
    assert clipped == []
    assert width < 500 or cut_tables(browser) == []


@pytest.mark.parametrize("kind", KINDS)
def test_letters_of_charts_stay_on_the_drawing(
    kind: str, pages: dict[str, Path], browser: Any
) -> None:
    opened(browser, pages[kind], width=390)
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg')].flatMap(s => { const o ="
        " s.getBoundingClientRect(); return [...s.querySelectorAll('text')].filter(t => { const b ="
        " t.getBoundingClientRect(); return b.top < o.top - 1 || b.bottom > o.bottom + 1 ||"
        " b.left < o.left - 1 || b.right > o.right + 1; }).map(t => t.textContent); })"
    )
    assert outside == []


def test_dark_mode(pages: dict[str, Path], browser: Any) -> None:
    opened(browser, pages["curve"])
    assert not is_dark(browser)
    opened(browser, pages["curve"], dark=True)
    assert is_dark(browser)


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const s = document.querySelector(`select[name=${arguments[0]}]`);"
        "s.value = arguments[1]; s.dispatchEvent(new Event('change', {bubbles: true}));",
        name, value,
    )  # fmt: skip


def seen(browser: Any) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in browser.execute_script(
        "return [...document.querySelectorAll('figure')].filter(f => f.offsetParent)"
        ".map(f => [f.dataset.outcome, f.dataset.group])"
    )]  # fmt: skip


@pytest.mark.parametrize("kind", ["attack", "curve"])
def test_filters(kind: str, pages: dict[str, Path], browser: Any) -> None:
    opened(browser, pages[kind])
    everybody = seen(browser)
    for outcome in ("fooled", "kept"):
        choose(browser, "outcome", outcome)
        assert seen(browser) == [pair for pair in everybody if pair[0] == outcome] != []
        told = browser.execute_script("return document.querySelector('output').value")
        assert told == f"{len(seen(browser))} of {len(everybody)}"
    choose(browser, "outcome", "")
    group = everybody[0][1]
    choose(browser, "group", group)
    assert seen(browser) == [pair for pair in everybody if pair[1] == group]
    choose(browser, "group", "")
    assert seen(browser) == everybody


def test_the_keyboard_reaches_filters_tables_command_and_details(
    pages: dict[str, Path], browser: Any
) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["curve"])
    reached = set()
    for _ in range(30):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.switch_to.active_element.tag_name)
    assert {"select", "div", "pre", "button", "summary"} <= reached


def test_the_button_copies_the_command(pages: dict[str, Path], browser: Any) -> None:
    opened(browser, pages["curve"])
    browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    button = browser.find_element("css selector", ".command button")
    button.click()
    wait = "setTimeout(() => navigator.clipboard.readText().then(arguments[0]), 200)"
    facts = json.loads((pages["curve"].parent / "run.json").read_text())
    assert browser.execute_async_script(wait) == facts["command"]
    assert button.text == "Copied"


def test_without_scripts_all_is_shown_and_no_dead_control(
    pages: dict[str, Path], browser: Any
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, pages["attack"])
        shown = [e.is_displayed() for e in browser.find_elements("css selector", "figure")]
        assert shown == [True] * 12
        controls = browser.find_elements("css selector", "select, button")
        assert controls and not any(e.is_displayed() for e in controls)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("kind", ["attack", "curve", "robustness", "outputs"])
def test_print(kind: str, pages: dict[str, Path], browser: Any) -> None:
    opened(browser, pages[kind], dark=True)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 20_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": PAPER, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        assert not is_dark(browser)
        controls = browser.find_elements("css selector", "select, button")
        assert controls and not any(e.is_displayed() for e in controls)
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        parts = browser.find_elements("css selector", "details table")
        assert len(parts) >= 2 and all(part.is_displayed() for part in parts)
        assert cut_tables(browser) == []
        browser.execute_script("dispatchEvent(new Event('afterprint'))")
        assert browser.execute_script("return document.querySelectorAll('[open]').length") == 1
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
