"""The files of a report: complete, the same for the same runs, and valid."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import ARMS, fake_run

from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.files import read_json
from budbreak.reporting import theme, write_report, writing
from budbreak.reporting.drawing import WIDTHS, specification, to_svg
from budbreak.reporting.figures import Figure, figures_of
from budbreak.reporting.figures.layers import layers
from budbreak.reporting.figures.pareto import front, names
from budbreak.reporting.figures.search import search
from budbreak.reporting.tables import MISSING
from budbreak.results import RunResult
from budbreak.testing import sample_findings

EVERYTHING = ("html", "svg", "csv", "json")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def one_of_each(run: RunResult) -> list[Figure]:
    """The figures of a run, of those to choose from the first."""
    found = {figure.panel or figure.key: figure for figure in reversed(figures_of(run))}
    return list(found.values())


def test_one_run_gives_page_tables_and_figures(tmp_path: Path) -> None:
    page = write_report([fake_run(ARMS[:2], (0, 1), levels=3)], tmp_path, formats=EVERYTHING)
    assert page == tmp_path / "report.html"
    assert "Interrupted" not in page.read_text(encoding="utf-8")
    names = ["accuracy", "cost", "difference", "measured-dead-units-total", "layers-0", "layers-1"]
    names += [f"training-dead-units-{rate}" for rate in ("dynamic", "static", "total")]
    names += ["training-validation-accuracy"]
    drawn = [f"figures/{name}-{width}.svg" for name in names for width in ("1col", "2col")]
    assert files(tmp_path) == sorted(["differences.csv", *drawn, "levels.csv", "levels.json", "report.html"])
    assert len(read_json(tmp_path / "levels.json", "levels 2", dict)["rows"]) == 2 * 2 * 3


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = fake_run(ARMS[:1], (0, 1), levels=2)
    for name in ("a", "b"):
        write_report(
            [run], tmp_path / name, formats=(*EVERYTHING, "png")
        )  # vl-convert orders the resources of a PDF at random
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
    run = fake_run(**{"seeds": (0, 1), **changes})  # pyright: ignore
    page = write_report([run], tmp_path, formats=("html",))
    for figure in one_of_each(run):
        assert ET.fromstring(to_svg(figure, WIDTHS["1col"])).tag.endswith("svg")
    assert "Interrupted" in page.read_text(encoding="utf-8") or changes.get("complete", True)


def test_layers_show_the_first_number_of_each_diagnostic() -> None:
    run = fake_run(ARMS[:1], (0, 1), levels=2)
    (found,) = layers(run)
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
    write_report(
        [fake_run(ARMS[:1], (0,), levels=1, name=name) for name in ("../../x", "")], tmp_path / "here", formats=("svg",)
    )
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    assert "figures/1-x-accuracy-1col.svg" in files(tmp_path / "here")
    assert "figures/2-run-accuracy-1col.svg" in files(tmp_path / "here")


def test_broken_invariants_are_named(tmp_path: Path) -> None:
    run = fake_run(ARMS[:2], (3,), levels=2)
    broken = type(run.levels[-1])(**{**vars(run.levels[-1]), "invariants": {"zeros held": False}})
    text = write_report([type(run)(**{**vars(run), "levels": (*run.levels[:-1], broken)})], tmp_path).read_text()
    assert "broken in 1 of 4: ap-lite, seed 3, level 1" in text
    assert "1 broken" in text


@pytest.mark.skipif(shutil.which("pdffonts") is None, reason="pdffonts is not installed")
def test_pdfs_have_the_width_of_columns_and_embedded_fonts(tmp_path: Path) -> None:
    write_report([fake_run(ARMS[:1], (0, 1), levels=2)], tmp_path, formats=("pdf",))
    for path in (tmp_path / "figures").iterdir():
        fonts = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
        assert fonts
        assert all(re.search(r" yes yes yes +\d+ +0$", line) for line in fonts), fonts
        said = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
        width = float(re.findall(r"Page size: +([\d.]+) x", said)[0])
        assert width == pytest.approx(252 if "1col" in path.name else 515.5, abs=0.6)


@pytest.mark.parametrize("arms", [ARMS, tuple(f"a rather long name {place}" for place in range(8))])
def test_text_in_figures_is_legible_on_paper(arms: tuple[str, ...]) -> None:
    for figure in one_of_each(fake_run(arms, (0, 1), levels=13)):
        for width in WIDTHS.values():
            svg = to_svg(figure, width)
            scale = width / float(re.findall(r'viewBox="0 0 ([\d.]+) ', svg)[0])
            sizes = {float(size) * scale for size in re.findall(r'font-size="([\d.]+)px"', svg)}
            assert min(sizes) >= 7, (figure.key, width)


def test_pngs_have_two_pixels_a_point(tmp_path: Path) -> None:
    write_report([fake_run(ARMS[:1], (0,), levels=2)], tmp_path, formats=("png",))
    head = (tmp_path / "figures" / "accuracy-1col.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert int.from_bytes(head[16:20], "big") == 2 * 252


def test_nothing_is_drawn_where_nothing_was_measured() -> None:
    assert figures_of(fake_run(levels=0, complete=False)) == []
    run = fake_run(ARMS[:2], (0, 1), levels=2)
    bare = replace(
        run, levels=tuple(replace(row, curve=(), layers=(), numbers={}) for row in run.levels), differences=()
    )
    assert [figure.key for figure in figures_of(bare)] == ["cost"]


def test_intervals_of_a_rate_stay_between_nothing_and_everything() -> None:
    run = fake_run(ARMS[:1], (0, 1), levels=1)
    rows = tuple(replace(row, numbers={"test_accuracy": 0.5 + 0.49 * (-1) ** row.seed}) for row in run.levels)
    (figure,) = [figure for figure in figures_of(replace(run, levels=rows)) if figure.key == "accuracy"]
    (row,) = figure.data["accuracy"]
    assert (row["low"], row["high"]) == (0, 100)
    assert "95 % interval 0.00 % to 100.00 %, 2 seeds" in row["tip"]
    assert figure.table.rows == (("100.0 %", "50.00 % [0.00, 100.00]"),)


def test_without_the_extra_a_report_is_tables_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    run = fake_run(ARMS[:2], (0, 1), levels=2)
    assert write_report([run], tmp_path) == tmp_path
    assert files(tmp_path) == ["differences.csv", "levels.csv", "levels.json"]
    with pytest.raises(InvalidValue, match=r"pip install 'budbreak\[report\]'"):
        write_report([run], tmp_path, formats=("pdf",))


def test_the_room_does_not_load_what_draws() -> None:
    code = "import budbreak.reporting, sys; print({'altair', 'vl_convert', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_series_differ_in_marker_and_dash_and_read_on_their_background() -> None:
    assert len({theme.marker(index) for index in range(7)}) == len({theme.dash(index) for index in range(7)}) == 7
    assert len({(theme.colour(index), theme.marker(index)) for index in range(24)}) == 24
    for palette in (theme.LIGHT, theme.DARK):
        for role in ("ink", "muted", *(f"s{index}" for index in range(5))):
            # 3 : 1 is what WCAG 2.2 asks of lines and markers, 4.5 : 1 of text
            assert contrast(palette[role], palette["paper"]) >= (3.0 if role.startswith("s") else 4.5), role


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    light = sorted(
        sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), rgb(x), strict=True)) for x in (one, other)
    )
    return (light[1] + 0.05) / (light[0] + 0.05)


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_the_wheel_carries_the_style_sheet_and_the_script() -> None:
    config = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    carried = config["tool"]["setuptools"]["package-data"]["budbreak"]
    assert "reporting/templates/*" in carried


def test_every_kind_of_finding_is_drawn_on_paper_from_its_sample() -> None:
    run = replace(fake_run(ARMS[:2], (0, 1), levels=2), findings=sample_findings())
    drawn = [figure for figure in figures_of(run) if figure.key.endswith("-0") and figure.panel == ""]
    kinds = ["search", "activations", "operators", "spectra", "ratios", "masks", "events", "pareto", "hosts"]
    assert [figure.key for figure in drawn] == [f"{kind}-0" for kind in kinds]
    for figure in drawn:
        assert len(re.findall("<(path|text|line)", to_svg(figure, WIDTHS["1col"]))) > 20
        assert len(figure.table.rows) == len(figure.data[figure.key])


def test_a_search_shows_the_best_so_far() -> None:
    quantity = Quantity("loss", "loss", "nats", "lower")
    found = Finding("search", "s", quantity, {"arm": ("a",) * 4, "trial": (0, 1, 2, 3), "value": (3.0, 1.0, 2.0, 0.5)})
    (figure,) = search(replace(fake_run(levels=0), findings=(found,)))
    spec = specification(figure, 500)
    (window,) = [step for step in spec["layer"][0]["transform"] if "window" in step]
    assert window["window"] == [{"op": "min", "field": "value", "as": "best"}]
    assert window["frame"] == [None, 0]


def test_the_table_of_a_finding_has_shares_in_percent_as_its_heading_says() -> None:
    found = Finding(
        "search", "s", Quantity("accuracy", "accuracy", "share"), {"trial": (0, 1), "value": (0.93421, None)}
    )
    (figure,) = search(replace(fake_run(levels=0), findings=(found,)))
    assert figure.table.header == ("trial", "accuracy (%)")
    assert figure.table.rows == (("0", "93.421"), ("1", MISSING))


def test_a_front_is_what_no_other_beats() -> None:
    rows = [{"latency": 1.0, "size": 1.0, "value": 0.5}, {"latency": 2.0, "size": 1.0, "value": 0.5}]
    rows += [{"latency": 2.0, "size": 2.0, "value": 0.6}, {"latency": 1.0, "size": 1.0, "value": 0.5}]
    assert front(rows) == [rows[0], rows[2], rows[3]]
    assert front(rows, higher=False) == [rows[0], rows[3]]


def test_names_in_a_front_never_overlap() -> None:
    crowd = [{"name": f"a network {place}", "x": 100 + 4 * place, "y": 100 + 3 * place} for place in range(9)]
    alone = {"name": "alone", "x": 300, "y": 20}
    placed = names([*crowd, alone], [*crowd, alone], (400, 250))
    assert 2 <= len(placed) < 10
    assert "alone" in {name for name, *_ in placed}
    dots = [(dot["x"] - 9, dot["y"] - 9, dot["x"] + 9, dot["y"] + 9) for dot in (*crowd, alone)]
    boxes = [box for _, box, _ in placed]
    for place, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in [*dots, *boxes[:place]])
        assert 0 <= box[0] < box[2] <= 400
    assert names([{"name": "x" * 99, "x": 9, "y": 9}], [{"name": "x" * 99, "x": 9, "y": 9}], (200, 200)) == []


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes share more than an edge, by the size of what they share."""
    sizes = [min(one[2 + side], other[2 + side]) - max(one[side], other[side]) for side in (0, 1)]
    return min(sizes) > 0


def test_columns_of_a_finding_are_as_long_as_each_other() -> None:
    with pytest.raises(InvalidValue, match="fill gaps with None"):
        Finding("search", "s", Quantity("a", "a"), {"trial": (1,), "value": ()})
