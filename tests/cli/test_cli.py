import json
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from budbreak.cli import main
from budbreak.studies import Recipe

ROOT = Path(__file__).parent.parent.parent
DIGITS = str(ROOT / "recipes/digits-mlp.toml")
SHORT = [
    "--levels",
    "1",
    "--epochs",
    "2",
    "--milestones",
    "1",
    "--seeds",
    "2",
    "--train-limit",
    "200",
    "--workers",
    "1",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert main(["run", DIGITS, *SHORT, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


def test_a_run_leaves_everything_in_its_folder(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"recipe.toml", "results.json", "report.html", "levels.csv", "levels.json", "differences.csv"} <= names
    assert {path.name for path in (finished / "jobs").iterdir()} == {
        "host-seed0", "host-seed1", "ap-lite-seed0", "ap-lite-seed1",
    }  # fmt: skip


def test_the_same_command_again_only_shows_the_table(finished, capsys):
    assert main(["run", DIGITS, *SHORT, "--out", str(finished.parent)]) == 0
    out = capsys.readouterr().out
    assert "lambda = 80.0 %" in out
    assert str(finished) in out


def test_report_compares_runs(finished, tmp_path, capsys):
    assert main(["report", str(finished), str(finished), "--to", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "report:" in capsys.readouterr().out


def test_probe_of_a_job_a_recipe_and_a_factory_agree_with_what_was_recorded(finished, tmp_path, capsys):
    saved = tmp_path / "dnr.json"
    assert main(["probe", str(finished / "jobs/host-seed0"), "--images", "200", "--save", str(saved)]) == 0
    assert "dynamic among the living" in capsys.readouterr().out
    body = json.loads(saved.read_text())
    recorded = json.loads((finished / "jobs/host-seed0/records.json").read_text())["records"][-1]["metrics"]
    # the run counted on its 200 training images: the same, since validation is held out alike
    assert body["total"] == pytest.approx(recorded["dead_units_total"], abs=1e-12)
    assert (body["mask"], body["dtype"], body["samples"]) == ("given", "float32", 200)
    assert main(["probe", DIGITS]) == 0
    assert main(["probe", "budbreak.networks.lenet:small_mlp", "--dataset", "digits"]) == 0


def test_a_factory_in_the_current_folder_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n\ndef make(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["run", DIGITS, *SHORT, "--network", "my_nets:make", "--init", "own", "--out", str(tmp_path)]) == 0
    assert "80.1 %" in capsys.readouterr().out


def test_help_explains_every_field(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')}" in out for field in fields(Recipe))


@pytest.mark.parametrize("arguments", [["run", DIGITS, "--seed", "3"], ["probe", DIGITS, "--data", "x"], ["--vers"]])
def test_flags_are_not_abbreviated(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_what_a_flag_sets_aside_is_said(capsys):
    assert main(["run", DIGITS, "--arms", "host", "--dry-run"]) == 0
    assert "q of" in capsys.readouterr().out


WRONG = [
    (["run", "nowhere.toml"], "no recipe at nowhere.toml"),
    (["run", DIGITS, "--rate", "20"], "a percentage? write 0.2"),
    (["run", DIGITS, "--criterion", "magnitde"], "did you mean 'magnitude'?"),
    (["run", DIGITS, "--dataset", "mnist", "--data-dir", "nowhere"], "budbreak data get mnist"),
    (["run", DIGITS, "--dataset", "mnist"], "data"),
    (["run", DIGITS, "--q", "0.3"], "choose a smaller q"),
    (["run", DIGITS, "--sparsity", "0.9"], "sparsity has no effect"),
    (["run", DIGITS, "--augment", "true"], "images of 8 x 8 pixels"),
    (["run", DIGITS, "--exclude", "*"], "no prunable weight"),
    (["run", DIGITS, "--network", "nowhere:make"], "cannot import 'nowhere'"),
    (["run", DIGITS, "--log", "nowhere:log"], "cannot import 'nowhere'"),
    (["run", DIGITS, "--data-dir", "x"], "take data_dir out"),
    (["probe", "nowhere"], "neither a recipe, nor a folder"),
    (["run", DIGITS, "--log", "..:x"], "name the module in full"),
    (["run", DIGITS, "--log", "budbreak:__version__"], "is of type str"),
    (["run", DIGITS, "--network", "builtins:exit"], "raised SystemExit"),
    (["run", DIGITS, "--out", DIGITS], "cannot write"),
    (["run", DIGITS, "--out", "x" * 300], "File name too long"),
    (["run", "x" * 300 + ".toml"], "File name too long"),
    (["run", str(ROOT)], "is a folder"),
    (["probe", "torch.nn:Identity"], "add --dataset NAME"),
    (["probe", DIGITS, "--network", "torch.nn:Identity"], "has the network 'mlp'"),
    (["probe", DIGITS, "--weights", str(ROOT / "README.md")], "whole safetensors file"),
    (["probe", DIGITS, "--mask", DIGITS], "not a whole safetensors file"),
    (["report", "nowhere"], "holds no results.json"),
    (["data", "get", "mnits", "--data-dir", "x"], "did you mean 'mnist'?"),
    (["data", "get", "digits", "--data-dir", "x"], "comes with scikit-learn"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(map(str, a))[-60:] for a, _ in WRONG])
def test_wrong_input_gives_one_clear_error_and_exit_code_1(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert "Traceback" not in error


def test_weights_of_torch_save_are_told_how_to_be_converted(tmp_path, capsys):
    import torch

    torch.save({}, tmp_path / "x.pt")
    assert main(["probe", DIGITS, "--weights", str(tmp_path / "x.pt")]) == 1
    assert 'save_file(torch.load("' in capsys.readouterr().err


def test_a_run_folder_names_no_code(finished, tmp_path, monkeypatch, capsys):
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    (tmp_path / "evil.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\nfrom budbreak.networks.lenet import small_mlp as make\n"
    )
    text = (copy / "recipe.toml").read_text()
    (copy / "recipe.toml").write_text(text.replace('"mlp"', '"evil:make"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for arguments in (
        ["probe", str(copy / "jobs/host-seed0")],
        ["probe", str(copy / "recipe.toml")],
        ["report", str(copy)],
    ):
        main(arguments)
        assert not (tmp_path / "ran").exists()
    assert "add --network evil:make" in capsys.readouterr().err
    main(["probe", str(copy / "recipe.toml"), "--network", "evil:make"])
    assert (tmp_path / "ran").exists()


@pytest.mark.slow
def test_nothing_in_the_current_folder_hides_a_library(tmp_path):
    """Nor is it looked into at all unless the user names code of her own."""
    for name in ("sklearn", "safetensors", "pickle", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise ImportError('hidden')\n")
    own = ["--network", "budbreak.networks.lenet:small_mlp", "--seeds", "1", "--workers", "2"]
    command = [sys.executable, "-P", "-m", "budbreak", "run", DIGITS, *SHORT[:-4], *own, "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "ran").exists()) == (0, False), done.stderr


def test_a_job_folder_without_a_checkpoint(tmp_path, capsys):
    assert main(["probe", str(tmp_path)]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err


def test_a_mask_of_another_architecture_is_refused(finished, tmp_path, capsys):
    mask = finished / "jobs/host-seed0/masks/level-001.safetensors"
    arguments = ["probe", "budbreak.networks.lenet:lenet_300_100", "--dataset", "digits", "--mask", str(mask)]
    assert main(arguments) == 1
    assert "fits only the architecture" in capsys.readouterr().err


def test_a_tampered_checkpoint_is_refused(finished, tmp_path, capsys):
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    path = copy / "jobs/host-seed0/checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    assert main(["probe", str(copy / "jobs/host-seed0")]) == 1
    assert "does not match its checksum" in capsys.readouterr().err


def test_the_sink_gets_flat_numbers_each_of_one_meaning(tmp_path, monkeypatch):
    (tmp_path / "tracker.py").write_text("seen = []\nlog = seen.append\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", DIGITS, *SHORT, "--out", str(tmp_path / "out"), "--log", "tracker:log"]) == 0
    import tracker

    mine = [entry for entry in tracker.seen if entry["job"] == "host-seed1" and "test_accuracy" not in entry]
    places = [(e["level"], e["epoch"], e["epochs_done"], e["epochs_total"]) for e in mine]
    assert places == [(0, 1, 1, 4), (0, 2, 2, 4), (1, 1, 3, 4), (1, 2, 4, 4)]
    assert any("test_accuracy" in entry for entry in tracker.seen)


def test_a_sink_that_raises_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad_tracker.py").write_text("def log(entry):\n    raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", DIGITS, *SHORT, "--out", str(tmp_path / "out"), "--log", "bad_tracker:log"]) == 0
    err = capsys.readouterr().err
    assert err.count("bad_tracker:log raised SystemExit: 3") == 1
    assert "bad_tracker.py, line 2" in err


@pytest.mark.slow
def test_the_command_is_installed():
    done = subprocess.run([sys.executable, "-m", "budbreak", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("budbreak 0.")


def test_probe_sees_the_parts_as_the_recipe_splits_them(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", DIGITS, *SHORT, "--seeds", "1", "--validation", "50", "--out", str(out)]) == 0
    job = next(out.glob("*/jobs/host-seed0"))
    saved = tmp_path / "dnr.json"
    for part, samples in (("validation", 50), ("train", 200), ("test", 360)):
        assert main(["probe", str(job), "--part", part, "--save", str(saved)]) == 0
        assert json.loads(saved.read_text())["samples"] == samples


def test_probe_of_a_store_of_ones_own_iteration(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_nets.py").write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import own_nets
    import torch

    import budbreak as bb

    model = own_nets.make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5))
    with bb.iterate(model, optimizer, plan, store="store") as levels:
        for level in levels:
            level.record(nothing=0)
    arguments = ["own_nets:make", "--dataset", "digits", "--weights", "store", "--save", "dnr.json"]
    assert main(["probe", *arguments]) == 0
    body = json.loads((tmp_path / "dnr.json").read_text())
    expected = bb.dead_neurons(model, _digits_train(), mask=levels.mask)
    assert (body["mask"], body["total"]) == ("given", pytest.approx(expected.total, abs=1e-12))
    capsys.readouterr()
    assert main(["probe", "store"]) == 1
    assert "--weights store" in capsys.readouterr().err


def _digits_train():
    from budbreak.data import batches, load, split

    return batches(split(load("digits")).train, 500)


def test_given_weights_replace_those_of_the_job(finished, tmp_path, capsys):
    from safetensors.torch import save_file

    from budbreak.files import read_tree

    job = finished / "jobs/host-seed0"
    state = read_tree(job / "checkpoint.safetensors", "checkpoint 1")["model"]
    zeros = {name: tensor * 0 for name, tensor in state.items()}
    save_file(zeros, tmp_path / "zeros.safetensors")
    saved = tmp_path / "dnr.json"
    assert main(["probe", str(job), "--weights", str(tmp_path / "zeros.safetensors"), "--save", str(saved)]) == 0
    body = json.loads(saved.read_text())
    assert body["total"] == 1.0  # everything is dead without a weight or a bias
    assert body["mask"] != "given"  # that of the job says nothing of other weights
    for wrong in ([str(job)], [DIGITS, "--weights", str(tmp_path / "zeros.safetensors")]):
        capsys.readouterr()
        assert main(["probe", *wrong, "--seed", "0"]) == 1
        assert "it decides a fresh network" in capsys.readouterr().err
