"""What cannot work is said in one clear error before anything is trained; and what a run will cost."""

import pytest
import torch

from budbreak.errors import BudbreakError, InvalidValue, MissingData
from budbreak.recipes.recipe import make_recipe
from budbreak.studies import RunFailed, duration, epochs_of_choice, look_ahead, run, share_cores, trying
from budbreak.studies.lookahead import cost_line
from budbreak.studies.making import load_data
from small import MINE, choose, plain, small, write_module

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
        return self.two(torch.exp(-self.one(x.flatten(1))))

class Partly(Functional):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.two(torch.exp(-self.relu(self.one(x.flatten(1)))))

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
    ("odd_nets:normed", {"train.batch_size": 199}, ["Expected more than 1 value"]),  # the last batch holds one image
    ("odd_nets:moody", {}, ["two different networks for one seed"]),
    ("half_nets:make", {}, ["SyntaxError", "half_nets.py, line 1"]),
    ("rude_nets:make", {}, ["SystemExit", "rude_nets.py, line 1"]),
    ("builtins:exit", {}, ["SystemExit"]),
    ("torch:tensor", {}, ["does not say what it is called with"]),
    ("..:x", {}, ["name the module in full"]),
    (":x", {}, ["name the module in full"]),
    ("torch.nowhere:x", {}, ["cannot import 'torch.nowhere'"]),
    ("mlp", {"train.batch_size": 201}, ["train.batch_size is 201", "200 training images"]),
    ("mlp", {"data.limit": 5000}, ["data.limit is 5000", "1237 training images"]),
    ("mlp", {"train.schedule": {"is": "steps", "milestones": [0.01]}}, ["falls on step 0 of 8"]),
    ("mlp", {"train.schedule": {"is": "steps", "milestones": [1.99]}}, ["falls on step 8 of 8"]),
    ("mlp", {"train.schedule": {"is": "steps", "milestones": [3]}}, ["2 epochs"]),
    ("mlp", {"train.schedule": {"is": "constant", "warmup": 0.01}}, ["warmup is 0.01 epochs"]),
    ("mlp", {"train.schedule": {"is": "constant", "warmup": 3}}, ["warmup is 3"]),
    ("mlp", {"train.schedule": {"is": "plateau", "patience": 5}}, ["patience is 5"]),
    ("mlp", {"train.schedule": "cosine", "prune.rewind": "none"}, ["ends at the rate 0", 'rewind = "learning-rate"']),
    ("mlp", {"train.schedule": "cosine", "prune.steps": 2}, ["prune.steps is 2", "its beginning", '"constant"']),
    ("mlp", {"prune.then": [{"is": "ap", "q": 0.5}]}, ["what follows the host wants"]),
    ("mlp", {"prune.then": ["ap"], "prune.granularity": "unit"}, ['goes with "element" only']),
    (
        "mlp",
        {"prune.scope": "layer", "prune.allocation": "erk", "prune.granularity": "unit"},
        ['"erk" looks at the dimensions of weights'],
    ),
    ("mlp", {"prune.scope": {"is": "nm", "n": 2, "of": 4}}, ["'fc3.weight' has 50 weights", "a multiple of 4"]),
    (
        "mlp",
        {"prune.scope": {"is": "nm", "n": 2, "of": 4}, "prune.exclude": ["fc3.*"]},
        ["level 1 of", "2:4 keeps exactly 5700 of these 11400", ": 0.5"],
    ),
    ("mlp", {"prune.floor": 0.9}, ["level 1 of", "floor is 0.9"]),
    ("mlp", {"prune.exclude": ["*"]}, ["prunable"]),
    ("mlp", {"measure.diagnostics": ["dead-units", {"is": "dead-units", "threshold": 0.1}]}, ["named once"]),
]  # fmt: skip


@pytest.mark.parametrize(("network", "change", "words"), WRONG, ids=[f"{n} {c}" for n, c, _ in WRONG])
def test_one_clear_error(network, change, words, nets, tmp_path):
    def look():
        look_ahead(choose(small({"network.name": network, **change}), tmp_path / "out"))

    with pytest.raises(BudbreakError) as caught:
        look()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()


OWN = """
@dataclass(frozen=True)
class Raises:
    needs = (Weights(),)
    def __call__(self, evidence):
        return evidence["nothing"]

@dataclass(frozen=True)
class Divides(Raises):
    def __call__(self, evidence):
        return 1 / 0

@dataclass(frozen=True)
class Tensors(Raises):
    def __call__(self, evidence):
        return {name: weight.abs() for name, weight in evidence[Weights()].items()}

@dataclass(frozen=True)
class Misshapen(Raises):
    def __call__(self, evidence):
        return Scores.elementwise(lambda w: w.flatten()[:3], evidence[Weights()])

@dataclass(frozen=True)
class NotANumber(Raises):
    def __call__(self, evidence):
        return Scores.elementwise(lambda w: w.log(), evidence[Weights()])

@dataclass(frozen=True)
class Widths:
    needs = (Weights(),)
    quantities = (Quantity("width", "width"),)
    name: str = "width"
    def __call__(self, evidence, mask):
        return Measurement({self.name: 1.0 / (self.name != "zero")})

@dataclass(frozen=True)
class Accuracies(Widths):
    quantities = (Quantity("test_accuracy", "another one"),)
"""
OWN_WRONG = [
    ({"prune.criterion": "mine:Raises"}, ["no evidence of nothing"]),
    ({"prune.criterion": "mine:Divides"}, ["scoring by Divides raised ZeroDivisionError", "mine.py, line"]),
    ({"prune.criterion": "mine:Tensors"}, ["scores"]),
    ({"prune.criterion": "mine:Misshapen"}, ["scor"]),
    ({"prune.criterion": "mine:NotANumber"}, ["NaN"]),
    ({"measure.diagnostics": [{"is": "mine:Widths", "name": "zero"}]}, ["Widths raised ZeroDivisionError"]),
    ({"measure.diagnostics": [{"is": "mine:Widths", "name": "w"}]}, ["'w', which none of its quantities names"]),
    ({"measure.diagnostics": [{"is": "mine:Accuracies", "name": "test_accuracy"}]}, ["each training has it"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), OWN_WRONG, ids=[str(change) for change, _ in OWN_WRONG])
def test_a_class_of_the_users_own_fails_before_the_first_epoch_and_not_after_hours(change, words, mine, tmp_path):
    imports = "from budbreak.diagnostics import Measurement, Quantity\n"
    write_module(mine, "mine", imports + MINE + OWN)
    recipe = small(arms={"host": {}, "mine": change})
    with pytest.raises(BudbreakError) as caught:
        look_ahead(choose(recipe, tmp_path / "out"))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "mine" in str(caught.value).split("\n")[0]
    look_ahead(choose(recipe, tmp_path / "out", "host"))


def test_a_good_class_of_the_users_own_passes(mine, tmp_path):
    write_module(mine, "mine", "from budbreak.diagnostics import Measurement, Quantity\n" + MINE + OWN)
    arms = {"host": {}, "mine": {"prune.criterion": {"is": "mine:Mine", "power": 3}}}
    look_ahead(choose(small({"measure.diagnostics": ["mine:Widths"]}, arms=arms), tmp_path))


UNLIKE = [
    ({"prune.granularity": "unit"}, r"at level 1, arm host keeps 9520 of 11900 weights, odd \d+ of \d+ units"),
    ({"prune.schedule.rate": 0.5}, r"at level 1, arm host keeps 9520 of 11900 weights, odd 5950 of 11900"),
    ({"prune.schedule": {"is": "one-shot", "sparsity": 0.9}}, r"at level 1, .* odd 1190 of 11900"),
    ({"prune.exclude": ["fc1.*"]}, r"at level 1, arm host keeps 9520 of 11900 weights, odd \d+ of \d+"),
    ({"network.name": "lenet-300-100"}, r"at level 1, arm host keeps 9520 of 11900 weights, odd \d+ of \d+"),
    (
        {"network.name": "lenet-300-100", "prune.schedule": "dense"},
        r"at level 0, arm host keeps 11900 of 11900 weights, odd \d+ of \d+",
    ),
]


@pytest.mark.parametrize(("change", "words"), UNLIKE, ids=[str(change) for change, _ in UNLIKE])
def test_arms_that_cannot_be_compared_are_refused_before_hours_of_training(change, words, tmp_path):
    arms = {"host": {}, "ap": {"prune.then": ["ap"]}, "odd": change}
    for chosen in ((), ("odd",)):  # also where its reference is to be run another day
        with pytest.raises(InvalidValue, match=rf"{words}\n.*\n.*write reference = \"none\""):
            look_ahead(choose(small(arms=arms), tmp_path, *chosen))
    look_ahead(choose(small(arms={**arms, "odd": {**change, "reference": "none"}}), tmp_path))


def test_arms_of_other_levels_are_compared_as_far_as_both_go(tmp_path):
    arms = {"host": {}, "long": {"prune.schedule.levels": 3}, "dense": {"prune.schedule": "dense"}}
    overview = look_ahead(choose(small(arms=arms), tmp_path))
    assert (overview.arms, overview.cost.epochs) == (3, 2 + 2 + 6)


def test_a_grid_of_sparsities_needs_no_common_reference(tmp_path):
    grid = {"prune.schedule.rate": [0.2, 0.5]}
    arms = {"host": {}, "ap": {"prune.then": ["ap"]}}
    with pytest.raises(InvalidValue, match=r"host@rate=0\.2 keeps 9520 of 11900 weights, host@rate=0\.5 5950"):
        look_ahead(choose(small(arms=arms, grid=grid), tmp_path))
    arms = {"host": {"reference": "none"}, "ap": {"reference": "host", "prune.then": ["ap"]}}
    assert look_ahead(choose(small(arms=arms, grid=grid), tmp_path)).arms == 4


def test_an_error_names_its_arm_where_there_are_several(nets, tmp_path):
    arms = {"host": {}, "large": {"train.batch_size": 201}}
    with pytest.raises(InvalidValue, match=r"^arm 'large': train\.batch_size is 201"):
        look_ahead(choose(small(arms=arms), tmp_path))
    arms = {"host": {}, "greedy": {"prune.then": [{"is": "ap", "q": 0.5}]}}
    with pytest.raises(InvalidValue, match=r"^arm 'greedy': level 1"):
        look_ahead(choose(small(arms=arms), tmp_path))
    arms = {"host": {}, "unit": {"prune.granularity": "unit", "prune.then": ["ap"]}}
    with pytest.raises(InvalidValue, match=r"^arm 'unit': \"ap\" after .*\n.*\"element\" only"):
        look_ahead(choose(small(arms=arms), tmp_path))


def test_missing_data_is_said_before_anything_runs(tmp_path):
    recipe = small({"data": {"name": "mnist"}, "network.name": "lenet-300-100"})
    with pytest.raises(MissingData, match="budbreak data get mnist"):
        look_ahead(choose(recipe, tmp_path))


def test_what_works_passes_and_leaves_the_generators_and_the_disk(nets, tmp_path):
    before = torch.random.get_rng_state()
    choice = choose(
        small({"network.name": "odd_nets:normed"}, arms={"host": {}, "ap": {"prune.then": ["ap"]}}), tmp_path
    )
    overview = look_ahead(choice)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (overview.unseen, overview.cost.tasks, overview.cost.epochs) == ("", 3, 6)
    assert not choice.folder.exists()
    assert not choice.place.root.exists()


def test_the_cost_is_that_of_what_is_left(tmp_path):
    arms = {"host": {}, "ap": {"prune.then": ["ap"]}}
    whole = choose(small(arms=arms, seeds=2), tmp_path)
    run(choose(small(arms=arms), tmp_path, "host"))
    cost = look_ahead(whole).cost
    assert (cost.tasks, cost.total, cost.epochs, cost.all_epochs) == (4, 6, 8, 12)
    assert cost.seconds is not None
    assert cost.seconds > 0
    assert cost_line(cost).startswith("4 tasks to do, 2 complete already: 8 epochs in all, about ")
    assert epochs_of_choice(whole) == 12
    run(whole)
    cost = look_ahead(whole).cost
    assert (cost.tasks, cost.epochs, cost.seconds) == (0, 0, None)
    assert cost_line(cost) == "all 6 tasks are complete: nothing is left to train"


def test_the_cost_of_ten_thousand_cells_is_known_without_a_look_at_networks(tmp_path, monkeypatch):
    grid = {"train.epochs": list(range(2, 102)), "train.batch_size": list(range(1, 101))}
    monkeypatch.setattr("budbreak.studies.tasks.make_network", None)
    monkeypatch.setattr("budbreak.studies.lookahead.make_network", None)
    assert epochs_of_choice(choose(small(grid=grid, seeds=5), tmp_path)) == 5 * 2 * 100 * sum(range(2, 102))


def test_cores_are_shared_by_tasks(monkeypatch):
    monkeypatch.setattr("budbreak.studies.lookahead.cores", lambda: 8)
    assert [share_cores(*given) for given in ((1, None), (1, 4), (3, None), (20, None), (20, 2))] == [
        (1, 8), (1, 8), (3, 1), (8, 1), (2, 1),
    ]  # fmt: skip
    with pytest.raises(InvalidValue, match="workers is 0"):
        share_cores(3, 0)


def test_durations_are_said_in_their_unit():
    found = [duration(seconds) for seconds in (1.4, 89, 91, 5000, 5401, 100_000, 200_000)]
    assert found == ["1 s", "89 s", "2 min", "83 min", "1 h 30 min", "27 h 47 min", "2 days"]


def test_a_network_whose_activations_are_not_seen_is_pruned_without_dead_neuron_rates(nets, tmp_path):
    arms = {"host": {}, "ap": {"prune.then": ["ap"]}}
    changes = {"network.name": "odd_nets:Functional", "measure.diagnostics": ["dead-units", "gradient-norm"]}
    choice = choose(small(changes, arms=arms, seeds=2), tmp_path)
    overview = look_ahead(choice)
    assert "no dead neuron rate: " in str(overview.lines)
    assert "torch.exp called in the model itself (odd_nets.py:" in str(overview.lines)
    result = run(choice)
    assert result.complete
    assert not any(name.startswith("dead_units") for level in result.levels for name in level.numbers)
    seen = {"test_accuracy", "validation_accuracy", "train_loss", "gradient_norm", "effective_gradient_flow"}
    assert {row.quantity for row in result.differences} == seen


def test_activations_that_are_not_seen_beside_others_are_named(nets, tmp_path):
    overview = str(look_ahead(choose(small({"network.name": "odd_nets:Partly"}), tmp_path)).lines)
    assert "no dead neuron rate" not in overview
    assert "not in these numbers: torch.exp called in the model itself (odd_nets.py:" in overview


def test_what_stays_dense_is_said_by_the_look_ahead_and_not_again_by_each_task(tmp_path, monkeypatch):
    (tmp_path / "rows.py").write_text(
        "from torch import nn\n"
        "class Rows(nn.Module):\n"
        "    def __init__(self, classes, shape):\n"
        "        super().__init__()\n"
        "        self.gru, self.fc = nn.GRU(shape[2], 6, batch_first=True), nn.Linear(6, classes)\n"
        "        self.act = nn.ReLU()\n"
        "    def forward(self, x):\n"
        "        return self.fc(self.act(self.gru(x[:, 0])[0][:, -1]))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    choice = choose(small({"network.name": "rows:Rows"}), tmp_path)
    overview = look_ahead(choice)
    assert "60 of 312 weights prunable; uncovered: gru.weight_ih_l0 (GRU, 144)" in " ".join(overview.lines)
    run(choice)  # a warning would be an error here


def test_the_time_that_tasks_take_beside_their_epochs_is_counted(tmp_path, monkeypatch):
    """That of 20 trials of an epoch each is mostly theirs: it was left out."""
    monkeypatch.setattr(trying, "_pace", lambda *_: trying.Pace(epoch=0.5, task=0.25))
    cost = look_ahead(choose(small(arms={"host": {}, "ap": {"prune.then": ["ap"]}}, seeds=2), tmp_path)).cost
    assert (cost.tasks, cost.epochs) == (6, 12)
    assert cost.seconds == 6 * 0.25 + 12 * 0.5


def test_a_task_takes_time_beside_its_epochs(tmp_path):
    setup = small().arms[0].setup
    with torch.random.fork_rng():
        _, pace = trying.try_out(setup, *load_data(setup.data, None), threads=1, timed=True)
    assert pace.task > trying._NOTING
    assert pace.epoch > trying._STORING
    assert pace.seconds(3) == pace.task + 3 * pace.epoch


def test_a_rate_that_is_too_high_is_said_by_the_training_and_not_by_what_looks_at_weights_of_nan(tmp_path):
    choice = choose(small({"train.optimizer": {"is": "sgd", "learning_rate": 1e9}}), tmp_path)
    assert look_ahead(choice).cost.seconds  # its timed steps, all on one batch, throw the weights far away
    with pytest.raises(RunFailed, match=r"the loss is nan at step .*\n.*\nlower the learning rate"):
        run(choice)


def test_an_error_of_ours_in_a_factory_keeps_its_kind():
    from budbreak.foreign import call_foreign

    def ours():
        raise InvalidValue("this", "that")

    with pytest.raises(InvalidValue, match=r"^this"):
        call_foreign("it", ours, rule="")


def test_a_recipe_says_the_same_as_its_arm(tmp_path):
    overview = look_ahead(choose(make_recipe(plain()), tmp_path))
    assert overview.parts == (200, 200, 360)
    assert f"run: {overview.folder}" in overview.lines
    assert RunFailed
