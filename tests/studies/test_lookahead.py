"""What cannot work is said in one clear error before anything is trained."""

import importlib
import shutil
import sys

import pytest

from budbreak.errors import BudbreakError, InvalidValue, StoreMismatch
from budbreak.studies import look_ahead, run
from budbreak.studies.recipe import make_recipe

TINY = {
    "name": "tiny", "dataset": "digits", "network": "mlp", "train_limit": 200, "epochs": 2, "levels": 1, "seeds": 1,
    "batch_size": 50, "dnr_images": 100,
}  # fmt: skip

NETS = """
import sys
import torch
from torch import nn

def wrong_input(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))

def wrong_outputs():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1000))

def unflattened(classes):
    return nn.Linear(8, classes)

def raises(classes):
    raise RuntimeError("no such luck")

def leaves():
    sys.exit(0)

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, x):
        out = self.inner(x.flatten(1))
        return out, out

class Stuck(Pair):
    def forward(self, x):
        return self.inner(x.flatten(1)).detach()

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 12), nn.Linear(12, 10)

    def forward(self, x):
        return self.two(torch.relu(self.one(x.flatten(1))))

class Partly(Functional):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.two(torch.tanh(self.relu(self.one(x.flatten(1)))))

def normed(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))

count = 0

def moody(classes):
    global count
    count += 1
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8 + count % 2), nn.ReLU(), nn.Linear(8 + count % 2, classes))

number = 3
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "odd_nets.py").write_text(NETS)
    (tmp_path / "half_nets.py").write_text("def make(:\n")
    (tmp_path / "rude_nets.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


WRONG = [
    ("odd_nets:wrong_input", {}, ["[8, 1, 8, 8]", "mat1"]),
    ("odd_nets:wrong_outputs", {}, ["gave a tensor of shape [8, 1000]", "10 classes"]),
    ("odd_nets:unflattened", {}, ["gave a tensor of shape [8, 1, 8, 10]"]),
    ("odd_nets:raises", {}, ["RuntimeError: no such luck", "odd_nets.py, line 16"]),
    ("odd_nets:leaves", {}, ["SystemExit", "odd_nets.py, line 19"]),
    ("odd_nets:Pair", {}, ["gave a tuple"]),
    ("odd_nets:Stuck", {}, ["a training step", "does not require grad"]),
    ("odd_nets:number", {}, ["is of type int"]),
    ("odd_nets:normed", {"batch_size": 199}, ["Expected more than 1 value"]),  # the last batch holds one image
    ("odd_nets:moody", {}, ["two different networks for one seed"]),
    ("half_nets:make", {}, ["SyntaxError", "half_nets.py, line 1"]),
    ("rude_nets:make", {}, ["SystemExit", "rude_nets.py, line 1"]),
    ("builtins:exit", {}, ["SystemExit"]),
    ("torch:tensor", {}, ["does not say what it is called with"]),
    ("..:x", {}, ["name the module in full"]),
    (":x", {}, ["name the module in full"]),
    ("torch.nowhere:x", {}, ["cannot import 'torch.nowhere'"]),
    ("mlp", {"batch_size": 201}, ["batch_size is 201", "200 training images"]),
    ("mlp", {"train_limit": 5000}, ["train_limit is 5000", "1237 training images"]),
    ("mlp", {"milestones": [0.01]}, ["falls on step 0 of 8"]),
    ("mlp", {"milestones": [1.99]}, ["falls on step 8 of 8"]),
    ("mlp", {"warmup": 0.01}, ["warmup is 0.01 epochs"]),
]


@pytest.mark.parametrize(("network", "change", "words"), WRONG, ids=[f"{n} {c}" for n, c, _ in WRONG])
def test_one_clear_error(network, change, words, nets, tmp_path):
    recipe = make_recipe({**TINY, "network": network, **change})
    with pytest.raises(BudbreakError) as caught:
        look_ahead(recipe, data_dir=None, out=tmp_path / "out")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_works_passes_and_leaves_the_generators(nets, tmp_path):
    import torch

    before = torch.random.get_rng_state()
    overview = look_ahead(make_recipe({**TINY, "network": "odd_nets:normed"}), data_dir=None, out=tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (overview.unseen, overview.jobs, overview.epochs) == ("", 2, 8)


def test_a_network_whose_activations_are_not_seen_is_pruned_without_dead_neuron_rates(nets, tmp_path):
    recipe = make_recipe({**TINY, "network": "odd_nets:Functional", "seeds": 2})
    overview = look_ahead(recipe, data_dir=None, out=tmp_path)
    assert "no dead neuron rate: " in str(overview)
    assert "torch.relu called in the model itself (odd_nets.py:" in str(overview)
    result = run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert result.complete
    assert not any(key.startswith("dead_units") for level in result.levels for key in level.numbers)
    assert {row.quantity for row in result.differences} == {"test_accuracy", "validation_accuracy", "train_loss"}
    from budbreak.report import conclusion, terminal_table, write_report

    assert "DNR" not in terminal_table(result) + conclusion(result)
    assert write_report([result], tmp_path / "report").is_file()


def test_activations_that_are_not_seen_beside_others_are_named(nets, tmp_path):
    recipe = make_recipe({**TINY, "network": "odd_nets:Partly"})
    overview = str(look_ahead(recipe, data_dir=None, out=tmp_path))
    assert "no dead neuron rate" not in overview
    assert "not in these numbers: torch.tanh called in the model itself (odd_nets.py:" in overview


def test_an_error_of_ours_in_a_factory_keeps_its_kind(nets):
    from budbreak.foreign import call_foreign

    def ours():
        raise InvalidValue("this", "that")

    with pytest.raises(InvalidValue, match=r"^this"):
        call_foreign("it", ours, rule="")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("8", "9"), r"modules.1: 'Linear(in_features=64, out_features=8"),
        (("nn.ReLU()", "nn.GELU()"), "modules.2: 'ReLU()' -> \"GELU(approximate='none')\""),
        (("# more", "nn.init.zeros_(model[1].bias)"), "first values.seed 0"),
    ],
)
def test_a_changed_factory_does_not_get_the_old_table(change, difference, tmp_path, monkeypatch):
    text = (
        "from torch import nn\n\ndef make(classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
        "    # more\n"
        "    return model\n"
    )
    path = tmp_path / "changing_nets.py"
    path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = make_recipe({**TINY, "network": "changing_nets:make"})
    assert run(recipe, data_dir=None, out=tmp_path, workers=1).complete
    path.write_text(text.replace(*change))
    sys.modules.pop("changing_nets")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    importlib.invalidate_caches()
    with pytest.raises(StoreMismatch) as caught:
        run(recipe, data_dir=None, out=tmp_path, workers=1)
    assert difference in str(caught.value)
    sys.modules.pop("changing_nets")
