"""Errors of a recipe speak TOML: its fields, its names, its true and false, and nothing that only Python writes."""

from __future__ import annotations

import re
import tomllib

import pytest

from budbreak.errors import BudbreakError
from budbreak.recipes.sections import FAMILIES
from budbreak.recipes.spelling import respelt
from budbreak.studies import RunFailed, look_ahead, run
from budbreak.values import decode
from enrolled import instances
from small import choose, small, write_module

NM = {"is": "nm", "n": 2, "of": 4}
HALF = {"is": "one-shot", "sparsity": 0.5}
UNTRAINED = {"prune.train_dense": False}
ODD = """
from dataclasses import dataclass
from torch import nn

@dataclass(frozen=True)
class Reviving:
    share: float = 0.5
    levels = 2
    def __call__(self, progress):
        return self.share / (1 + progress.level)

@dataclass(frozen=True)
class Reading(Reviving):
    reads = ("validation_acuracy",)

@dataclass(frozen=True)
class Tested(Reviving):
    reads = ("test_accuracy",)

class Some(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one, self.two, self.act = nn.Linear(64, 12), nn.Linear(12, classes), nn.GELU()
        self.never, self.up = nn.Linear(4, 4), nn.ConvTranspose2d(1, 4, 3)
    def forward(self, x):
        return self.two(self.act(self.one(x.flatten(1))))

class Rows(nn.Module):
    def __init__(self, classes, shape):
        super().__init__()
        self.gru = nn.GRU(shape[2], classes, batch_first=True)
    def forward(self, x):
        return self.gru(x[:, 0])[0][:, -1]

def lazy(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

class Minus(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, classes)
    def forward(self, x):
        return self.two(x.flatten(1) - 3 * self.one(x.flatten(1)).relu())

def only_outputs(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
SOME = {"network.name": "odd:Some"}
WRONG = [
    ("data.name", "MNIST", {}, "did you mean 'mnist'?"),
    ("data.augment", "True", {}, "it must be true or false"),
    ("network.name", "MLP()", {}, "did you mean 'mlp'?"),
    ("network.name", "odd:lazy", {}, "has no shape yet"),
    ("network.name", "odd:Rows", {}, "choose a network with Linear layers or convolutions"),
    ("train.optimizer", "SGD()", {}, "did you mean 'sgd'?"),
    ("train.optimizer", {"is": "sgd", "lr": 0.1}, {}, "'sgd' has no argument 'lr'"),
    ("train.optimizer", {"is": "sgd", "nesterov": True, "momentum": 0.0}, {}, "add momentum = 0.9"),
    ("train.until", {"is": "accuracy-gates", "prunings": 1, "start": 0.9, "final": 0.8}, {}, "write start = 0.8, fin"),
    ("train.until", {"is": "accuracy-gates", "prunings": 9}, {}, "write prunings = 1"),
    ("train.schedule", {"is": "steps", "milestones": 1}, {}, "write [1.0]"),
    ("train.schedule", {"is": "steps", "milestones": []}, {}, "leave the rate constant"),
    ("train.schedule", {"is": "plateau", "patience": 9}, {}, "leave the rate constant"),
    ("train.schedule", {"is": "cosine", "warmup": 1.9}, {}, "train.schedule: after the warm-up"),
    ("train.penalty", "nuclear-norm", {}, "did you mean 'weighted-nuclear-norm'?"),
    ("train.penalty", {"is": "schatten-p", "strength": 0.1, "p": 2}, {}, "p is 2"),
    ("train.penalty_every", 5, {}, 'write penalty = {is = "weighted-nuclear-norm", strength = 1e-4}'),
    ("train.schedule", {"is": "linear", "end": 0.0}, {"prune.rewind": "none"}, 'train.schedule "linear" ends at'),
    ("prune.criterion", "bb.criteria.Taylor()", {}, "did you mean 'taylor'?"),
    ("prune.criterion", {"alpha": 1}, {}, "is {alpha = 1}, without `is`"),
    ("prune.criterion", {"is": "magnitude", "p": 2}, {}, "'magnitude' takes no arguments"),
    ("prune.criterion", "snip", {}, 'write train_dense = false; after a training, SNIP\'s formula is that of "taylor"'),
    ("prune.criterion", {"is": "grasp", "mode": "x"}, {}, "mode is 'x'"),
    ("prune.criterion", {"is": "grasp", "temperature": 0}, {}, "temperature is 0.0"),
    ("prune.criterion", {"is": "synflow", "shape": [1, 2]}, UNTRAINED, "given ones of the shape [1, 1, 2]"),
    ("prune.criterion", "synflow", {**UNTRAINED, "network.name": "odd:Minus"}, "or by a forward of your own"),
    ("prune.criterion", {"is": "apoz", "threshold": -1}, {}, "write threshold = 0.0 for ReLU"),
    ("prune.criterion", "apoz", SOME, 'give {is = "apoz", threshold = 0.01}, say'),
    ("prune.criterion", "activation-count", SOME, "write threshold = 0.01, say"),
    ("prune.criterion", "lookahead", SOME, 'leave it out: exclude = ["never.weight"]'),
    ("prune.criterion", "wanda", SOME, 'leave it out: exclude = ["never.weight"]'),
    ("prune.criterion", {"is": "movement", "every": 2}, UNTRAINED, '{is = "movement", every = 2} is to remove'),
    ("prune.criterion", "snip", {**UNTRAINED, "prune.then": ["train", "remove"]}, 'after a "train" by another'),
    ("prune.schedule", {"is": "geometric", "rate": "20 %", "levels": 2}, {}, "a percentage? write 0.2"),
    ("prune.schedule", {"is": "geometric", "rate": 0.9, "levels": 40}, {}, '{is = "geometric", rate = 0.9, levels'),
    ("prune.schedule", "geometric", {}, "'geometric' has no default for them"),
    ("prune.schedule", "odd:Reviving", {}, '2 of {is = "odd:Reviving", share = 0.5} keeps'),
    ("prune.schedule", "odd:Reading", {}, "did you mean 'validation_accuracy'?"),
    ("prune.schedule", "odd:Tested", {}, "it is one of 'validation_accuracy', 'train_loss'"),
    ("prune.then", ["ap"], UNTRAINED, '(train_dense = false)\nit looks at a training that is over'),
    ("prune.then", ["ap"], {"prune.granularity": "unit"}, '"ap" after a host of granularity "unit"'),
    ("prune.then", ["remove"], {"prune.scope": NM, "prune.schedule": HALF}, '"remove" after a host of scope 2:4'),
    ("prune.then", [{"is": "ap", "q": 0.5}], {}, 'level 1 of {is = "geometric", rate = 0.2, levels = 1} removes'),
    ("prune.granularity", {"is": "unit", "dim": 7}, {}, '{is = "unit", dim = 7} on \'fc1.weight\''),
    ("prune.granularity", {"is": "unit", "outputs": "fc3.weight"}, {}, 'write ["fc3.weight"]'),
    ("prune.granularity", "unit", {"network.name": "odd:only_outputs"}, 'granularity = {is = "unit", outputs = []}'),
    ("prune.granularity", {"is": "block"}, {}, "'block' has no default for them"),
    ("prune.scope", "local", {}, 'write "layer"'),
    ("train.optimizer", "RobustAdam", {}, 'write "tadam"'),
    ("train.schedule", "cosine-warm-restarts", {}, 'write {is = "cosine", cycle = 10}'),
    ("prune.scope", "2:4", {}, 'write {is = "nm", n = 2, of = 4}'),
    ("prune.scope", {"is": "nm", "n": 4, "of": 2}, {}, 'write {is = "nm", n = 2, of = 4}'),
    ("prune.scope", NM, {}, 'exclude = ["fc3.weight"]; or write {is = "nm", n = 2, of = 4, remainder = "pad"}'),
    ("prune.scope", {**NM, "dim": 0}, {}, 'exclude = ["fc2.weight"]; or'),
    ("prune.scope", "rows", {"prune.granularity": "unit"}, 'granularity = "element", or another scope'),
    ("prune.allocation", "Uniform()", {"prune.scope": "layer"}, "did you mean 'uniform'?"),
    ("prune.allocation", "erk", {"prune.scope": "layer", "prune.granularity": "unit"}, "or another allocation"),
    ("prune.allocation", {"is": "erk"}, {}, 'is {is = "erk"}\nin this scope'),
    ("prune.floor", True, {}, "prune.floor is true"),
    ("prune.floor", "1 %", {}, "a percentage? write 0.01"),
    ("prune.floor", 0.9, {}, "lower the floor"),
    ("prune.exclude", "fc*", {}, 'write exclude = ["fc*"]'),
    ("prune.exclude", ["*"], {}, 'the rule exclude = ["*"]; it has'),
    ("prune.rounds", 3, {"prune.scope": NM, "prune.schedule": HALF, "prune.exclude": ["fc3.*"]}, "write rounds = 1"),
    ("activations.use", "Swish()", {}, "did you mean 'swish'?"),
    ("activations.use", "silu", {}, 'write "swish"'),
    ("activations.use", "SiLU", {}, 'write "swish"'),
    ("activations.use", "h-swish", {}, 'write "hardswish"'),
    ("activations.use", "lrelu", {}, 'write "leaky-relu"'),
    ("activations.use", "pade", {}, 'write "rational"'),
    ("activations.use", "soft-root-sign", {}, 'write "srs"'),
    ("activations.use", {"is": "swish", "alpha": "1"}, {}, "it must be a finite number"),
    ("activations.use", "swish", {"network.name": "odd:only_outputs"}, "calls no activation"),
    ("activations.space", ["relu"], {}, 'write use = "relu"'),
    ("activations.space", "relu", {}, "'paper'"),
    ("activations.space", ["relu", "srs"], {}, "write activations.epochs = 2, or fewer"),
    ("activations.sampler", "LateAcceptance()", {"activations.space": "paper"}, "did you mean 'late-acceptance'?"),
    ("activations.sampler", "lahc", {"activations.space": "paper"}, 'write "late-acceptance"'),
    ("activations.sampler", "GA", {"activations.space": "paper"}, 'write "genetic"'),
    ("activations.sampler", "sa", {"activations.space": "paper"}, 'write "simulated-annealing"'),
    ("activations.sampler", "rs", {"activations.space": "paper"}, 'write "random-search"'),
    ("activations.sampler", {"is": "genetic", "mutation": 3}, {"activations.space": "paper"}, "write mutation = 0.5"),
    ("activations.sampler", "genetic", {}, 'write activations.space = "paper"'),
    ("activations.stop", {"is": "lagging", "quantile": 2}, {"activations.space": "paper"}, "quantile is 2"),
    ("tune.space", {"optimizer": {"is": "sgd", "learning_rate": {"low": 1, "high": 0.1}}}, {}, "exchange the two"),
    ("tune.space", {"optimizer": {"choose": ["SGD", "adam"]}}, {"tune.epochs": 1}, "did you mean 'sgd'?"),
    ("tune.sampler", "TPE()", {"tune.space": "safs"}, "did you mean 'tpe'?"),
    ("tune.sampler", "lahc", {"tune.space": "safs"}, 'write "tpe"'),
    ("tune.sampler", "bohb", {"tune.space": "safs"}, 'write "tpe"'),
    ("tune.stop", "asha", {"tune.space": "safs"}, 'write {is = "hyperband", most = 10}'),
    ("tune.stop", "median", {"tune.space": "safs"}, 'write "lagging"'),
    ("tune.sampler", {"is": "tpe", "trials": 0}, {"tune.space": "safs"}, "trials is 0"),
    ("tune.stop", {"is": "hyperband", "most": 1}, {"tune.space": "safs"}, "raise most"),
    ("measure.diagnostics", ["DeadUnits()"], {}, "did you mean 'dead-units'?"),
    ("measure.diagnostics", [{"is": "dormant-units", "tau": -1}], {}, "write tau = 0.025"),
    ("measure.diagnostics", {"is": "dead-units"}, {}, 'measure.diagnostics is {is = "dead-units"}'),
]  # fmt: skip
QUOTED = re.compile(r"""(?<!\w)('[^'\n]*'|"[^"\n]*")(?!\w)""")
PYTHON = re.compile(r"\bbb\.|\w=(\S|\s)|\(\)|\b(True|False|None|lambda)\b|\b[A-Z]\w*\(")


@pytest.fixture
def odd(tmp_path, monkeypatch):
    write_module(tmp_path, "odd", ODD)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "others", "words"), WRONG, ids=[f"{field} {value} {others}" for field, value, others, _ in WRONG]
)
@pytest.mark.usefixtures("odd")
def test_what_a_recipe_says_wrong_is_told_in_its_own_words(field, value, others, words, tmp_path):
    def tried():
        look_ahead(choose(small({**others, field: value}), tmp_path / "out"))

    with pytest.raises(BudbreakError) as caught:
        tried()
    message = str(caught.value)
    assert words in message
    assert not PYTHON.search(QUOTED.sub("", message)), message


def test_every_family_that_a_recipe_names_is_among_what_is_wrong():
    assert {tuple(field.split(".")) for field, *_ in WRONG} >= FAMILIES.keys()


def test_what_goes_wrong_in_a_run_is_told_so_too(tmp_path):
    choice = choose(small({"prune.schedule": {"is": "one-shot", "sparsity": 0.9995}}), tmp_path)
    with pytest.raises(RunFailed, match=r"^1 task failed\n.*\n.*\n.*give floor = 1, or allow_collapse = true to see"):
        run(choice)


@pytest.mark.parametrize("path", FAMILIES, ids=".".join)
def test_every_value_is_spelt_as_a_recipe_can_write_it(path):
    family = FAMILIES[path]
    for value in instances(family.names.values()):
        spelt = respelt(f"{value!r}")
        assert decode(tomllib.loads(f"value = {spelt}")["value"], family, field="value") == value
        assert respelt(spelt) == spelt


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("write plan=bb.Plan(schedule=bb.schedules.Cubic(0.5, 2))", None),
        ("write @dataclass(frozen=True) above class Rows", None),
        ("torch.optim.SGD(model.parameters(), lr=0.1)", None),
        ("nn.Linear(3, 3), Linear(in_features=3, out_features=3)", None),
        ("arm host@rate=0.2 keeps 'q=0.1' and runs/floor=1", None),
        ("prunable=bb.including('gru.*'), loss=lambda outputs, batch: ...", None),
        ("Steps(milestones=(1.0, 2.5", None),
        ("give q=-1e-05, or floor=1.", "give q = -1e-05, or floor = 1."),
        ("it is Remove(...) or bb.Train()", 'it is "remove" or "train"'),
        ("leave it out by bb.excluding", "leave it out by exclude"),
        ("Mine(power=2.0), and Magnitude()", '{is = "mine:Mine", power = 2.0}, and Magnitude()'),
    ],
)
def test_only_what_a_recipe_can_say_is_respelt(text, spelt):
    given = {"prune": {"criterion": "mine:Mine", "then": [{"is": "remove", "criterion": "mine:Magnitude"}]}}
    assert respelt(text, given) == (text if spelt is None else spelt)
