"""The page in a real browser: figures are drawn, values are read, arms are toggled, nothing is asked of the network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Browser, find_browser
from fake_runs import ARMS, eight_arms, fake_run
from selenium.webdriver.common.keys import Keys

from budbreak.diagnostics import Finding, Quantity
from budbreak.reporting import write_report
from budbreak.reporting.drawing import WIDTHS, to_svg
from budbreak.reporting.estimate import arm_series
from budbreak.reporting.figures import figures_of
from budbreak.results import LayerResult, RunResult
from budbreak.testing import sample_findings

HOSTILE = (
    "constructor",
    "<script>document.title='owned'</script>",
    '"><img src=https://example.org/x onerror=alert(1)>',
)
HOSTILE += ("a.b[c]\\'d\"`${1}`", "__proto__", "toString")


@pytest.fixture(scope="session")
def opened() -> Iterator[Browser]:
    paths = find_browser()
    if paths is None and os.environ.get("BUDBREAK_REQUIRE_BROWSER") == "1":
        pytest.fail("BUDBREAK_REQUIRE_BROWSER=1, but no chromium with its chromedriver is installed")
    if paths is None:
        pytest.skip("no chromium with its chromedriver is installed")
    browser = Browser(*paths)
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(opened: Browser) -> Iterator[Browser]:
    """After every test: no message on the console, no dialog, no request."""
    opened.worries()
    yield opened
    assert opened.worries() == []


def write(folder: Path, *runs: RunResult) -> Path:
    return write_report(runs, folder, formats=("html",))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("one"), fake_run(ARMS[:3], (0, 1, 2), levels=6))


def visible(browser: Browser, selector: str) -> int:
    return browser.js(f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length).length")


def marks(arm: int | None = None, key: str = "run0-accuracy") -> str:
    """An expression: the marks of a figure that have something to say, of an arm."""
    mine = f" && e.__data__.datum.arm === 's{arm}'" if arm is not None else ""
    return f"[...document.querySelectorAll('#{key} .plot svg *')].filter(e => e.__data__?.tooltip{mine})"


def middle(browser: Browser, mark: str) -> tuple[float, float]:
    x, y = browser.js(f"(b => [b.left + b.width / 2, b.top + b.height / 2])({mark}.getBoundingClientRect())")
    return x, y


def tip(browser: Browser) -> list[str]:
    return browser.js(
        "document.getElementById('tip').hidden ? [] : document.getElementById('tip').innerText.split('\\n')"
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_figures_are_drawn_and_fit(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    figures = browser.js("[...document.querySelectorAll('figure')].filter(f => f.offsetWidth).map(f => f.id)")
    names = ["accuracy", "difference", "measured-dead-units-total", "training-validation-accuracy", "layers-0", "cost"]
    assert figures == [f"run0-{name}" for name in names]
    for key in figures:
        browser.draw(key)
        assert browser.js(f"document.querySelector('#{key} .plot svg').getBoundingClientRect().width") <= width
    assert browser.js(f"{marks()}.length") == 3 * 6
    assert browser.js(f"{marks(key='run0-layers-0')}.length") >= 2 * 22 * 6
    assert browser.js("document.documentElement.scrollWidth") <= width


def test_no_label_is_cut_off(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    for key in ("accuracy", "difference", "measured-dead-units-total", "layers-0", "cost"):
        browser.draw(f"run0-{key}")
        beyond = f"""(() => {{
            const svg = document.querySelector('#run0-{key} .plot svg'), frame = svg.getBoundingClientRect();
            const labels = [...svg.querySelectorAll('text')].filter(text => text.textContent);
            const outside = labels.map(label => [label.textContent, label.getBoundingClientRect()]).filter(([, box]) =>
                box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1);
            return outside.map(([text]) => text);
        }})()"""
        assert browser.js(beyond) == []
        assert browser.js(f"document.querySelector('#run0-{key} .plot').innerText.includes('\u2026')") is False


def test_pointing_at_a_mean_tells_its_value(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    browser.draw("run0-accuracy")
    browser.point(*middle(browser, f"{marks(1)}.at(-1)"))
    point = arm_series(fake_run(ARMS[:3], (0, 1, 2), levels=6), "test_accuracy")[1].points[-1]
    said = tip(browser)
    assert said[:3] == ["ap-lite", "\u03bb = 32.8 %", f"test accuracy {100 * point.estimate.mean:.2f} %"]
    assert said[3].startswith("95 % interval")
    assert said[4:] == []
    browser.point(2, 2)
    assert tip(browser) == []


def test_tapping_a_tile_tells_the_layer_and_its_share(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    browser.draw("run0-layers-0")
    browser.point(*middle(browser, f"{marks(key='run0-layers-0')}[0]"), click=True)
    assert tip(browser) == ["conv1.weight", "\u03bb 100.0 %", "kept weights (%) 100"]


def test_pointing_at_an_epoch_tells_all_arms_that_are_shown(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    key = "run0-training-validation-accuracy"
    browser.draw(key)
    browser.point(*middle(browser, f"{marks(key=key)}[3]"))
    assert [line.rpartition(" ")[0] for line in tip(browser)] == ["\u03bb 100.0", "epoch", "host", "ap-lite", "ap-pro"]
    browser.js(f"document.querySelector('#{key} [data-arm=s0]').click()")
    browser.wait(f"{marks(key=key)}.length")
    browser.point(*middle(browser, f"{marks(key=key)}[3]"))
    assert [line.rpartition(" ")[0] for line in tip(browser)] == ["\u03bb 100.0", "epoch", "ap-lite", "ap-pro"]


def test_arrow_keys_walk_through_the_values(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    browser.draw("run0-accuracy")
    label = browser.js("document.querySelector('#run0-accuracy .plot svg').ariaLabel")
    assert label.startswith("Test accuracy against density. host: ")
    browser.js("document.querySelector('#run0-accuracy summary').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.SHIFT + Keys.TAB)
    browser.keys(Keys.ARROW_RIGHT)
    assert tip(browser)[:2] == ["host", "\u03bb = 100.0 %"]
    browser.keys(Keys.ARROW_RIGHT)
    assert tip(browser)[:2] == ["host", "\u03bb = 80.0 %"]
    browser.keys(Keys.ESCAPE)
    assert tip(browser) == []


def test_an_arm_is_toggled_in_all_figures_of_its_run_by_mouse_and_key(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    for key in ("run0-difference", "run0-accuracy"):
        browser.draw(key)
    of = [marks(1), marks(1, "run0-difference")]
    before = [browser.js(f"{one}.length") for one in of]
    assert before == [6, 5]
    button = "document.querySelector('#run0-accuracy [data-arm=s1]')"
    browser.point(*middle(browser, button), click=True)
    browser.wait(f"{of[0]}.length + {of[1]}.length === 0")
    assert browser.js(f"{marks(2)}.length") == 6
    pressed = "[...document.querySelectorAll('[data-arm=s1]')].map(b => b.ariaPressed)"
    assert set(browser.js(pressed)) == {"false"}
    browser.draw("run0-measured-dead-units-total")
    assert browser.js(f"{marks(1, 'run0-measured-dead-units-total')}.length") == 0
    browser.js(f"{button}.focus()")
    browser.keys(Keys.SPACE)
    browser.wait(f"{of[0]}.length === 6 && {of[1]}.length === 5")


def test_panels_are_chosen_by_buttons_and_all_printed(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, 1280)
    assert visible(browser, "#run0-training-dead-units-static") == 0
    browser.js("[...document.querySelectorAll('.choices button')].find(b => b.textContent === 'static DNR').click()")
    browser.draw("run0-training-dead-units-static")
    assert visible(browser, "#run0-training-dead-units-dynamic") == 0
    browser.pdf(tmp_path / "page.pdf")
    browser.wait("[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('svg'))")
    browser.js("dispatchEvent(new Event('beforeprint'))")
    static = "document.querySelector('#run0-training-dead-units-static .plot svg')"
    browser.wait(f"{static}.viewBox.baseVal.width < 700")  # narrower than on the screen: text of 7 points on A4
    browser.cdp("Emulation.setEmulatedMedia", media="print")
    assert visible(browser, "[id^=run0-training] .plot svg") == 4
    assert visible(browser, "[id^=run0-layers] .plot svg") == 3


def test_dark_screens_get_a_dark_page(browser: Browser, page: Path) -> None:
    colours: list[str] = []
    for dark in (False, True):
        browser.open(page, 1280, dark=dark)
        browser.draw("run0-accuracy")
        colours.append(browser.js("getComputedStyle(document.body).backgroundColor"))
        colours.append(browser.js(f"getComputedStyle({marks(1)}[0]).fill"))
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 114, 178)", "rgb(22, 25, 29)", "rgb(86, 180, 233)"]


def test_without_scripts_the_tables_remain(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, script=False)
    text = browser.driver.find_element("tag name", "body").text
    assert "Without JavaScript no figure is drawn" in text
    assert len(browser.driver.find_elements("css selector", "figure details table")) == 3 + 4 + 3 + 1
    browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_several_runs_share_a_plot_and_a_selector(browser: Browser, tmp_path: Path) -> None:
    runs = [fake_run(ARMS[:2], (0,), levels=3, name=name) for name in ("first", "second", "second")]
    browser.open(write(tmp_path, *runs), 1280)
    browser.draw("all-compared-accuracy")
    assert browser.js(f"{marks(key='all-compared-accuracy')}.length") == 3 * 2 * 3
    assert browser.js("document.querySelector('.choices.runs').innerText.split('\\n').length") == 3
    assert [visible(browser, f"#run{place}-accuracy") for place in range(3)] == [1, 0, 0]
    browser.js("document.querySelector('.choices.runs button:nth-child(2)').click()")
    assert [visible(browser, f"#run{place}-accuracy") for place in range(3)] == [0, 1, 0]
    browser.draw("run1-accuracy")


def test_eight_arms_and_two_diagnostics_fit(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, eight_arms((0, 1, 2), levels=3))
    for width in (390, 1280):
        browser.open(page, width)
        assert browser.js("document.documentElement.scrollWidth") <= width
    assert visible(browser, ".arms tbody tr") == 8
    texts = browser.js("[...document.querySelectorAll('.arms tbody tr')].map(r => r.cells[2].innerText)")
    assert texts == ["\u2013", "magnitude", "\u2013", "taylor", "\u2013", "gradient", "\u2013", "random"]
    browser.draw("run0-measured-gradient-norm")
    browser.draw("run0-difference")
    assert browser.js(f"{marks(0, 'run0-difference')}.length") == 0
    assert browser.js(f"{marks(1, 'run0-difference')}.length") == 2


def hostile(run: RunResult) -> RunResult:
    """The run with such names of layers, of a quantity and in findings."""

    def renamed(finding: Finding) -> Finding:
        texts = dict.fromkeys(v for column in finding.columns.values() for v in column if isinstance(v, str))
        names = {text: f"{HOSTILE[place % 6]}{place // 6 or ''}" for place, text in enumerate(texts)}
        columns = {name: tuple(names.get(v, v) for v in column) for name, column in finding.columns.items()}
        return replace(finding, label="constructor", columns=columns)

    def layer(place: int, found: LayerResult) -> LayerResult:
        return replace(found, name=f"{HOSTILE[place % 6]}{place // 6 or ''}", numbers={"constructor": 0.5})

    levels = tuple(
        replace(row, numbers={**row.numbers, "constructor": 0.5}, layers=tuple(map(layer, range(22), row.layers)))
        for row in run.levels
    )
    quantities = (*run.quantities, Quantity("constructor", "constructor"))
    findings = tuple(map(renamed, sample_findings()))
    return replace(run, levels=levels, quantities=quantities, findings=findings)


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    run = fake_run(HOSTILE, (0, 1), levels=2, name="</title><script>alert(2)</script>", recipe={HOSTILE[1]: HOSTILE[2]})
    page = write(tmp_path, hostile(run))
    browser.open(page, 1280)
    assert browser.js("document.title") == "</title><script>alert(2)</script>"
    assert browser.js("document.scripts.length") == 3
    assert browser.js("document.images.length") == 0
    for key in browser.js("[...document.querySelectorAll('figure')].filter(f => f.offsetWidth).map(f => f.id)"):
        browser.draw(key)
        assert browser.js(f"{marks(key=key)}.length"), key
    browser.draw("run0-accuracy")
    for arm, name in enumerate(HOSTILE):
        browser.point(*middle(browser, f"{marks(arm)}.at(-1)"))
        assert tip(browser)[0] in HOSTILE
        button = f"document.querySelector('#run0-accuracy [data-arm=s{arm}]')"
        assert browser.js(f"{button}.innerText") == name
        browser.js(f"{button}.click()")
        browser.wait(f"{marks(arm)}.length === 0")


def test_hostile_names_are_drawn_on_paper(capfd: pytest.CaptureFixture[str]) -> None:
    quantity = Quantity("constructor", "constructor")
    run = fake_run(HOSTILE, (0, 1), levels=2)
    levels = tuple(replace(row, numbers={"constructor": 0.1 * row.level}, layers=()) for row in run.levels)
    for figure in figures_of(replace(run, levels=levels, quantities=(quantity,), differences=())):
        assert to_svg(figure, WIDTHS["1col"]).count("<path") > 10
    assert capfd.readouterr().err == ""


def test_only_the_scripts_of_the_page_may_run(browser: Browser, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"('sha256-[\w+/=]{44}' ?){2}", rules["script-src"].strip())
    browser.open(page, 1280)
    injected = "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    browser.js(f"({injected}, window.ran ?? 'refused')")
    assert browser.js("window.ran ?? 'refused'") == "refused"
    assert "Content Security Policy" in browser.worries()[0]


def test_a_large_run_is_small_and_opens_soon(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, fake_run(tuple(f"arm {place}" for place in range(10)), levels=17))
    assert page.stat().st_size < 3e6
    before = processor_time(browser)
    browser.open(page, 1440)
    assert processor_time(browser) - before < 2  # seconds, whatever else the machine does


def processor_time(browser: Browser) -> float:
    browser.cdp("Performance.enable")
    metrics = browser.cdp("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "ProcessTime")
