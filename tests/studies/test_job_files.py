"""The files of a job are its own; what was lost or swapped is said."""

import dataclasses
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from budbreak.studies.job import Job
from torch import nn

from budbreak.errors import BudbreakError, CorruptFile, StoreMismatch
from budbreak.files import digest, write_json
from budbreak.studies import load_result, run
from budbreak.studies.notes import Notes
from budbreak.studies.recipe import make_recipe
from budbreak.studies.result import FILE_NAME, KIND
from budbreak.studies.run import RunFailed
from budbreak.studies.weights import read_state, save_weights

RECIPE = make_recipe({
    "name": "tiny", "dataset": "digits", "network": "mlp", "train_limit": 100, "epochs": 2, "levels": 1, "seeds": 2,
    "learning_rate": 0.05, "batch_size": 50, "dnr_images": 50, "arms": ["host"],
})  # fmt: skip


def go(out):
    return run(RECIPE, data_dir=None, out=out, workers=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    go(out)
    return out


@pytest.fixture
def jobs(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out" / RECIPE.folder_name / "jobs"


NAMES = ["records.json", "notes.json", "masks/level-001.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_job_is_refused(jobs, name):
    shutil.copy(jobs / "host-seed0" / name, jobs / "host-seed1" / name)
    with pytest.raises(StoreMismatch, match=f"host-seed1/{name} belongs to another"):
        go(jobs.parent.parent)


def test_a_probe_refuses_the_mask_and_the_recipe_of_another_run(jobs, capsys):
    from budbreak.cli import main

    probe = ["probe", str(jobs / "host-seed0"), "--images", "20", "--mask"]
    assert main([*probe, str(jobs / "host-seed0" / "masks" / "level-000.safetensors")]) == 0
    assert main([*probe, str(jobs / "host-seed1" / "masks" / "level-000.safetensors")]) == 1
    assert "belongs to another store" in capsys.readouterr().err
    other = dataclasses.replace(RECIPE, epochs=3)
    (jobs.parent / "recipe.toml").write_text(other.to_toml())
    assert main(probe[:-1]) == 1
    assert "is another recipe" in capsys.readouterr().err


def test_the_whole_folder_of_another_job_is_refused(jobs):
    shutil.rmtree(jobs / "host-seed1")
    shutil.copytree(jobs / "host-seed0", jobs / "host-seed1")
    with pytest.raises(StoreMismatch, match="host-seed1") as caught:
        go(jobs.parent.parent)
    assert "delete the folder" in str(caught.value)
    shutil.rmtree(jobs / "host-seed1")
    assert go(jobs.parent.parent).complete


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_of_a_finished_job_is_noticed(jobs, name):
    path = jobs / "host-seed1" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile, match=name):
        go(jobs.parent.parent)


def test_deleted_records_are_written_again(jobs, finished):
    before = [(level.seed, level.numbers, level.curve) for level in load_result(jobs.parent).levels]
    (jobs / "host-seed1" / "records.json").unlink()
    assert [(level.seed, level.numbers, level.curve) for level in go(jobs.parent.parent).levels] == before


def test_lost_notes_change_no_number_of_epochs(jobs):
    (jobs / "host-seed1" / "notes.json").unlink()
    result = go(jobs.parent.parent)
    assert [level.epochs for level in result.levels] == [2, 2, 2, 2]
    lost = [level for level in result.levels if level.notes]
    assert [(level.seed, level.curve) for level in lost] == [(1, ()), (1, ())]


def test_a_part_that_was_lost_is_said(jobs):
    job = Job(RECIPE, "host", 1, jobs / "host-seed1", None, 1)
    notes = Notes(job.folder, job.origin.identity)
    del notes.epochs[1, 0, 1]
    notes._write()
    result = go(jobs.parent.parent)
    assert [level.notes for level in result.levels if level.seed == 1] == [
        (), ("notes.json of this job was lost in part: the curve lacks 1 points",),
    ]  # fmt: skip


def test_a_training_without_the_notes_of_its_first_epochs_is_refused_and_the_advice_works(tmp_path):
    folder = interrupted(tmp_path, epoch=2)
    (folder / "notes.json").unlink()
    with pytest.raises(RunFailed, match="lacks epoch 0 of level 1") as caught:
        go(tmp_path)
    assert f"delete the folder {folder}" in str(caught.value)
    shutil.rmtree(folder)
    assert go(tmp_path).complete


class Stop(BaseException):
    """Stands for a kill."""


def interrupted(out, level=1, epoch=1):
    """The folder of the job that was stopped there."""

    def stop(event):
        if (event.level, event.epoch) == (level, epoch):
            raise Stop

    with pytest.raises(Stop):
        run(RECIPE, data_dir=None, out=out, workers=1, report=stop)
    return out / RECIPE.folder_name / "jobs" / "host-seed0"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no")], ids=["lost", "damaged"])
def test_a_job_that_cannot_go_on_names_the_folder_to_delete(spoil, tmp_path, finished):
    folder = interrupted(tmp_path)
    spoil(folder / "rewind.safetensors")
    with pytest.raises(RunFailed) as caught:
        go(tmp_path)
    assert f"delete the folder {folder}: this job then begins anew" in str(caught.value)
    shutil.rmtree(folder)
    again, whole = go(tmp_path), load_result(finished / RECIPE.folder_name)
    assert [level.numbers for level in again.levels] == [level.numbers for level in whole.levels]


def test_weights_that_are_not_those_of_the_job_are_refused_and_written_again(jobs):
    path = jobs / "host-seed1" / "model.safetensors"
    own = path.read_bytes()
    for other in ((jobs / "host-seed0" / "model.safetensors").read_bytes(), own[:-4] + b"1234", b"no"):
        path.write_bytes(other)
        with pytest.raises(CorruptFile, match=r"host-seed1/model\.safetensors.*") as caught:
            go(jobs.parent.parent)
        assert "delete it" in str(caught.value)
    path.unlink()
    go(jobs.parent.parent)
    assert path.read_bytes() == own


def test_extra_state_stays_out_of_the_weights(tmp_path):
    class WithExtra(nn.Linear):
        def get_extra_state(self):
            return {"steps": 3}

        def set_extra_state(self, state):
            pass

    save_weights(tmp_path, WithExtra(2, 1))
    assert set(read_state(tmp_path / "model.safetensors")) == {"weight", "bias"}


def test_the_results_of_another_recipe_are_refused(jobs):
    path = jobs.parent / FILE_NAME
    body = asdict(load_result(jobs.parent))
    write_json(path, {**body, "levels": [], "differences": []}, KIND, store=digest("another"))
    with pytest.raises(StoreMismatch, match=r"results\.json belongs to another"):
        go(jobs.parent.parent)
    path.unlink()
    assert go(jobs.parent.parent).complete


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
    ],
)  # fmt: skip
def test_results_of_the_wrong_structure_are_refused(jobs, change):
    import json

    path = jobs.parent / FILE_NAME
    body = json.loads(path.read_text())
    for mark in ("sha256", "kind", "store"):
        del body[mark]
    write_json(path, {**body, **change}, KIND, store=RECIPE.identity)
    with pytest.raises(CorruptFile, match=r"results\.json"):
        load_result(jobs.parent)


def test_a_run_folder_that_is_no_folder(tmp_path):
    (tmp_path / RECIPE.folder_name).touch()
    with pytest.raises(BudbreakError):
        go(tmp_path)
