"""What the command prints fits 80 columns: over the real outputs of small runs."""

from pathlib import Path

import pytest

from budbreak.cli import main
from budbreak.cli.console import WIDTH, say

ARMS = """
[arms.host]
[arms.ap-lite]
"prune.then" = ["ap"]
[arms.ap-pro]
reference = "host-split"
"prune.then" = [{is = "ap", q = 0.02, variant = "pro"}]
[arms.host-split]
"prune.then" = ["train", "remove"]
[arms.host-retrain-with-a-rather-long-name-yes]
"prune.then" = ["train"]
"""
RECIPE = """
name = "a-run-with-a-rather-long-name"
seeds = 2
[data]
name = "digits"
limit = 100
[network]
name = "mlp"
[train]
epochs = 1
batch_size = 50
[prune]
schedule = {is = "geometric", rate = 0.2, levels = 2}
"""


def check(text: str) -> None:
    """No line is too wide, but for one that is a single path."""
    wide = [line for line in text.splitlines() if len(line) > WIDTH and " " in line.strip()]
    assert not wide, "\n".join(wide)
    assert text.strip()


@pytest.mark.parametrize("command", [[], ["run"], ["runs"], ["probe"], ["report"], ["data"], ["data", "get"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    check(capsys.readouterr().out)


@pytest.mark.slow
def test_a_run_its_report_its_probe_and_the_list(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(RECIPE + ARMS)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "small.toml", "--workers", "1"]) == 0
    (folder,) = {path.parent for path in Path("runs").glob("*/results.json")}
    assert main(["report", str(folder)]) == 0
    assert main(["probe", str(folder), "--arm", "host"]) == 0
    assert main(["runs"]) == 0
    assert main(["run", "small.toml", "--arms", "host", "--dry-run"]) == 0
    check(capsys.readouterr().out)


def test_a_grid(tmp_path, monkeypatch, capsys):
    grid = '[grid]\n"train.optimizer.learning_rate" = [0.1, 0.01]\n"train.batch_size" = [25, 50]\n'
    (tmp_path / "small.toml").write_text(RECIPE + grid)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "small.toml", "--workers", "1", "--seeds", "1"]) == 0
    assert main(["runs"]) == 0
    check(capsys.readouterr().out)


def test_a_long_line_is_broken_between_words_and_a_path_not_at_all(capsys):
    say("word " * 40 + "\nshort\n" + "/a/path" * 20)
    text = capsys.readouterr().out
    assert [len(line) for line in text.splitlines()] == [80, 80, 40, 5, 140]
    assert text.split() == [*["word"] * 40, "short", "/a/path" * 20]


def test_a_text_is_never_markup_and_spells_control_characters(capsys):
    say("[red]arm[/red] :smile: \x1b[31m 12")
    assert capsys.readouterr().out == "[red]arm[/red] :smile: \\x1b[31m 12\n"
