"""What the command prints fits 80 columns: over the real outputs of small runs."""

from pathlib import Path

import pytest

from budbreak.cli import main
from budbreak.cli.display import Display
from budbreak.cli.folding import WIDTH, folded
from budbreak.studies import Event

DIGITS = str(Path(__file__).parent.parent.parent / "recipes/digits-mlp.toml")
ARMS = "host,ap-lite,ap-pro,host-split,host-retrain"


def check(text: str) -> None:
    """No line is too wide, but for one that is a single path."""
    wide = [line for line in text.splitlines() if len(line) > WIDTH and " " in line.strip()]
    assert not wide, "\n".join(wide)
    assert text.strip()


@pytest.mark.parametrize("command", [[], ["run"], ["probe"], ["report"], ["data"], ["data", "get"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    check(capsys.readouterr().out)


def test_a_run_its_report_and_its_probe(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(
        'name = "a-run-with-a-rather-long-name"\ndataset = "digits"\nnetwork = "mlp"\nepochs = 1\n'
        f"levels = 2\nseeds = 2\ntrain_limit = 100\narms = {ARMS.split(',')}\nq = 0.02\nbatch_size = 50\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "small.toml", "--workers", "1"]) == 0
    (folder,) = (path.relative_to(tmp_path) for path in (tmp_path / "runs").iterdir())
    assert main(["report", str(folder)]) == 0
    assert main(["probe", str(folder / "jobs/host-seed0")]) == 0
    assert main(["run", "small.toml", "--arms", "host", "--dry-run"]) == 0
    captured = capsys.readouterr()
    check(captured.out)
    check(captured.err)


def test_progress_with_large_numbers(capsys):
    with Display(jobs=1000, epochs=12_345_678, levels=100) as display:
        metrics = {"test_accuracy": 0.12345, "dead_units_total": 0.5}
        display.last = -1000.0
        display.show(Event("host-retrain-seed999", 1234567, 9999999, 100, 1, 0.00012, metrics))
    check(capsys.readouterr().err)


def test_a_long_line_is_broken_between_words():
    text = folded("word " * 40 + "\nshort\n" + "/a/path" * 20)
    assert [len(line) <= WIDTH for line in text.splitlines()] == [True, True, True, True, False]
    assert text.split() == [*["word"] * 40, "short", "/a/path" * 20]
