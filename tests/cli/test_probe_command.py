"""``budbreak probe``: recipes, runs, tasks, factories, stores; and code that is imported only when it is named."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file
from small_commands import DIGITS, QUICK, sets, task_of

from budbreak.cli import main
from budbreak.files import read_tree


def saved(tmp_path, *arguments):
    """What ``--save`` wrote."""
    path = tmp_path / "dnr.json"
    assert main(["probe", *map(str, arguments), "--save", str(path)]) == 0
    body = json.loads(path.read_text())
    del body["sha256"]
    return body


def recorded(folder, arm="host", seed=0):
    return json.loads((task_of(folder, arm, seed) / "records.json").read_text())["records"][-1]["metrics"]


@pytest.mark.parametrize(("arm", "seed"), [("host", 0), ("host", 1), ("ap-lite", 0), ("ap-lite", 1)])
def test_an_arm_of_a_run_agrees_with_what_was_recorded(arm, seed, finished, tmp_path, capsys):
    body = saved(tmp_path, finished, "--arm", arm, "--seed", seed, "--images", 200)
    assert "dynamic among the living" in capsys.readouterr().out
    # the run counted on its 200 training images: the same, since validation is held out alike
    assert body["total"] == pytest.approx(recorded(finished, arm, seed)["dead_units_total"], abs=1e-12)
    assert (body["mask"], body["dtype"], body["samples"]) == ("given", "float32", 200)


def test_seed_0_is_meant_unless_one_is_named(finished, tmp_path):
    assert saved(tmp_path, finished, "--arm", "host") == saved(tmp_path, finished, "--arm", "host", "--seed", 0)


def test_the_folder_of_a_task_is_the_same_network(finished, tmp_path):
    by_arm = saved(tmp_path, finished, "--arm", "ap-lite", "--seed", 1)
    by_folder = saved(tmp_path, task_of(finished, "ap-lite", 1))
    assert {**by_arm, "model": ""} == {**by_folder, "model": ""}


def test_the_dense_network_that_arms_share_has_a_folder_too(finished, tmp_path):
    body = saved(tmp_path, next((finished.parent / "tasks").glob("dense-*")))
    assert (body["static"], body["mask"]) == (0.0, "given")


def test_a_recipe_and_a_factory_are_fresh_networks(tmp_path, capsys):
    assert saved(tmp_path, DIGITS)["model"] == f"{DIGITS}: fresh"
    assert main(["probe", "budbreak.networks.lenet:small_mlp", "--dataset", "digits"]) == 0
    assert saved(tmp_path, DIGITS, "--seed", 1)["total"] != saved(tmp_path, DIGITS)["total"]


def test_the_parts_are_those_of_the_recipe(tmp_path):
    out = tmp_path / "out"
    assert main(["run", DIGITS, *QUICK, *sets(data__validation=50), "--arms", "host", "--out", str(out)]) == 0
    (folder,) = {path.parent for path in out.glob("*/tasks.json")}
    for part, samples in (("validation", 50), ("train", 200), ("test", 360)):
        assert saved(tmp_path, folder, "--part", part)["samples"] == samples  # the only arm needs no name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "has several arms, and none was named\nit is one of 'host', 'ap-lite'\nadd --arm host"),
        (["--arm", "hots"], "has no arm 'hots'"),
        (["--arm", "hots"], "did you mean 'host'?"),
        (["--arm", "host", "--seed", "7"], "has no seed 7 of host\nit is one of '0', '1'"),
    ],
)
def test_an_arm_or_seed_that_a_run_has_not(arguments, words, finished, capsys):
    assert main(["probe", str(finished), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_an_arm_of_what_is_no_run(finished, capsys):
    for model in (DIGITS, str(task_of(finished, "host"))):
        assert main(["probe", model, "--arm", "host"]) == 1
        assert "is not the folder of a run" in capsys.readouterr().err


def test_given_weights_replace_those_of_the_task(finished, tmp_path, capsys):
    task = task_of(finished, "host")
    state = read_tree(task / "checkpoint.safetensors", "checkpoint 1")["model"]
    zeros = tmp_path / "zeros.safetensors"
    save_file({name: tensor * 0 for name, tensor in state.items()}, zeros)
    body = saved(tmp_path, task, "--weights", zeros)
    assert body["total"] == 1.0  # everything is dead without a weight or a bias
    assert body["mask"] != "given"  # that of the task says nothing of other weights
    for wrong in ([str(task)], [DIGITS, "--weights", str(zeros)]):
        capsys.readouterr()
        assert main(["probe", *wrong, "--seed", "0"]) == 1
        assert "it decides a fresh network" in capsys.readouterr().err


def test_the_networks_of_a_run_are_weights_that_a_probe_takes(finished, tmp_path):
    weights = finished / "networks" / "host-seed1.safetensors"
    body = saved(tmp_path, DIGITS, "--weights", weights, "--images", 200)
    assert body["total"] == pytest.approx(recorded(finished, "host", 1)["dead_units_total"], abs=1e-12)


def test_weights_of_torch_save_are_told_how_to_be_converted(tmp_path, capsys):
    import torch

    torch.save({}, tmp_path / "x.pt")
    assert main(["probe", DIGITS, "--weights", str(tmp_path / "x.pt")]) == 1
    assert 'save_file(torch.load("' in capsys.readouterr().err


def test_masks_of_another_network_and_of_another_task_are_refused(finished, capsys):
    mask = task_of(finished, "host") / "masks/level-001.safetensors"
    factory = ["probe", "budbreak.networks.lenet:lenet_300_100", "--dataset", "digits"]
    assert main([*factory, "--mask", str(mask)]) == 1
    assert "fits only the architecture" in capsys.readouterr().err
    assert main(["probe", str(task_of(finished, "host", 1)), "--mask", str(mask)]) == 1
    assert "belongs to another store" in capsys.readouterr().err
    assert main(["probe", str(task_of(finished, "host")), "--mask", str(mask)]) == 0


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "task.json"])
def test_a_tampered_file_is_refused(name, finished, tmp_path, capsys):
    task = tmp_path / "task"
    shutil.copytree(task_of(finished, "host"), task)
    data = bytearray((task / name).read_bytes())
    data[len(data) // 2] ^= 1
    (task / name).write_bytes(bytes(data))
    assert main(["probe", str(task)]) == 1
    assert name in capsys.readouterr().err


def test_a_folder_without_a_task_and_a_task_without_a_checkpoint(finished, tmp_path, capsys):
    assert main(["probe", str(tmp_path)]) == 1
    assert "holds no task.json" in capsys.readouterr().err
    shutil.copy(task_of(finished, "host") / "task.json", tmp_path)
    assert main(["probe", str(tmp_path)]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err


EVIL = "import pathlib\npathlib.Path('ran').touch()\nfrom budbreak.networks.lenet import small_mlp as make\n"


def test_files_name_no_code(tmp_path, monkeypatch, capsys):
    """A network of the user's own is imported by ``run``, which she starts, and else only when she names it."""
    (tmp_path / "evil_nets.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    recipe = Path(DIGITS).read_text().replace('"mlp"', '"evil_nets:make"')
    Path("a.toml").write_text(recipe)
    assert main(["run", "a.toml", *QUICK, "--arms", "host"]) == 0
    (folder,) = {path.parent for path in Path("runs").glob("*/tasks.json")}
    Path("ran").unlink()
    del sys.modules["evil_nets"]
    task = str(task_of(folder, "host"))
    for arguments in (["probe", task], ["probe", "a.toml"], ["probe", str(folder)]):
        capsys.readouterr()
        assert main(arguments) == 1
        assert "add --network evil_nets:make" in capsys.readouterr().err
    assert main(["report", str(folder)]) == 0
    assert main(["runs"]) == 0
    assert not Path("ran").exists()
    assert main(["probe", task, "--network", "other:make"]) == 1
    assert main(["probe", task, "--network", "evil_nets:make"]) == 0
    assert Path("ran").exists()


def test_a_store_of_ones_own_iteration(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import own_nets
    import torch

    import budbreak as bb
    from budbreak.data import batches, load, split

    model = own_nets.make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5))
    with bb.iterate(model, optimizer, plan, store="store") as levels:
        for level in levels:
            level.record(nothing=0)
    body = saved(tmp_path, "own_nets:make", "--dataset", "digits", "--weights", "store")
    expected = bb.dead_neurons(model, batches(split(load("digits")).train, 500), mask=levels.mask)
    assert (body["mask"], body["total"]) == ("given", pytest.approx(expected.total, abs=1e-12))
    capsys.readouterr()
    assert main(["probe", "store"]) == 1
    assert "--weights store" in capsys.readouterr().err
