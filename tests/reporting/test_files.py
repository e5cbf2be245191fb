"""The files of a report: complete, the same for the same runs, and valid."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fake_runs import ARMS, fake_run

from budbreak.errors import BudbreakError, InvalidValue
from budbreak.files import read_json
from budbreak.reporting import write_report
from budbreak.reporting.axes import Box, Scale, density_scale, density_ticks, ticks
from budbreak.reporting.canvas import Drawing, Text
from budbreak.reporting.charts import spread
from budbreak.reporting.heatmap import heat_figures
from budbreak.reporting.pdf import to_pdf
from budbreak.reporting.styles import DARK, LIGHT, rgb, style_of


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_run_gives_page_tables_and_figures(tmp_path: Path) -> None:
    page = write_report([fake_run(ARMS[:2], (0, 1), levels=3)], tmp_path)
    assert page == tmp_path / "report.html"
    assert "Interrupted" not in page.read_text(encoding="utf-8")
    names = ["accuracy", "cost", "difference", "dead-units-total", "layers-0", "layers-1"]
    names += [f"training-dead-units-{rate}" for rate in ("dynamic", "static", "total")]
    names += ["training-validation-accuracy"]
    drawn = [f"figures/{name}.{kind}" for name in names for kind in ("pdf", "svg")]
    assert files(tmp_path) == sorted(["differences.csv", *drawn, "levels.csv", "levels.json", "report.html"])
    assert len(read_json(tmp_path / "levels.json", "levels 2", dict)["rows"]) == 2 * 2 * 3


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = fake_run(ARMS[:2], (0, 1), levels=3)
    for name in ("a", "b"):
        write_report([run], tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for name in files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": 0, "complete": False},
        {"levels": 1},
        {"levels": 2, "seeds": (7,), "epochs": 0},
        {"levels": 2, "arms": ("only",)},
        {"levels": 2, "arms": tuple(f"arm {place}" for place in range(16))},
        {"levels": 2, "arms": ("alone", "alone too"), "references": {}},
        {"levels": 2, "arms": ("\x1b[31mred", "\u6811 & <b>"), "name": "../\x00..", "recipe": {}, "environment": {}},
    ],
)
def test_odd_runs_are_reported_too(tmp_path: Path, changes: dict[str, object]) -> None:
    page = write_report([fake_run(**{"seeds": (0, 1), **changes})], tmp_path)  # pyright: ignore
    for path in (tmp_path / "figures").glob("*.svg"):
        assert ET.fromstring(path.read_text(encoding="utf-8")).tag.endswith("svg")
    assert "Interrupted" in page.read_text(encoding="utf-8") or changes.get("complete", True)


def test_layers_show_the_first_number_of_each_diagnostic() -> None:
    run = fake_run(ARMS[:1], (0, 1), levels=2)
    (found,) = heat_figures(run)
    assert found.table.header == ("kept weights / total DNR", "100.0 %", "80.0 %")
    rows = {row[0]: row[2] for row in found.table.rows}
    here = [layer for level in run.levels if level.level == 1 for layer in level.layers if layer.name == "conv1.weight"]
    kept = sum(layer.kept / layer.total for layer in here) / 2
    dead = sum(layer.numbers["dead_units_total"] for layer in here) / 2
    assert rows["conv1.weight"] == f"{100 * kept:.2f} % / {100 * dead:.2f} %"
    assert rows["fc.weight"].endswith(" / \u2013")


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no run to report"):
        write_report([], tmp_path)


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    run = fake_run(ARMS[:2], (0, 1), levels=2)
    assert write_report([run], tmp_path, formats=("csv", "json")) == tmp_path
    assert files(tmp_path) == ["differences.csv", "levels.csv", "levels.json"]


@pytest.mark.parametrize(("formats", "said"), [(("htm",), "did you mean 'html'?"), ((), "a list"), ("html", "a list")])
def test_formats_that_are_not_written_are_refused(tmp_path: Path, formats: Sequence[str], said: str) -> None:
    with pytest.raises(BudbreakError) as refused:
        write_report([fake_run(levels=1)], tmp_path, formats=formats)
    assert said in str(refused.value)
    assert not files(tmp_path)


def test_names_of_runs_never_leave_the_folder(tmp_path: Path) -> None:
    write_report([fake_run(ARMS[:1], (0,), levels=1, name=name) for name in ("../../x", "")], tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    assert "figures/1-x-accuracy.svg" in files(tmp_path / "here")
    assert "figures/2-run-accuracy.svg" in files(tmp_path / "here")


def test_broken_invariants_are_named(tmp_path: Path) -> None:
    run = fake_run(ARMS[:2], (3,), levels=2)
    broken = type(run.levels[-1])(**{**vars(run.levels[-1]), "invariants": {"zeros held": False}})
    text = write_report([type(run)(**{**vars(run), "levels": (*run.levels[:-1], broken)})], tmp_path).read_text()
    assert "broken in 1 of 4: ap-lite, seed 3, level 1" in text
    assert "1 broken" in text


def test_pdf_places_of_objects_are_true() -> None:
    body = to_pdf(Drawing(100, 50, "t (1)", "\u03bb", (Text(1, 2, "a(b)\\c \u2212"),)))
    start = int(body.rsplit(b"startxref\n", 1)[1].split()[0])
    assert body[start:].startswith(b"xref\n0 8\n")
    for number, place in enumerate(re.findall(rb"(\d{10}) 00000 n", body), start=1):
        assert body[int(place) :].startswith(b"%d 0 obj" % number)
    assert rb"(a\(b\)\\c " in body
    assert b"(a\\(b\\)\\\\c \x96) Tj" in body


def test_density_runs_from_dense_on_the_left_by_equal_steps() -> None:
    scale = density_scale([1.0, 0.8, 0.64], Box(0, 0, 124, 10))
    assert [scale(value) for value in (1.0, 0.8, 0.64)] == pytest.approx([12, 62, 112])
    assert Scale(1, 1, 0, 10, log=True)(1) == 5


@pytest.mark.parametrize("sparsest", [0.9, 0.5, 0.0687, 0.012, 0.0004])
def test_density_ticks_never_collide(sparsest: float) -> None:
    scale = density_scale([1.0, sparsest], Box(0, 0, 300, 10))
    places = sorted(scale(value) for value in density_ticks(scale))
    assert all(b - a >= 34 for a, b in pairwise(places))
    assert len(places) >= 2


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.86, 0.925), (-0.004, 0.011), (0, 20), (0.5, 0.5001)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)


def test_labels_are_spread_within_their_range() -> None:
    # three wishes at 95 need 28 pixels above 96, the end of the range
    assert spread([95.0, 95.0, 95.0], 14.0, 0.0, 96.0) == [68.0, 82.0, 96.0]


def test_series_differ_in_marker_and_dash_and_read_on_their_background() -> None:
    styles = [style_of(index) for index in range(7)]
    assert len({style.marker for style in styles}) == len({style.dash for style in styles}) == 7
    assert len({(style_of(index).colour, style_of(index).marker) for index in range(24)}) == 24
    for palette in (LIGHT, DARK):
        for role in ("ink", "muted", *(f"s{index}" for index in range(5))):
            # 3 : 1 is what WCAG 2.2 asks of lines and markers, 4.5 : 1 of text
            assert contrast(palette[role], palette["paper"]) >= (3.0 if role.startswith("s") else 4.5), role


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    light = sorted(
        sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), rgb(x), strict=True)) for x in (one, other)
    )
    return (light[1] + 0.05) / (light[0] + 0.05)


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_the_wheel_carries_the_style_sheet_and_the_script() -> None:
    config = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    carried = config["tool"]["setuptools"]["package-data"]["budbreak"]
    assert {"reporting/page.css", "reporting/page.js"} <= set(carried)
