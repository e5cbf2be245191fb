"""Tables for papers: their numbers, their stars, and names full of markup."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import ARMS, eight_arms, fake_run

from budbreak.reporting import write_report
from budbreak.reporting.searched import searched
from budbreak.reporting.tables import differences, means, tables
from budbreak.results import TEST_ACCURACY, between, difference_rows
from budbreak.studies.trialfile import SEARCH

EVIL = r"a_b & 50 % #1 $x$ {y} ~z^2 \end{table} <i>|</i> *b* `c` [d](e) ±" + "\n\x1b[31m"
BACKSLASHES = {"table", "centering", "caption", "label", "tabular", "toprule", "midrule", "bottomrule", "usepackage"}


def cells(table, column: int) -> list[str]:
    return [row[column] for row in table.rows]


def test_what_searches_cost_stands_in_a_row_for_each_arm_that_searched() -> None:
    run = fake_run(ARMS[:2], seeds=(0, 1), levels=2)
    costs = dict(zip((quantity.name for quantity in SEARCH), (21.0, 330.0, 4568.0, 0.9525), strict=True))
    spent = {0: costs, 1: {**costs, "search_trials": 23.0, "search_seconds": 4570.0}}
    levels = [
        replace(one, numbers={**one.numbers, **spent[one.seed]}) if (one.arm, one.level) == (ARMS[1], 1) else one
        for one in run.levels
    ]
    table = searched(replace(run, levels=tuple(levels), quantities=(*run.quantities, *SEARCH)))
    assert table.rows == ((ARMS[1], "22", "330", "1 h 16 min", "95.25 %"),)
    assert not searched(run).rows


def test_means_stand_with_their_standard_deviations() -> None:
    run = fake_run(ARMS[:2], levels=3)
    table = means(run, TEST_ACCURACY)
    assert (table.heading, table.header) == ("Test accuracy (%)", ("\u03bb", "host", "ap-lite"))
    assert cells(table, 0) == ["100.0 %", "80.0 %", "64.0 %"]
    values = [100 * row.numbers["test_accuracy"] for row in run.levels if (row.arm, row.level) == ("host", 1)]
    assert table.rows[1][1] == f"{statistics.fmean(values):.2f} \u00b1 {statistics.stdev(values):.2f}"
    assert "over 5 seeds" in table.note


def test_the_number_of_seeds_stands_where_it_differs() -> None:
    run = fake_run(ARMS[:2], levels=2)
    short = replace(run, levels=tuple(row for row in run.levels if (row.arm, row.seed) != ("host", 4)))
    table = means(short, TEST_ACCURACY)
    assert [text[-7:] for text in table.rows[1][1:]] == ["(n = 4)", "(n = 5)"]
    assert "over 4 to 5 seeds" in table.note


def test_stars_stand_only_after_the_correction_and_are_explained() -> None:
    run = eight_arms(levels=6)
    found = {
        (row.arm, row.level) for row in run.differences if row.quantity == "test_accuracy" and row.p_adjusted < 0.05
    }
    assert found
    for table in (means(run, TEST_ACCURACY), differences(run, TEST_ACCURACY)):
        assert sum(cell.endswith("*") for row in table.rows for cell in row) == len(found)
        assert (
            "*: p < 0.05 against the reference, corrected for all 20 differences of test accuracy (Holm)" in table.note
        )
    none = replace(run, differences=tuple(replace(row, p=0.001, p_adjusted=0.06) for row in run.differences))
    assert not any("*" in table.note + "".join(map("".join, table.rows)) for table in tables(none))


def test_differences_say_between_what_and_how() -> None:
    table = differences(fake_run(ARMS[:2], levels=2), TEST_ACCURACY)
    assert table.heading == "Difference in test accuracy from host (points)"
    assert table.header == ("\u03bb", "ap-lite")
    assert table.note.startswith("Means over 5 seeds, paired by seed, with 95 % intervals.")
    several = differences(eight_arms(levels=2), TEST_ACCURACY)
    assert several.header[1] == "magnitude-ap \u2212 magnitude"
    assert "n=1: no interval" in differences(fake_run(ARMS[:2], (0,), levels=2), TEST_ACCURACY).note


def test_runs_without_common_dense_trainings_are_said_to_be_unpaired() -> None:
    other = fake_run(ARMS[:1], (5, 6, 7), levels=2, name="other")
    run = between([fake_run(ARMS[:1], levels=2), other])
    table = differences(run, TEST_ACCURACY)
    assert "Means over 3 seeds, unpaired (Welch), as the dense trainings differ," in table.note
    assert cells(table, 0) == ["100.0 %", "80.0 %"]
    assert {row["test"] for row in difference_rows([run])} == {"Welch"}
    assert {row["n_reference"] for row in difference_rows([run])} == {5}


def latex(folder: Path) -> list[Path]:
    runs = [fake_run((EVIL, "b"), (0, 1, 2), levels=3, name=EVIL), fake_run(tuple("vwxyz"), (0, 1), levels=2)]
    write_report(runs, folder, formats=("tex", "md"))
    return sorted((folder / "tables").iterdir())


def test_names_full_of_markup_are_text_in_latex(tmp_path: Path) -> None:
    files = latex(tmp_path)
    assert {"1-a-b-50-1-x-y-z-2-end-table-i-i-b-c-d-e-test-accuracy"[:12], "compared-tes"} <= {
        f.name[:12] for f in files
    }
    for path in files:
        text = path.read_text(encoding="utf-8")
        commands = set(re.findall(r"\\(?:begin\{|end\{)?([A-Za-z]+)", text))
        assert commands <= BACKSLASHES | {"textbackslash", "textasciitilde", "textasciicircum", "lambda", "pm"} | {
            "textless",
            "textgreater",
            "textbar",
        }
        assert text.count(r"\begin{table}") == text.count(r"\end{table}") > 0
        labels = re.findall(r"\\label\{(.*)\}", text)
        assert len(set(labels)) == text.count(r"\label")
        assert all(re.fullmatch(r"tab:[\w-]+", label) for label in labels)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path: Path) -> None:
    body = "".join(f"\\input{{tables/{path.name}}}\\clearpage\n" for path in latex(tmp_path))
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_names_full_of_markup_are_text_in_markdown(tmp_path: Path) -> None:
    latex(tmp_path)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert r"a\_b &amp; 50 % \#1 $x$ {y} \~z^2 \\end{table} &lt;i>\|&lt;/i> \*b\* \`c\` [d\](e) ±??[31m" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    for line in rows:
        assert len(re.split(r"(?<!\\)\|", line)) > 3
    first = text.index("| \u03bb")
    header, ruler, dense = text[first:].splitlines()[:3]
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in (header, ruler, dense)}) == 1


def test_wide_tables_are_broken_to_fit_a_page(tmp_path: Path) -> None:
    write_report([eight_arms(levels=2)], tmp_path, formats=("tex",))
    text = (tmp_path / "tables" / "test-accuracy.tex").read_text(encoding="utf-8")
    widths = [len(columns) for columns in re.findall(r"\\begin\{tabular\}\{l(r+)\}", text)]
    assert sum(widths) == 8
    assert max(widths) <= 4
