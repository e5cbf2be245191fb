"""What lies in a folder of runs."""

import shutil

import pytest

from budbreak.errors import MissingData
from budbreak.studies import list_runs, run
from small import Stopped, choose, small, stop_at


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs that share tasks: one complete, one killed in its second seed."""
    out = tmp_path_factory.mktemp("out")
    run(choose(small(arms={"host": {}, "ap": {"prune.then": ["ap"]}}), out))
    killed = choose(small(name="killed", arms={"host": {}, "random": {"prune.criterion": "random"}}, seeds=2), out)

    def stop(event):
        if event.task == "host seed 1":
            raise Stopped

    with pytest.raises(Stopped):
        run(killed, report=stop)
    return out


@pytest.fixture
def out(made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def test_runs_are_listed_with_arms_seeds_and_state(out):
    killed, tiny = list_runs(out).runs
    assert (tiny.name, tiny.arms, tiny.seeds, tiny.state) == ("tiny", ("host", "ap"), 1, "complete")
    assert (killed.name, killed.arms, killed.seeds) == ("killed", ("host", "random"), 2)
    assert killed.state == "interrupted: 2 of 4 at level 1"
    assert killed.folder == out / small(name="killed").folder_name


def test_the_size_is_that_of_the_run_and_all_its_tasks(out):
    killed, tiny = list_runs(out).runs

    def size(*folders):
        return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())

    every = list((out / "tasks").iterdir())
    assert len(every) == 6  # two dense ones; host and ap, random, host of the other seed
    shared = size(tiny.folder, killed.folder, *every)
    assert size(tiny.folder) < tiny.size < shared < tiny.size + killed.size


def test_only_reading_changes_nothing(out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    list_runs(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_tasks_of_no_run_are_named(out):
    assert list_runs(out).orphans == ()
    killed, _ = list_runs(out).runs
    shutil.rmtree(killed.folder)
    listing = list_runs(out)
    assert [run.name for run in listing.runs] == ["tiny"]
    assert len(listing.orphans) == 3
    assert 0 < listing.orphans_size < sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["results.json", "tasks.json"])
def test_a_damaged_run_is_listed_all_the_same(name, out):
    tiny = list_runs(out).runs[1]
    (tiny.folder / name).write_text("no")
    found = list_runs(out).runs[1]
    if name == "results.json":
        assert found.name == tiny.folder.name
        assert found.state.startswith("unreadable: ")
    else:
        assert (found.state, found.size < tiny.size) == ("complete", True)


def test_lost_tasks_do_not_hinder_the_list(out):
    shutil.rmtree(out / "tasks")
    assert [run.name for run in list_runs(out).runs] == ["killed", "tiny"]


def test_a_run_that_was_killed_in_its_first_training_is_listed(tmp_path):
    with pytest.raises(Stopped):
        run(choose(small(), tmp_path), report=stop_at(0, 1))
    (found,) = list_runs(tmp_path).runs
    assert (found.name, found.state) == ("tiny", "interrupted: 0 of 1 at level 0")


def test_an_empty_folder_holds_no_runs_and_a_missing_one_is_said(tmp_path):
    assert list_runs(tmp_path).runs == ()
    with pytest.raises(MissingData, match="is no folder"):
        list_runs(tmp_path / "nowhere")
