"""``budbreak run``: what it leaves, what it computes again, and what it says before."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from small_commands import DIGITS, QUICK, ROOT, TINY, sets, stamps, tasks_in

from budbreak.cli import main
from budbreak.executors import executors
from budbreak.results import load_result

RECIPE = """
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
schedule = {is = "one-shot", sparsity = 0.5}
[arms.host]
"""


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the small run that may be changed."""
    shutil.copytree(finished.parent, tmp_path / "out")
    return tmp_path / "out" / finished.name


def again(copy, *more):
    return main(["run", DIGITS, *QUICK, "--out", str(copy.parent), *more])


def test_a_run_leaves_everything_in_its_folder(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"recipe.toml", "results.json", "tasks.json", "report.html", "levels.csv", "differences.csv"} <= names
    assert {path.name for path in (finished / "networks").iterdir()} == {
        "host-seed0.safetensors", "host-seed1.safetensors", "ap-lite-seed0.safetensors", "ap-lite-seed1.safetensors",
    }  # fmt: skip


def test_the_dense_training_of_a_seed_is_computed_once_for_all_arms(finished):
    kinds = tasks_in(finished.parent)
    assert (len(kinds["dense"]), len(kinds["levels"])) == (2, 4)


def test_the_same_command_again_computes_nothing_and_shows_the_table(copy, capsys):
    before = stamps(copy.parent)
    assert again(copy) == 0
    out = capsys.readouterr().out
    assert "all 6 tasks are complete: nothing is left to train" in out
    assert "lambda =  80.0 %" in out or "lambda = 80.0 %" in out
    assert str(copy) in out
    assert stamps(copy.parent) == before


def test_more_seeds_compute_only_the_new_ones(copy, capsys):
    before = stamps(copy.parent)
    assert again(copy, "--seeds", "3") == 0
    assert "3 tasks to do, 6 complete already: 6 epochs in all" in capsys.readouterr().out
    after = stamps(copy.parent)
    assert {name: after[name] for name in before} == before
    assert load_result(copy).seeds == (0, 1, 2)


def test_an_added_arm_computes_only_itself(tmp_path, capsys):
    path = tmp_path / "a.toml"
    path.write_text(RECIPE)
    command = ["run", str(path), "--workers", "1", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    before = stamps(tmp_path / "out")
    path.write_text(RECIPE + '[arms.taylor]\n"prune.criterion" = "taylor"\n')
    assert main(command) == 0
    assert "2 tasks to do, 4 complete already: 2 epochs in all" in capsys.readouterr().out
    after = stamps(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    (folder,) = {path.parent for path in (tmp_path / "out").glob("*/results.json")}
    assert load_result(folder).arm_names == ("host", "taylor")


def test_arms_run_a_part_and_the_others_come_later(tmp_path, capsys):
    out, tiny = tmp_path / "out", [*TINY, "--seeds", "2", "--workers", "1"]
    assert main(["run", DIGITS, *tiny, "--out", str(out)]) == 0
    (folder,) = {path.parent for path in out.glob("*/results.json")}
    assert load_result(folder).arm_names == ("host",)
    assert main(["run", DIGITS, *tiny, "--arms", "ap-lite, host", "--out", str(out)]) == 0
    assert "2 tasks to do, 4 complete already" in capsys.readouterr().out
    assert load_result(folder).arm_names == ("host", "ap-lite")
    assert main(["run", DIGITS, *tiny, "--arms", "ap-lite", "--out", str(out)]) == 0
    assert load_result(folder).arm_names == ("host", "ap-lite")  # what is complete stays in the comparison


def test_set_reaches_the_recipe_that_is_stored(finished):
    plain = tomllib.loads((finished / "recipe.toml").read_text())
    assert (plain["train"]["epochs"], plain["train"]["schedule"], plain["data"]["limit"]) == (2, "constant", 200)
    assert plain["prune"]["schedule"] == {"is": "geometric", "rate": 0.2, "levels": 1}
    assert plain["train"]["batch_size"] == 64  # what is not set is the file's


def test_another_value_is_another_run(copy):
    assert again(copy, *sets(train__batch_size=50)) == 0
    assert len(list(copy.parent.glob("*/results.json"))) == 2


@pytest.mark.parametrize("values", ["prune.criterion=taylor", 'prune.criterion="taylor"', "prune.criterion = taylor"])
def test_text_needs_no_quotes(values, tmp_path, capsys):
    assert main(["run", DIGITS, *TINY, "--set", values, "--out", str(tmp_path / "out"), "--dry-run"]) == 0


def test_a_dry_run_says_the_cost_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(ROOT / "recipes/digits-hosts.toml"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    # 5 seeds: one dense training of 15 epochs for all arms, and 12 levels of 15 epochs in each of 8
    assert f"45 tasks to do: {5 * (15 + 8 * 12 * 15)} epochs in all, about " in out
    assert "8 arms x 5 seeds" in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_part_that_is_there_counts_what_is_left(copy, capsys):
    before = stamps(copy.parent)
    assert again(copy, "--seeds", "4", "--dry-run") == 0
    assert "6 tasks to do, 6 complete already" in capsys.readouterr().out
    assert stamps(copy.parent) == before
    assert load_result(copy).seeds == (0, 1)


def test_more_than_200_cells_want_yes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.toml"
    path.write_text(RECIPE + f'[grid]\n"train.epochs" = {list(range(1, 21))}\n"train.batch_size" = [10, 20]\n')
    assert main(["run", str(path), "--seeds", "6"]) == 1
    err = capsys.readouterr().err
    assert "40 arms x 6 seeds: 240 prunings, " in err
    assert f"{2 * 6 * sum(2 * epochs for epochs in range(1, 21)):,} epochs in all" in err
    assert "add --yes" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]
    assert main(["run", str(path), "--seeds", "5", "--dry-run"]) == 0  # 200 are begun without it
    assert "40 arms x 5 seeds" in capsys.readouterr().out


def test_yes_begins_them(tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setattr("budbreak.cli.run._MOST_WITHOUT_YES", 1)
    monkeypatch.setattr("budbreak.cli.run.run", lambda choice, **_: started.append(choice) or sys.exit(0))
    command = ["run", DIGITS, *QUICK, "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert not started
    with pytest.raises(SystemExit):
        main([*command, "--yes"])
    assert len(started) == 1


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--executor", "process"], "no executor named 'process'\nit is one of 'here', 'processes', 'ray'"),
        (["--executor", "process"], "did you mean 'processes'?"),
        (["--executor", "here", "--workers", "2"], "workers is 2"),
        (["--workers", "0"], "workers is 0"),
    ],
)
def test_an_executor_that_cannot_work_is_refused_before_anything_is_loaded(options, words, dry, tmp_path, capsys):
    assert main(["run", DIGITS, *options, *dry, "--out", str(tmp_path / "out")]) == 1
    streams = capsys.readouterr()
    assert words in streams.err
    assert streams.out == ""
    assert not (tmp_path / "out").exists()


def test_ray_that_is_not_installed_names_its_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    assert main(["run", DIGITS, "--executor", "ray", "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "ray is not installed" in err
    assert "pip install 'budbreak[ray]'" in err
    assert not (tmp_path / "out").exists()


def test_here_needs_no_number_of_workers(tmp_path, capsys):
    command = ["run", DIGITS, *QUICK[:-2], "--executor", "here", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main(command) == 0
    assert "2 arms x 2 seeds, 1 at a time" in capsys.readouterr().out
