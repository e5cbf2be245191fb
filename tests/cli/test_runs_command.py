"""``budbreak runs``: what lies in a folder of runs."""

import re
import shutil
from pathlib import Path

import pytest
from small_commands import DIGITS, QUICK, stamps, task_of

from budbreak.cli import main


@pytest.fixture
def out(finished, tmp_path) -> Path:
    """A folder with a copy of the small run."""
    shutil.copytree(finished.parent, tmp_path / "out")
    return tmp_path / "out"


def listed(out, capsys) -> str:
    capsys.readouterr()
    assert main(["runs", str(out)]) == 0
    return capsys.readouterr().out


def test_recipe_arms_seeds_state_and_size(out, finished, capsys):
    before = stamps(out)
    text = listed(out, capsys)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == str(out / finished.name)  # whole, to be copied
    assert lines[1:5] == ["recipe digits-mlp", "state complete", "arms host, ap-lite", "seeds 2"]
    assert re.fullmatch(r"size \d+\.\d MB", lines[5])
    assert len(lines) == 6
    assert "tasks of no run" not in text
    assert stamps(out) == before


def test_the_size_is_that_of_the_run_and_its_tasks(out, capsys):
    (size,) = re.findall(r"size +([\d.]+) MB", listed(out, capsys))
    real = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert float(size) == pytest.approx(real / 1e6, abs=0.06)


def test_an_unfinished_run(out, finished, capsys):
    for seed in (0, 1):  # as if the second arm had never begun
        shutil.rmtree(task_of(out / finished.name, "ap-lite", seed))
    for path in (out / finished.name / "networks").glob("ap-*"):
        path.unlink()
    failing = ["run", DIGITS, *QUICK, "--out", str(out), "--log", "stopping:log"]
    Path("stopping.py").write_text("def log(entry):\n    raise KeyboardInterrupt\n")
    assert main(failing) == 130
    assert re.search(r"state +interrupted: \d of 4 at level 1\s", listed(out, capsys))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "no json", '{"kind": "run 1"}'])
def test_a_damaged_run_is_listed_as_such_and_hides_no_other(text, out, finished, capsys):
    shutil.copytree(out / finished.name, out / "other-12345678")
    (out / "other-12345678" / "results.json").write_text(text)
    text = listed(out, capsys)
    assert re.search(r"other-12345678 *\n.*recipe +other-12345678 *\n +state +unreadable: ", text)
    assert re.search(r"digits-mlp *\n +state +complete", text)


@pytest.mark.parametrize("name", ["tasks.json", "tasks/*/task.json", "tasks"])
def test_a_run_without_its_tasks_is_still_listed(name, out, capsys):
    for path in [*out.glob(name), *out.glob(f"*/{name}")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert re.search(r"digits-mlp *\n +state +complete", listed(out, capsys))


def test_tasks_that_no_run_has_are_counted(out, finished, capsys):
    shutil.rmtree(out / finished.name)
    text = listed(out, capsys)
    assert f"no runs in {out}".replace(" ", "") in "".join(text.split())  # however long the folder's name
    assert re.search(r"6 tasks of no run here, \d+\.\d MB, e.g.:", text)


def test_an_empty_folder_no_folder_and_the_usual_one(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "no runs in" in listed(tmp_path / "empty", capsys)
    assert main(["runs", "nowhere"]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err
    assert main(["runs"]) == 1
    assert "runs is no folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["runs", "file"]) == 1
