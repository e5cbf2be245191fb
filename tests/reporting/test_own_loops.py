"""The report of an own loop: the same as of a recipe's run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.cli import main
from budbreak.iteration import LevelRecord
from budbreak.reporting import conclusion
from budbreak.results import run_of_histories


def history(seed: int, accuracy: float, *, store: Path | None = None) -> tuple[LevelRecord, ...]:
    torch.manual_seed(seed)
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(criterion=bb.criteria.Magnitude(), schedule=bb.schedules.Geometric(0.5, 2))
    with bb.iterate(model, optimizer, plan, seed=seed, store=store) as levels:
        for level in levels:
            for _ in level.epochs(1):
                optimizer.zero_grad()
                model(torch.ones(2, 6)).square().sum().backward()
                optimizer.step()
            level.record(
                accuracy=0.9 + seed / 99 + (accuracy * (1 + seed / 9) - level.number / 20) * (level.number > 0)
            )
    return levels.history


def test_an_own_loop_has_the_whole_report_twice_in_one_process(tmp_path: Path) -> None:
    histories = {"host": [history(seed, 0) for seed in range(3)], "new": [history(seed, 0.01) for seed in range(3)]}
    for folder in ("a", "b"):
        page = bb.report(histories, tmp_path / folder, name="two <plans>", formats=("html", "csv", "json", "md", "tex"))
        assert page == tmp_path / folder / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "two &lt;plans&gt;" in text
    assert "<plans>" not in text
    names = {path.name for path in page.parent.iterdir()} - {"figures"}
    assert names == {"report.html", "levels.csv", "levels.json", "differences.csv", "tables.md", "tables"}
    assert (page.parent / "tables" / "accuracy-difference.tex").exists()


def test_its_words_are_those_of_any_run() -> None:
    histories = {"host": [history(seed, 0) for seed in range(3)], "new": [history(seed, 0.01) for seed in range(3)]}
    lines = conclusion(run_of_histories(histories, name="mine")).splitlines()
    assert lines[0] == "mine, 2 prunings, 3 seeds."
    assert "Pruning alone changed the accuracy" in lines[1]
    assert "new against host was more accurate at 2 of 2 densities" in lines[2]
    assert "total" not in lines[2]
    assert "paired by seed" in lines[3]


def test_one_history_is_enough(tmp_path: Path) -> None:
    assert bb.report(history(0, 0), str(tmp_path), formats=["md"]) == tmp_path
    assert "| 25.0 % | 80.00 |" in (tmp_path / "tables.md").read_text(encoding="utf-8")


def test_stores_are_reported_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        history(seed, 0, store=tmp_path / "stores" / "host" / str(seed))
    assert main(["report", str(tmp_path / "stores"), "--to", str(tmp_path / "to"), "--format", "csv"]) == 0
    assert "host" in capsys.readouterr().out
    assert "stores" in (tmp_path / "to" / "levels.csv").read_text(encoding="utf-8")


def test_the_command_knows_formats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    history(0, 0, store=tmp_path / "store")
    assert main(["report", str(tmp_path / "store"), "--format", "htm"]) == 1
    assert "did you mean 'html'?" in capsys.readouterr().err
