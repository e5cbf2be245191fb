"""Wrong command lines, as people type them: what was typed, where the choices are listed, what was meant."""

from pathlib import Path

import pytest
from small_commands import DIGITS

from budbreak.cli import main


@pytest.mark.parametrize(
    ("line", "said", "fix"),
    [
        (["run", DIGITS, "--seed", "3"], "--seed 3: not understood", "did you mean '--seeds'?"),
        (["run", DIGITS, "--arm", "host"], "--arm host: not understood", "did you mean '--arms'?"),
        (["run", DIGITS, "--runs-dir", "x"], "--runs-dir x: not understood", "write --out DIR"),
        (["run", DIGITS, "--epochs", "3"], "--epochs 3: not understood", "write --set train.epochs=..."),
        (["run", DIGITS, "--epoch=3"], "--epoch=3: not understood", "write --set train.epochs=..."),
        (["run", DIGITS, "--levels", "5"], "--levels 5: not understood", "write --set prune.schedule.levels=..."),
        (["run", DIGITS, "--criterion", "taylor"], "not understood", "write --set prune.criterion=..."),
        (["run", DIGITS, "--batch-size", "5"], "not understood", "write --set train.batch_size=..."),
        (["run", DIGITS, "--learning-rate", "1"], "not understood", "write --set train.optimizer.learning_rate=..."),
        (["run", DIGITS, "--q", "0.1"], "not understood", "write --set prune.then=[...]"),
        (["run", DIGITS, "--images", "9"], "understood", "write --set prune.images=..., or --set measure.images=..."),
        (["run", DIGITS, "--seeds", "5.5"], "'5.5' is no whole number; write 5", "budbreak run --help"),
        (["run", DIGITS, "--seeds", "0,1,2"], "'0,1,2' is no whole number", "budbreak run --help"),
        (["run", DIGITS, "--seeds"], "expected one argument", "budbreak run --help"),
        (["run", DIGITS, "--set"], "expected one argument", "budbreak run --help"),
        (["run"], "recipe", "budbreak run --help"),
        (["probe", DIGITS, "--threshold", "20%"], "'20%' is no number; write 0.2", "budbreak probe --help"),
        (["probe", DIGITS, "--part", "tset"], "'tset'", "budbreak probe --help"),
        (["ranks", "x", "--absolute", "0,001"], "'0,001' is no number", "budbreak ranks --help"),
        (["ranks", "x", "--format", "tbl"], "'tbl'", "budbreak ranks --help"),
        (["ranks", "x", "--levels", "1"], "--levels 1: not understood", "did you mean '--level'?"),
        (["report", "x", "--out", "y"], "--out y: not understood", "budbreak report --help"),
        (["runs", "x", "y"], "y: not understood", "budbreak runs --help"),
        (["rnu"], "'rnu'", "budbreak --help"),
        (["--vers"], "", "budbreak --help"),
    ],
)
def test_a_wrong_command_line_is_three_lines_at_most(line, said, fix, capsys):
    with pytest.raises(SystemExit) as left:
        main(line)
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.startswith("error: ")
    assert said in error
    assert fix in error
    assert len(error.strip().splitlines()) <= 3
    assert "lambda" not in error


@pytest.mark.parametrize("line", [["run", DIGITS, "--seed", "3"], ["probe", DIGITS, "--data", "x"], ["--vers"]])
def test_flags_are_not_abbreviated(line):
    with pytest.raises(SystemExit, match="2"):
        main(line)


@pytest.mark.parametrize("name", ["wandb", "nosuch:log", "os:path", "package/sink.py:log"])
def test_a_log_that_cannot_be_called_is_refused_before_anything_else_also_by_a_dry_run(name, capsys, tmp_path):
    assert main(["run", DIGITS, "--log", name, "--out", str(tmp_path), "--dry-run"]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert len(streams.err.strip().splitlines()) == 3


def test_a_recipe_is_found_by_its_name_and_a_folder_lists_what_it_holds(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/first-try.toml").write_text("")
    assert main(["run", "first-try"]) == 1
    assert "did you mean 'recipes/first-try.toml'?" in capsys.readouterr().err
    assert main(["run", "recipes"]) == 1
    assert "recipes is a folder\na recipe is a TOML file: it is 'recipes/first-try.toml'" in capsys.readouterr().err
