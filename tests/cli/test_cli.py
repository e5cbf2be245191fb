"""Wrong input, code of the user's own, trackers, and what the other subcommands do."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_commands import DIGITS, QUICK, ROOT, TINY, sets

from budbreak.cli import main

OWN_NETWORK = (
    "from torch import nn\n\ndef make(classes):\n"
    "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
)
OWN_CRITERION = """
from dataclasses import dataclass

import budbreak as bb
from budbreak.evidence import Weights


@dataclass(frozen=True)
class Mine:
    alpha: float = 1.0

    needs = (Weights(),)

    def __call__(self, evidence):
        return bb.Scores.elementwise(lambda w: w.abs() ** self.alpha, evidence[Weights()])
"""


def test_report_compares_runs(finished, tmp_path, capsys):
    assert main(["report", str(finished), str(finished), "--to", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "report:" in capsys.readouterr().out


def test_a_factory_in_the_current_folder_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_nets.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["run", DIGITS, *QUICK, *sets(network__name="my_nets:make"), "--out", str(tmp_path)]) == 0
    assert "80.1 %" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_find_a_criterion_beside_the_recipe_and_give_the_networks_of_one(
    finished, tmp_path, monkeypatch, capsys
):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/my_scores.py").write_text(OWN_CRITERION)
    arm = '\n[arms.mine]\n"prune.criterion" = {is = "my_scores:Mine", alpha = 0.3}\n'
    (tmp_path / "there/a.toml").write_text(Path(DIGITS).read_text() + arm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    command = ["run", "there/a.toml", *QUICK, "--arms", "host,mine", "--workers", "2"]
    assert main(command) == 0
    assert "mine against host" in capsys.readouterr().out
    # |w|^0.3 orders weights as |w| does: the same network
    for seed in (0, 1):
        host, mine = (
            next(Path("runs").glob(f"*/networks/{arm}-seed{seed}.*")).read_bytes() for arm in ("host", "mine")
        )
        assert host == mine == (finished / f"networks/host-seed{seed}.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('broken')\n", ["broken_scores.py, line 1", "broken"]),
        ("class Mine:\n    pass\n", ["Mine is no frozen dataclass"]),
        (OWN_CRITERION.replace("    needs = (Weights(),)\n", ""), ["Mine has no needs", "add needs to class Mine"]),
        (OWN_CRITERION.replace("alpha", "beta"), ["alpha"]),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_with_its_place(text, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_scores.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("broken_scores", None)
    value = 'prune.criterion={is = "broken_scores:Mine", alpha = 0.3}'
    assert main(["run", DIGITS, "--set", value, "--out", "out"]) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert "prune.criterion" in error
    assert len(error.strip().splitlines()) <= 3
    assert not (tmp_path / "out").exists()


WRONG = [
    (["run", "nowhere.toml"], "no recipe at nowhere.toml"),
    (["run", DIGITS, *sets(prune__schedule__rate=20)], "a percentage? write 0.2"),
    (["run", DIGITS, *sets(prune__criterion="magnitde")], "did you mean 'magnitude'?"),
    (["run", DIGITS, *sets(prune__criterio="taylor")], "did you mean 'criterion'?"),
    (["run", DIGITS, *sets(prun__criterion="taylor")], "did you mean 'prune'?"),
    (["run", DIGITS, *sets(epochs=3)], "did you mean epochs in [train]?"),
    (["run", DIGITS, *sets(train=3)], "write train.epochs"),
    (["run", DIGITS, *sets(train__epochs="3.5")], "train.epochs is 3.5\nit must be a whole number"),
    (["run", DIGITS, *sets(train__epochs__more=3)], "a path goes on only into the arguments of a value"),
    (["run", DIGITS, *sets(prune__schedule__levls=3)], "did you mean 'levels'?"),
    (["run", DIGITS, "--set", "train.epochs"], "it is PATH=VALUE"),
    (["run", DIGITS, "--set", "prune.exclude=[fc1"], "is written as in TOML"),
    (["run", DIGITS, *sets(train__epochs=3), *sets(train__epochs=4)], "--set train.epochs is given twice"),
    (["run", DIGITS, "--arms", "hots"], "did you mean 'host'?"),
    (["run", DIGITS, "--arms", ","], "write --arms host,ap"),
    (["run", DIGITS, "--seeds", "0"], "seeds is 0"),
    (["run", DIGITS, *sets(data__name="mnist"), "--data-dir", "nowhere"], "budbreak data get mnist"),
    (["run", DIGITS, *sets(data__name="mnist")], "data"),
    (["run", DIGITS, *sets(prune__images=50)], "a field without effect is refused"),
    (["run", DIGITS, *sets(data__augment="true")], "images of 8 x 8 pixels"),
    (["run", DIGITS, "--set", 'prune.exclude=["*"]'], "no prunable weight"),
    (["run", DIGITS, *sets(network__name="nowhere:make")], "cannot import 'nowhere'"),
    (["run", DIGITS, *sets(prune__criterion="nowhere:Mine")], "cannot import 'nowhere'"),
    (["run", DIGITS, "--log", "nowhere:log"], "cannot import 'nowhere'"),
    (["run", DIGITS, "--data-dir", "x"], "take data_dir out"),
    (["probe", "nowhere"], "neither a recipe, nor a folder"),
    (["run", DIGITS, "--log", "..:x"], "name the module in full"),
    (["run", DIGITS, "--log", "budbreak:__version__"], "is of type str"),
    (["run", DIGITS, *sets(network__name="builtins:exit")], "raised SystemExit"),
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


BODY = """
[data]
name = "digits"
[network]
name = "mlp"
[train]
epochs = 1
[prune]
schedule = "dense"
"""
WRONG_RECIPES = [
    ("[arms.a]\n[arms.b]\nreference = 'c'\n", "arm 'b' has the reference 'c'"),
    ("[arms.a]\nreference = 'b'\n[arms.b]\nreference = 'a'\n", "refer to each other in a circle: "),
    ("[arms.a]\nreference = 'a'\n", "in a circle: a -> a"),
    ("[arms.a]\n'prune.criterio' = 'taylor'\n", "did you mean 'criterion'?"),
    ("[arms.a]\n'train.epochs' = 0\n", "train.epochs is 0\nit must be at least 1"),
    ("[arms.'a b']\n", "an arm is named 'a b'"),
    ("[arms.'[red]']\n", "write [arms.red]"),
    ("[arms.'a/\u00e9.b']\n", 'write [arms."a-\u00e9.b"]'),
    ("[grid]\n'train.epochs' = 3\n", "it is a list of the values to try"),
    ("[grid]\n'train.epochs' = [3, 3]\n", "each value is in the list once"),
    ("[grid]\n'train.epoch' = [3]\n", "did you mean 'epochs'?"),
    (f"[grid]\n'train.epochs' = {list(range(1, 300))}\n'data.limit' = {list(range(1, 400))}\n", "119,301 cells"),
    ("[tran]\nepochs = 1\n", "did you mean 'train'?"),
    ("arms = 3\n", ""),
]


@pytest.mark.parametrize(
    ("more", "words"), WRONG_RECIPES, ids=[text.replace("\n", " ")[:40] for text, _ in WRONG_RECIPES]
)
def test_a_wrong_recipe_gives_one_clear_error_and_exit_code_1(more, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(BODY + more)
    assert main(["run", "a.toml", "--dry-run"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert len(error.strip().splitlines()) <= 3
    assert len(error) < 3000


def test_a_grid_of_ten_thousand_cells_says_its_cost_and_wants_yes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(
        BODY + f"[grid]\n'train.epochs' = {list(range(1, 101))}\n'data.limit' = {list(range(100, 200))}\n"
    )
    assert main(["run", "a.toml", "--seeds", "1"]) == 1
    error = capsys.readouterr().err
    assert "10,000 arms x 1 seeds" in error
    assert "505,000 epochs in all" in error  # 100 x (1 + ... + 100)
    assert "add --yes" in error


@pytest.mark.slow
def test_nothing_in_the_current_folder_hides_a_library(tmp_path):
    """Nor is it looked into at all unless the user names code of her own."""
    for name in ("sklearn", "safetensors", "pickle", "queue", "pydantic", "loky", "cloudpickle"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise ImportError('hidden')\n")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    own = [*sets(network__name="budbreak.networks.lenet:small_mlp"), "--executor", "processes"]
    command = [sys.executable, "-P", "-m", "budbreak", "run", DIGITS, *TINY, *own, "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "ran").exists()) == (0, False), done.stderr


def test_a_recipe_that_names_no_code_looks_for_none(tmp_path, monkeypatch):
    """Libraries try to import what is not installed: a file of that name must not be taken for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("a.toml").write_text(Path(DIGITS).read_text())
    assert main(["run", "a.toml", *TINY, "--dry-run"]) == 0
    assert str(tmp_path) not in sys.path


def test_the_sink_gets_flat_numbers_each_of_one_meaning(tmp_path, monkeypatch):
    (tmp_path / "tracker.py").write_text("seen = []\nlog = seen.append\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", DIGITS, *QUICK, "--out", str(tmp_path / "out"), "--log", "tracker:log"]) == 0
    import tracker

    ours = [entry for entry in tracker.seen if "seed 1" in entry["task"] and "ap" not in entry["task"]]
    epochs = [entry for entry in ours if "test_accuracy" not in entry]
    places = [(e["level"], e["epoch"], e["epochs_done"], e["epochs_total"]) for e in epochs]
    assert places == [(0, 1, 1, 2), (0, 2, 2, 2), (1, 1, 1, 2), (1, 2, 2, 2)]
    assert [entry["level"] for entry in ours if "test_accuracy" in entry] == [0, 1]
    assert epochs[-1]["density"] == pytest.approx(0.8)
    assert {"train_loss", "validation_accuracy"} <= set(epochs[0])
    assert all(isinstance(value, int | float | str) for entry in tracker.seen for value in entry.values())


def test_a_sink_that_raises_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad_tracker.py").write_text("def log(entry):\n    raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", DIGITS, *QUICK, "--out", str(tmp_path / "out"), "--log", "bad_tracker:log"]) == 0
    err = capsys.readouterr().err
    assert err.count("bad_tracker:log raised SystemExit: 3") == 1
    assert "bad_tracker.py, line 2" in err


@pytest.mark.slow
def test_the_command_is_installed():
    done = subprocess.run([sys.executable, "-m", "budbreak", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("budbreak 0.")
