"""The page in a real browser: figures are drawn, values are read, arms are toggled, nothing is asked of the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from fake_runs import ARMS, eight_arms, fake_run

from budbreak.reporting import write_report
from budbreak.reporting.estimate import arm_series

HOSTILE = ("host", "<script>document.title='owned'</script>", '"><img src=https://example.org/x onerror=alert(1)>')
WORRIES = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None and os.environ.get("BUDBREAK_REQUIRE_BROWSER") == "1":
        pytest.fail("BUDBREAK_REQUIRE_BROWSER=1, but no chromium is installed")
    if path is None:
        pytest.skip("no chromium is installed")
    with Browser(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([fake_run(ARMS[:3], (0, 1, 2), levels=6)], tmp_path_factory.mktemp("one"))


def centre(browser: Browser, selector: str, last: bool = False) -> tuple[float, float]:
    """Where an element is, once it is scrolled into view."""
    box = f"""(() => {{
        let found = document.querySelector({selector!r});
        found.scrollIntoView({{block: "center", behavior: "instant"}});
        if ({str(last).lower()}) found = found.lastElementChild;
        const box = found.getBoundingClientRect();
        return [box.left + box.width / 2, box.top + box.height / 2];
    }})()"""
    # Two frames let the scrolling happen before the mouse moves.
    browser("Runtime.evaluate", expression=box)
    browser(
        "Runtime.evaluate",
        expression="new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))",
        awaitPromise=True,
    )
    x, y = browser.js(box)
    return x, y


def visible(browser: Browser, selector: str) -> int:
    return browser.js(f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length).length")


def tip(browser: Browser) -> str | None:
    return browser.js("document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent")


def requests(browser: Browser) -> list[str]:
    urls = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("file:", "data:"))]


def worries(browser: Browser) -> list[object]:
    return [event["params"] for event in browser.events if event.get("method") in WORRIES]


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no message on the console, no dialog, no request."""
    yield
    opened = request.getfixturevalue("browser")
    assert worries(opened) == []
    assert requests(opened) == []


@pytest.mark.parametrize(("width", "kind"), [(1280, "wide"), (390, "narrow")])
def test_figures_are_drawn_and_fit(browser: Browser, page: Path, width: int, kind: str) -> None:
    browser.open(page, width, 900)
    other = {"wide": "narrow", "narrow": "wide"}[kind]
    # accuracy, difference, DNR, one of four quantities over training, one of three arms' layers, cost
    assert visible(browser, f".{kind} > svg") == 6
    assert visible(browser, f".{other} > svg") == 0
    assert visible(browser, f"#run0-accuracy .{kind} .tip") == 3 * 6
    assert visible(browser, f"#run0-layers-0 .{kind} .tip") == 2 * 22 * 6
    assert browser.js("document.documentElement.scrollWidth") <= width


def test_pointing_at_a_mean_tells_its_value(browser: Browser, page: Path) -> None:
    run = fake_run(ARMS[:3], (0, 1, 2), levels=6)
    browser.open(page, 1280, 900)
    browser.move(*centre(browser, '#run0-accuracy .wide [data-series="1"] .tip:last-of-type', last=True))
    point = arm_series(run, "test_accuracy")[1].points[-1]
    said = (tip(browser) or "").split("\n")
    assert said[:3] == ["ap-lite", "\u03bb = 32.8 %", f"test accuracy {100 * point.estimate.mean:.2f} %"]
    assert said[3].startswith("95 % interval")
    assert said[4:] == []
    browser.move(2, 2)
    assert tip(browser) is None


def test_tapping_a_tile_tells_kept_and_dead(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 900)
    browser.click(*centre(browser, "#run0-layers-0 .wide .tip"))
    assert (tip(browser) or "").split("\n") == [
        "conv1.weight",
        "host, \u03bb = 100.0 %",
        "kept weights 100.00 %",
    ]


def test_arrow_keys_walk_through_the_values(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 900)
    browser.js("document.querySelector('#run0-accuracy .wide > svg').focus()")
    browser.key("ArrowRight")
    assert (tip(browser) or "").startswith("host\n\u03bb = 100.0 %")
    browser.key("ArrowRight")
    assert (tip(browser) or "").startswith("host\n\u03bb = 80.0 %")
    browser.key("Escape")
    assert tip(browser) is None


def test_an_arm_is_toggled_in_all_figures_of_its_run(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 900)
    button = '#run0-accuracy [data-toggle="1"]'
    before = visible(browser, '.wide [data-series="1"]')
    assert before >= 4
    browser.click(*centre(browser, button))
    assert visible(browser, '.wide [data-series="1"]') == 0
    assert visible(browser, '.wide [data-series="2"]') > 0
    assert browser.js(
        "[...document.querySelectorAll('[data-toggle=\"1\"]')].map(b => b.ariaPressed).join()"
    ) == ",".join(["false"] * browser.js("document.querySelectorAll('[data-toggle=\"1\"]').length"))
    browser.click(*centre(browser, button))
    assert visible(browser, '.wide [data-series="1"]') == before


def test_panels_are_chosen_by_buttons_and_all_printed(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 900)
    assert visible(browser, "#run0-training-dead-units-static") == 0
    browser.js("[...document.querySelectorAll('.choices button')].find(b => b.textContent === 'static DNR').click()")
    assert visible(browser, "#run0-training-dead-units-static") == 1
    assert visible(browser, "#run0-training-dead-units-dynamic") == 0
    browser("Emulation.setEmulatedMedia", media="print")
    assert visible(browser, "[id^=run0-training]") == 4
    assert visible(browser, "[id^=run0-layers]") == 3
    browser("Emulation.setEmulatedMedia", media="")


def test_dark_screens_get_a_dark_page(browser: Browser, page: Path) -> None:
    colours: list[str] = []
    for dark in (False, True):
        browser.open(page, 1280, 900, dark=dark)
        colours.append(browser.js("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 25, 29)"]


def test_several_runs_share_a_plot_and_a_selector(browser: Browser, tmp_path: Path) -> None:
    runs = [fake_run(ARMS[:2], (0,), levels=3, name=name) for name in ("first", "second", "second")]
    browser.open(write_report(runs, tmp_path), 1280, 900)
    assert visible(browser, "#all-compared .wide [data-series]") == 2 * 6
    assert browser.js("document.querySelector('.choices.runs').innerText.split('\\n').length") == 3
    assert [visible(browser, f"#run{place}-accuracy") for place in range(3)] == [1, 0, 0]
    browser.click(*centre(browser, ".choices.runs button:nth-child(2)"))
    assert [visible(browser, f"#run{place}-accuracy") for place in range(3)] == [0, 1, 0]


def test_eight_arms_and_two_diagnostics_fit(browser: Browser, tmp_path: Path) -> None:
    page = write_report([eight_arms((0, 1, 2), levels=3)], tmp_path)
    for width in (1280, 390):
        browser.open(page, width, 900)
        assert browser.js("document.documentElement.scrollWidth") <= width
    browser.open(page, 1280, 900)
    assert visible(browser, ".arms tbody tr") == 8
    texts = browser.js("[...document.querySelectorAll('.arms tbody tr')].map(r => r.cells[3].innerText)")
    assert texts == ["\u2013", "magnitude", "\u2013", "taylor", "\u2013", "gradient", "\u2013", "random"]
    assert visible(browser, "#run0-gradient-norm .wide > svg") == 1
    assert visible(browser, '#run0-difference .wide [data-series="0"]') == 0
    assert visible(browser, '#run0-difference .wide [data-series="1"]') == 1


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    run = fake_run(HOSTILE, (0, 1), levels=2, name="</title><script>alert(2)</script>", recipe={HOSTILE[1]: HOSTILE[2]})
    browser.open(write_report([run], tmp_path), 1280, 900)
    assert browser.js("document.title") == "</title><script>alert(2)</script>"
    assert browser.js("document.scripts.length") == 1
    assert browser.js("document.images.length") == 0
    browser.move(*centre(browser, '#run0-accuracy .wide [data-series="1"] .tip', last=True))
    assert (tip(browser) or "").split("\n")[0] == HOSTILE[1]
