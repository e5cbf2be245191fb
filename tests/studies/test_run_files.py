"""The files of a run and of its tasks: what was lost, damaged or swapped is said, and nothing computed is lost."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from torch import nn

from budbreak.errors import BudbreakError, CorruptFile, StoreMismatch
from budbreak.files import digest, write_json
from budbreak.results import load_result
from budbreak.results.notes import NotedEnd, NotedEpoch, Notes
from budbreak.results.result import FILE_NAME, KIND, EpochResult
from budbreak.studies import RunFailed, list_runs, run
from budbreak.studies.tasks import tasks_of
from budbreak.studies.weights import read_state, save_weights
from small import Stopped, choose, digests, small, stop_at, trained

RECIPE = small({"data.limit": 100, "measure.images": 50}, seeds=2)


def go(out):
    return run(choose(RECIPE, out))


def task(out, seed=1):
    ((_, levels),) = tasks_of("host", RECIPE.arms[0].setup, [seed], choose(RECIPE, out).place)
    return levels


def numbers(result):
    return [(level.seed, level.level, level.numbers, level.curve, level.layers) for level in result.levels]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    go(out)
    return out


@pytest.fixture
def out(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


NAMES = ["records.json", "notes.json", "masks/level-001.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_task_is_refused(out, name):
    shutil.copy(task(out, 0).folder / name, task(out, 1).folder / name)
    with pytest.raises(StoreMismatch, match=rf"{re.escape(task(out).folder.name)}/{name} belongs to another"):
        go(out)


def test_the_whole_folder_of_another_task_is_refused_and_the_advice_works(out):
    folder = task(out).folder
    shutil.rmtree(folder)
    shutil.copytree(task(out, 0).folder, folder)
    with pytest.raises(StoreMismatch, match="holds the store of another task") as caught:
        go(out)
    assert f"delete the folder {folder}" in str(caught.value)
    shutil.rmtree(folder)
    assert go(out).complete


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_of_a_finished_task_is_noticed(out, name):
    path = task(out).folder / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile, match=name):
        go(out)


def test_deleted_records_and_masks_are_not_computed_again(out, finished):
    (task(out).folder / "records.json").unlink()
    shutil.rmtree(task(out).folder / "masks")
    result, counts = trained(choose(RECIPE, out))
    assert counts == {}
    assert numbers(result) == numbers(load_result(finished / RECIPE.folder_name))
    assert (task(out).folder / "records.json").exists()


def test_a_deleted_dense_training_is_computed_again_only_when_it_is_needed(out, finished):
    before = digests(finished)
    for seed in (0, 1):
        shutil.rmtree(task(out, seed).needs[0].folder)
    result, counts = trained(choose(RECIPE, out))
    assert (result.complete, counts) == (True, {})
    assert [(level.level, level.numbers["test_accuracy"]) for level in result.levels] == [
        (level.level, level.numbers["test_accuracy"]) for level in load_result(finished / RECIPE.folder_name).levels
    ]
    shutil.rmtree(task(out).folder)
    _, counts = trained(choose(RECIPE, out))
    assert counts == {"dense of host seed 1": 2, "host seed 1": 2}
    assert before.items() >= digests(out).items()


def test_lost_notes_leave_the_levels_and_say_so(out):
    (task(out).folder / "notes.json").unlink()
    result = go(out)
    assert [level.epochs for level in result.levels] == [2, 2, 2, 2]
    lost = [level for level in result.levels if level.notes]
    assert [(level.seed, level.level, level.curve, level.layers) for level in lost] == [(1, 1, (), ())]
    assert lost[0].numbers["test_accuracy"] > 0
    assert "notes.json of this task was lost" in lost[0].notes[0]


def test_a_part_that_was_lost_is_said(out):
    notes = Notes(task(out).folder, task(out).identity)
    del notes.epochs[1, 0, 1]
    notes._write()
    (level,) = [level for level in go(out).levels if level.notes]
    assert level.notes == ("notes.json of this task was lost in part: the curve lacks 1 points",)
    assert [epoch.epoch for epoch in level.curve] == [0, 2]


def test_what_was_noted_is_made_plain_once_and_not_after_each_epoch(tmp_path, monkeypatch):
    """All notes are written after each epoch: of a long task that would be much more than its epochs."""
    made = []
    monkeypatch.setattr("budbreak.results.notes.asdict", lambda noted: made.append(type(noted)) or asdict(noted))
    notes = Notes(tmp_path, "mine")
    for epoch in (0, 1, 2, 2):
        notes.add_epoch(NotedEpoch(0, 0, epoch, 1.0, EpochResult(epoch, {"accuracy": 0.5})))
    notes.add_end(NotedEnd(0, 0, 1.0, {"accuracy": 0.5}, ()))
    assert made == [NotedEpoch] * 4 + [NotedEnd]
    again = Notes(tmp_path, "mine")
    assert (again.epochs, again.ends) == (notes.epochs, notes.ends)
    assert len((tmp_path / "notes.json").read_text().splitlines()) < 20  # one for each, so that people can compare


def interrupted(out, level=1, epoch=1):
    """The folder of the task that was stopped there."""
    with pytest.raises(Stopped):
        run(choose(RECIPE, out), report=stop_at(level, epoch))
    levels = task(out, 0)
    return levels.folder if level else levels.needs[0].folder


def test_a_training_without_the_notes_of_its_first_epochs_is_refused_and_the_advice_works(tmp_path):
    folder = interrupted(tmp_path, epoch=2)
    (folder / "notes.json").unlink()
    with pytest.raises(RunFailed, match="lacks epoch 0 of level 1") as caught:
        go(tmp_path)
    assert f"delete the folder {folder}" in str(caught.value)
    shutil.rmtree(folder)
    assert go(tmp_path).complete


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no")], ids=["lost", "damaged"])
def test_a_task_that_cannot_go_on_names_the_folder_to_delete(spoil, level, tmp_path, finished):
    folder = interrupted(tmp_path, level)
    spoil(folder / "rewind.safetensors")
    with pytest.raises(RunFailed) as caught:
        go(tmp_path)
    assert f"delete the folder {folder}: this task then begins anew" in str(caught.value)
    shutil.rmtree(folder)
    assert numbers(go(tmp_path)) == numbers(load_result(finished / RECIPE.folder_name))


SPOIL = {"lost": Path.unlink, "damaged": lambda path: path.write_bytes(path.read_bytes()[:-9])}


@pytest.mark.parametrize("name", ["rewind.safetensors", "checkpoint.safetensors"])
@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_spoilt_dense_training_names_its_own_folder_to_the_arms_that_need_it(spoil, name, out):
    levels = task(out)
    shutil.rmtree(levels.folder)
    path = levels.needs[0].folder / name
    spoil(path)
    with pytest.raises(RunFailed) as caught:
        go(out)
    assert f"delete the folder {path.parent}" in str(caught.value)
    assert f"delete the folder {levels.folder}" not in str(caught.value)
    shutil.rmtree(path.parent)
    assert go(out).complete


@pytest.mark.parametrize("kind", ["dense", "levels"])
def test_a_damaged_identity_is_refused_and_written_again_when_it_was_deleted(kind, out):
    levels = task(out)
    path = (levels if kind == "levels" else levels.needs[0]).folder / "identity.json"
    SPOIL["damaged"](path)
    with pytest.raises(CorruptFile, match=r"identity\.json.*\n.*\n.*delete it, and the same call writes it again"):
        go(out)
    path.unlink()
    result, counts = trained(choose(RECIPE, out))
    assert (result.complete, counts) == (True, {})
    shutil.rmtree(out / "tasks" / levels.folder.name)
    assert trained(choose(RECIPE, out))[1] == ({"host seed 1": 2})


def test_weights_that_are_not_those_of_the_task_are_refused_and_written_again(out):
    path = task(out).folder / "model.safetensors"
    own = path.read_bytes()
    for other in ((task(out, 0).folder / "model.safetensors").read_bytes(), own[:-4] + b"1234", b"no"):
        path.write_bytes(other)
        with pytest.raises(CorruptFile, match=r"model\.safetensors.*") as caught:
            go(out)
        assert "delete it" in str(caught.value)
    path.unlink()
    result, counts = trained(choose(RECIPE, out))
    assert (result.complete, counts) == (True, {})
    assert path.read_bytes() == own


def test_networks_of_the_run_are_copies_that_come_back(out):
    path = out / RECIPE.folder_name / "networks" / "host-seed1.safetensors"
    own = path.read_bytes()
    path.write_bytes(b"no")
    go(out)
    assert path.read_bytes() == own


def test_networks_of_arms_that_are_defined_otherwise_are_taken_away(tmp_path):
    """The weights of the old arm stayed under the name of the new one, which had not been computed yet."""
    tiny = {"data.limit": 100, "measure.images": 50}
    first = small(tiny, arms={"host": {}, "other": {"prune.scope": "layer"}})
    changed = small(tiny, arms={"host": {}, "other": {"prune.criterion": "random"}})
    folder = tmp_path / first.folder_name / "networks"
    run(choose(first, tmp_path))
    (folder / "own-notes.txt").touch()
    run(choose(changed, tmp_path, "host"))
    assert sorted(path.name for path in folder.iterdir()) == ["host-seed0.safetensors", "own-notes.txt"]
    run(choose(changed, tmp_path))
    assert (folder / "other-seed0.safetensors").is_file()


def test_complete_arms_that_were_not_chosen_stay_tasks_of_the_run(tmp_path):
    """They were in its table, and called tasks of no run."""
    recipe = small({"data.limit": 100, "measure.images": 50}, arms={"host": {}, "other": {"prune.scope": "layer"}})
    path = tmp_path / recipe.folder_name / "tasks.json"
    run(choose(recipe, tmp_path))
    whole = json.loads(path.read_text())["tasks"]
    result = run(choose(recipe, tmp_path, "host"))
    assert result.arm_names == ("host", "other")
    assert json.loads(path.read_text())["tasks"] == whole
    assert list_runs(tmp_path).orphans == ()


def test_extra_state_stays_out_of_the_weights(tmp_path):
    class WithExtra(nn.Linear):
        def get_extra_state(self):
            return {"steps": 3}

        def set_extra_state(self, state):
            pass

    save_weights(tmp_path, WithExtra(2, 1))
    assert set(read_state(tmp_path / "model.safetensors")) == {"weight", "bias"}


def body_of(path):
    body = json.loads(path.read_text())
    return {key: value for key, value in body.items() if key not in ("sha256", "kind", "store")}


def test_the_results_of_another_recipe_are_refused_and_the_advice_works(out):
    path = out / RECIPE.folder_name / FILE_NAME
    write_json(path, {**body_of(path), "levels": [], "differences": []}, KIND, store=digest("another"))
    with pytest.raises(StoreMismatch, match=r"results\.json belongs to another") as caught:
        go(out)
    assert "delete it and run the recipe again" in str(caught.value)
    path.unlink()
    result, counts = trained(choose(RECIPE, out))
    assert (result.complete, counts) == (True, {})


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 99])
def test_truncated_results_are_refused_and_made_again_from_the_tasks(spoil, out, finished):
    path = out / RECIPE.folder_name / FILE_NAME
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CorruptFile, match=r"results\.json") as caught:
        go(out)
    assert "delete it and run the recipe again" in str(caught.value)
    path.unlink()
    result, counts = trained(choose(RECIPE, out))
    assert counts == {}
    assert numbers(result) == numbers(load_result(finished / RECIPE.folder_name))


@pytest.mark.parametrize(
    "change",
    [
        {"levels": 3},
        {"seeds": ["0"]},
        {"arms": ["other"]},
        {"seeds": []},
        {"more": 1},
        {"differences": [{}]},
        {"name": None},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"quantities": []},
    ],
    ids=str,
)
def test_results_of_the_wrong_structure_are_refused(out, change):
    path = out / RECIPE.folder_name / FILE_NAME
    write_json(path, {**body_of(path), **change}, KIND, store=RECIPE.identity)
    with pytest.raises(CorruptFile, match=r"results\.json"):
        load_result(path.parent)


@pytest.mark.parametrize("name", ["recipe.toml", "tasks.json"])
def test_what_a_run_writes_for_people_is_written_again(out, name):
    path = out / RECIPE.folder_name / name
    own = path.read_bytes()
    path.write_bytes(b"no")
    go(out)
    assert path.read_bytes() == own


def test_a_damaged_description_of_a_task_hinders_no_run(out):
    (task(out).folder / "task.json").write_text("no")
    result, counts = trained(choose(RECIPE, out))
    assert (result.complete, counts) == (True, {})


def test_a_task_folder_that_is_a_file_is_an_error(tmp_path):
    folder = task(tmp_path, 0).needs[0].folder
    folder.parent.mkdir()
    folder.touch()
    with pytest.raises(BudbreakError):
        go(tmp_path)
