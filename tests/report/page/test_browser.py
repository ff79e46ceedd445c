"""The page in a real browser, without a network: at two widths, in both themes, on paper, and by keyboard."""

import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard.evaluation.audit.result import Audit
from edgeguard.report.page.page import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
A4_WITHIN_MARGINS = 703
"""CSS pixels of 186 mm."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("EDGEGUARD_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on the path, and EDGEGUARD_CHROMIUM names none")
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(audit, path)
    return path


class Visit:
    """A page that has been opened, and everything that it complained of or asked for."""

    def __init__(self, browser: Any, report: Path, *, width: int, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(report.as_uri())

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture(scope="module", params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=str)
def visit(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Visit]:
    width, scheme = request.param
    opened = Visit(browser, report, width=width, scheme=scheme)
    yield opened
    opened.context.close()


def test_it_opens_without_a_word_and_asks_for_itself_alone(visit: Visit, report: Path) -> None:
    assert visit.complaints == []
    assert visit.asked == [report.as_uri()]


def test_it_does_not_overflow_folded_or_unfolded(visit: Visit) -> None:
    assert visit.overflow() <= 0
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert visit.overflow() <= 0


def test_no_word_of_a_chart_leaves_its_figure(visit: Visit) -> None:
    outside = visit.page.evaluate(
        """() => [...document.querySelectorAll('figure:not(.wide) svg.chart text')].filter(text => {
            const [inner, outer] = [text, text.closest('figure')].map(node => node.getBoundingClientRect());
            return inner.width && (inner.left < outer.left || inner.right > outer.right || inner.bottom > outer.bottom);
        }).map(text => text.textContent)"""
    )
    assert outside == []


def test_it_is_in_the_theme_that_was_asked_for(visit: Visit, request: pytest.FixtureRequest) -> None:
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in background.strip("rgb()").split(","))
    dark = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (lightness < 3 * 64) == dark


def test_a_screenshot_shows_something(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    visit.page.screenshot(path=path)
    assert len({bytes(pixel) for pixel in pixels(path.read_bytes())}) > 50


def pixels(png: bytes) -> Iterator[memoryview]:
    """Some of the filtered scanlines' pixels: enough to tell a picture from a blank."""
    at, data = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw = memoryview(zlib.decompress(data))
    return (raw[place : place + 3] for place in range(0, len(raw) - 3, 97))


def test_the_keyboard_reaches_and_opens_what_is_folded(browser: Any, report: Path) -> None:
    opened = Visit(browser, report, width=1280)
    seen = []
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        seen.append(opened.page.evaluate("document.activeElement.tagName"))
        if seen[-1] == "SUMMARY":
            break
    assert seen[0] == "A" and seen[-1] == "SUMMARY"
    assert opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.parentElement.open")
    opened.context.close()


def test_the_skip_link_leads_to_the_figures(browser: Any, report: Path) -> None:
    opened = Visit(browser, report, width=1280)
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "main"
    opened.context.close()


def test_paper_is_light_unfolded_and_wide_enough(browser: Any, report: Path) -> None:
    """As wide as A4 within its margins, asked for from a dark screen."""
    opened = Visit(browser, report, width=A4_WITHIN_MARGINS, scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.overflow() <= 0
    ink = opened.page.evaluate("getComputedStyle(document.body).color").strip("rgb()").split(",")
    assert sum(int(part) for part in ink) < 3 * 64
    folded = "[...document.querySelectorAll('details')].filter(d => !d.lastElementChild.getBoundingClientRect().height)"
    assert opened.page.evaluate(f"{folded}.length") == 0
    assert opened.page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    opened.context.close()


@pytest.mark.parametrize("width", [1280, A4_WITHIN_MARGINS])
def test_a_strip_is_true_to_scale(browser: Any, report: Path, width: int) -> None:
    """Five seconds at 25 mm/s, at 96 pixels an inch."""
    opened = Visit(browser, report, width=width)
    if width == A4_WITHIN_MARGINS:
        opened.page.emulate_media(media="print")
    shown = opened.page.evaluate("document.querySelector('.panel').getBoundingClientRect().width")
    assert shown == pytest.approx(125 / 25.4 * 96, abs=0.05)
    opened.context.close()
