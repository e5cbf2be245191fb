"""The network that a person means, with its weights, mask and data."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import save_file

from budbreak.errors import (
    BudbreakError,
    CorruptFile,
    InvalidValue,
    MaskMismatch,
    MissingData,
    StoreMismatch,
    UnknownName,
)
from budbreak.exporting import Packed, Safetensors, export
from budbreak.masks import Mask
from budbreak.recipes.recipefile import to_toml
from budbreak.studies import Request, find_subject, measure_subject, run, save_measurement
from budbreak.studies.tasks import tasks_of
from small import choose, small

RECIPE = small(arms={"host": {}, "ap": {"prune.then": ["ap"]}}, seeds=2)
NETS = """
from torch import nn

def make(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run(choose(RECIPE, out))
    return out


def folder(out):
    return out / RECIPE.folder_name


def task(out, arm="host", seed=0):
    ((_, levels),) = tasks_of(arm, RECIPE.only([arm])[0].setup, [seed], choose(RECIPE, out).place)
    return levels


def test_the_network_of_a_run_comes_with_its_mask_and_its_own_split(made):
    subject = find_subject(Request(str(folder(made)), arm="ap", seed=1))
    from safetensors.torch import load_file

    expected = load_file(folder(made) / "networks" / "ap-seed1.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in subject.model.state_dict().items())
    assert subject.mask is not None
    assert (subject.mask.kept, subject.dataset, len(subject.parts.train)) == (9520, "digits", 200)
    assert subject.origin == f"{folder(made)}: level 1, epoch 2"
    assert find_subject(Request(str(task(made, "ap", 1).folder))).mask == subject.mask


@pytest.mark.parametrize(
    ("request_of", "kind", "words"),
    [
        ({}, UnknownName, ["several arms", "add --arm host"]),
        ({"arm": "hots"}, UnknownName, ["no arm 'hots'", "did you mean 'host'?"]),
        ({"arm": "host", "seed": 7}, UnknownName, ["no seed 7 of host", "'0', '1'"]),
        ({"arm": "host", "network": "mine:make"}, InvalidValue, ["has the network 'mlp'"]),
    ],
)
def test_what_a_run_does_not_have_is_refused(request_of, kind, words, made):
    with pytest.raises(kind) as caught:
        find_subject(Request(str(folder(made)), **request_of))
    assert all(word in str(caught.value) for word in words)


def test_a_recipe_gives_its_network_fresh_and_by_seed(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(to_toml(small().plain))
    first, again, other = (find_subject(Request(str(path), seed=seed)) for seed in (None, 0, 1))
    weights = [subject.model.state_dict()["fc1.weight"] for subject in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (first.mask, first.origin, len(first.parts.train)) == (None, f"{path}: fresh", 200)
    with pytest.raises(InvalidValue, match="is not the folder of a run"):
        find_subject(Request(str(path), arm="host"))


@pytest.mark.parametrize("form", [Packed(), Packed(values="float16"), Safetensors()], ids=["packed", "half", "plain"])
def test_exported_files_are_weights_too_and_their_checksum_is_looked_at(form, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(small().plain))
    made, weights = find_subject(Request(str(path), seed=3)), tmp_path / f"w{form.suffix}"
    few = made.parts.validation.first(4)
    export(made.model, weights, example=few.normalised(few.images), to=form)
    found = find_subject(Request(str(path), weights=weights)).model.state_dict()
    for name, tensor in made.model.state_dict().items():
        rounded = tensor.half() if getattr(form, "values", None) else tensor
        assert torch.equal(found[name], rounded.float())
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CorruptFile, match="does not match its checksum"):
        find_subject(Request(str(path), weights=weights))


def test_weights_and_masks_are_put_into_it(made, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(to_toml(small().plain))
    weights = folder(made) / "networks" / "host-seed0.safetensors"
    mask = task(made).folder / "masks" / "level-001.safetensors"
    subject = find_subject(Request(str(path), weights=weights, mask=mask))
    assert subject.mask is not None
    assert (subject.mask.kept, subject.origin) == (9520, f"{path}: weights of {weights}")
    assert find_subject(Request(str(path), weights=task(made).folder)).mask == subject.mask
    with pytest.raises(InvalidValue, match="it decides a fresh network"):
        find_subject(Request(str(path), weights=weights, seed=1))
    with pytest.raises(MissingData, match="no file"):
        find_subject(Request(str(path), weights=tmp_path / "nowhere.safetensors"))
    (tmp_path / "weights.pt").write_bytes(b"PK pickled")
    with pytest.raises(BudbreakError, match="weights_only=True"):
        find_subject(Request(str(path), weights=tmp_path / "weights.pt"))
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(BudbreakError):
        find_subject(Request(str(path), weights=tmp_path / "other.safetensors"))


def test_the_mask_of_another_task_or_architecture_is_refused(made, tmp_path):
    own, other = (task(made, "host", seed).folder / "masks" / "level-000.safetensors" for seed in (0, 1))
    assert find_subject(Request(str(task(made).folder), mask=own)).mask is not None
    with pytest.raises(StoreMismatch, match="belongs to another store"):
        find_subject(Request(str(task(made).folder), mask=other))
    Mask({"fc1.weight": torch.ones(2, 2, dtype=torch.bool)}).save(tmp_path / "small.safetensors")
    path = tmp_path / "a.toml"
    path.write_text(to_toml(small().plain))
    with pytest.raises(MaskMismatch):
        find_subject(Request(str(path), mask=tmp_path / "small.safetensors"))


def test_code_is_imported_only_when_the_person_names_it(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "a.toml"
    path.write_text(to_toml(small({"network.name": "own_nets:make"}).plain))
    sys.modules.pop("own_nets", None)
    with pytest.raises(InvalidValue, match="if you trust it, add --network own_nets:make"):
        find_subject(Request(str(path)))
    with pytest.raises(InvalidValue, match="has the network 'own_nets:make'"):
        find_subject(Request(str(path), network="other_nets:make"))
    assert "own_nets" not in sys.modules
    assert find_subject(Request(str(path), network="own_nets:make")).mask is None
    factory = find_subject(Request("own_nets:make", dataset="digits"))
    assert (factory.dataset, factory.origin) == ("digits", "own_nets:make: fresh")
    with pytest.raises(InvalidValue, match="no data set was given"):
        find_subject(Request("own_nets:make"))


def test_folders_and_names_that_hold_nothing_say_so(made, tmp_path):
    with pytest.raises(MissingData, match=r"holds no task\.json"):
        find_subject(Request(str(tmp_path)))
    with pytest.raises(MissingData, match="neither a recipe, nor a folder"):
        find_subject(Request("digits"))
    with pytest.raises(MissingData, match="no recipe at"):
        find_subject(Request(str(tmp_path / "a.toml")))
    shutil.copytree(task(made).folder, tmp_path / "store")
    (tmp_path / "store" / "task.json").unlink()
    with pytest.raises(MissingData, match="is the store of an iteration of yours"):
        find_subject(Request(str(tmp_path / "store")))
    shutil.copytree(task(made).folder, tmp_path / "bare")
    for path in (tmp_path / "bare").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(MissingData, match="holds no checkpoint"):
        find_subject(Request(str(tmp_path / "bare")))


@pytest.mark.parametrize("name", ["tasks.json", "task.json"])
def test_damaged_descriptions_are_refused(name, made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    place = folder(tmp_path / "out") if name == "tasks.json" else tmp_path / "out/tasks" / task(made).folder.name
    (place / name).write_text("{}")
    with pytest.raises(BudbreakError, match=name.replace(".", r"\.")):
        find_subject(Request(str(folder(tmp_path / "out")), arm="host"))


def test_dead_neurons_are_measured_and_written(made, tmp_path):
    subject = find_subject(Request(str(folder(made)), arm="host"))
    dead = measure_subject(subject, part="train", images=100, threshold=0.0, every=1)
    save_measurement(tmp_path / "dead.json", subject, dead, part="train")
    body = json.loads((tmp_path / "dead.json").read_text())
    assert (body["dataset"], body["part"], body["kind"]) == ("digits", "train", "measurement 2")
    recorded = json.loads((folder(made) / "results.json").read_text())
    (last,) = [row for row in recorded["levels"] if (row["arm"], row["seed"], row["level"]) == ("host", 0, 1)]
    assert body["total"] == pytest.approx(last["numbers"]["dead_units_total"])
