"""Runs: what is shared, what is computed and what is not, what is recorded, and what a user's own class sees."""

import logging
import re
from pathlib import Path

import pytest

from budbreak.criteria import Random
from budbreak.errors import BudbreakError, InvalidValue, StoreBusy
from budbreak.masks import Mask
from budbreak.results import load_result
from budbreak.studies import RunFailed, look_ahead, run
from budbreak.studies.making import make_network, make_plan
from budbreak.studies.tasks import tasks_of
from small import MINE, Stopped, choose, digests, small, stop_at, trained, write_module

FIVE = {
    "host": {},
    "ap": {"prune.then": ["ap"]},
    "split": {"prune.then": ["train", "remove"]},
    "pro": {"reference": "split", "prune.then": [{"is": "ap", "variant": "pro"}]},
    "retrain": {"prune.then": ["train"]},
}
TWO_LEVELS = {"prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}}


def test_arms_share_the_dense_level_keep_equally_many_and_differ_after_it(tmp_path):
    recipe = small(TWO_LEVELS, arms=FIVE)
    result, counts = trained(choose(recipe, tmp_path))
    by_arm = {arm: [level for level in result.levels if level.arm == arm] for arm in FIVE}
    assert result.complete
    assert counts == {"dense of host seed 0": 2} | {
        f"{arm} seed 0": 4 if arm in ("host", "ap") else 8 for arm in FIVE
    }  # fmt: skip
    for arm, levels in by_arm.items():
        assert [(level.level, level.shared) for level in levels] == [(0, True), (1, False), (2, False)]
        assert [level.kept for level in levels] == [level.kept for level in by_arm["host"]]
        assert all(all(level.invariants.values()) for level in levels)
        trainings = 1 if arm in ("host", "ap") else 2
        assert [level.epochs for level in levels] == [2, 2 * trainings, 2 * trainings]
    hashes = digests(tmp_path)
    dense = {found[-1] for name, found in hashes.items() if name.startswith("dense-")}
    levels = {name: found for name, found in hashes.items() if name.startswith("levels-")}
    assert {found[0] for found in levels.values()} == dense
    assert len({found[-1] for found in levels.values()}) == 5
    assert {(row.arm, row.reference) for row in result.differences} == {
        ("ap", "host"), ("split", "host"), ("pro", "split"), ("retrain", "host"),
    }  # fmt: skip
    assert {row.level for row in result.differences} == {1, 2}


def test_what_is_recorded(tmp_path):
    choice = choose(small(), tmp_path)
    result = run(choice)
    assert load_result(choice.folder, identity=choice.recipe.identity) == result
    level = result.levels[1]
    # 200 images in batches of 50, 2 epochs; epoch 0 is right after rewinding
    assert (level.steps, [epoch.epoch for epoch in level.curve]) == (8, [0, 1, 2])
    assert "train_loss" not in level.curve[0].numbers
    assert sum(layer.kept for layer in level.layers) == level.kept
    m = level.numbers
    assert m["dead_units_dynamic_alive"] == pytest.approx(m["dead_units_dynamic"] / (1 - m["dead_units_static"]))
    assert 0 < m["test_accuracy"] <= 1
    assert {name for row in result.levels for name in row.numbers} <= {one.name for one in result.quantities}
    assert result.recipe["arms"]["host"] == choice.arms[0].setup.plain()


def test_who_asks_is_told_of_each_epoch_and_of_each_task(tmp_path):
    events, standings, ends = [], [], []
    choice = choose(small(arms={"host": {}, "ap": FIVE["ap"]}), tmp_path)
    result = run(
        choice,
        report=events.append,
        progress=lambda result, done: standings.append((len(result.levels), sum(done.values()))),
        at_end=lambda result: ends.append((result, (choice.folder / "lock").exists())),
    )
    assert [(event.task, event.done, event.total, event.ended) for event in events[:3]] == [
        ("dense of host seed 0", 1, 2, False),
        ("dense of host seed 0", 2, 2, False),
        ("dense of host seed 0", 2, 2, True),
    ]
    assert [event.done for event in events[3:6]] == [1, 2, 2]
    assert "test_accuracy" in events[2].numbers
    assert "test_accuracy" not in events[1].numbers
    assert standings == [(0, 0), (2, 2), (3, 4), (4, 6), (4, 6)]
    assert ends == [(result, True)]


def test_one_is_told_what_is_being_computed(tmp_path):
    told, events = [], []
    choice = choose(small(seeds=2), tmp_path)
    run(choice, working=told.append, report=lambda event: events.append((event.task, dict(told[-1]))))
    assert max(map(len, told)) == 1
    names = {f"{task} seed {seed}": 2 for task in ("dense of host", "host") for seed in (0, 1)}
    assert {name: epochs for tasks in told for name, epochs in tasks.items()} == names
    assert told[-1] == {}
    assert all(task in tasks for task, tasks in events)


def test_a_finished_run_computes_nothing_and_leaves_its_files(tmp_path):
    choice = choose(small(arms={"host": {}, "ap": FIVE["ap"]}), tmp_path)
    result = run(choice)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").rglob("*") if path.is_file()}
    again, counts = trained(choice)
    assert counts == {}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (again.levels, again.differences) == (result.levels, result.differences)


def test_more_seeds_compute_what_is_new_and_keep_the_rest(tmp_path):
    """Once, 5 seeds to 8 computed everything again."""
    before = run(choose(small(seeds=1), tmp_path))
    result, counts = trained(choose(small(seeds=3), tmp_path))
    assert counts == {f"{task} seed {seed}": 2 for task in ("dense of host", "host") for seed in (1, 2)}
    assert [level for level in result.levels if level.seed == 0] == list(before.levels)
    assert len({level.numbers["test_accuracy"] for level in result.levels if level.level == 1}) > 1
    fewer, counts = trained(choose(small(seeds=2), tmp_path))
    assert (counts, fewer.seeds) == ({}, (0, 1))


def test_an_added_arm_computes_only_itself_and_reuses_the_dense_training(tmp_path):
    run(choose(small(), tmp_path))
    _, counts = trained(choose(small(arms={"host": {}, "taylor": {"prune.criterion": "taylor"}}), tmp_path))
    assert counts == {"taylor seed 0": 2}


def test_a_part_of_the_arms_is_run_and_then_the_rest(tmp_path):
    recipe = small(arms=FIVE)
    part, counts = trained(choose(recipe, tmp_path, "ap"))
    assert counts == {"dense of ap seed 0": 2, "ap seed 0": 2}
    assert [(arm.name, arm.reference) for arm in part.arms] == [("ap", None)]
    more, counts = trained(choose(recipe, tmp_path, "host"))
    assert counts == {"host seed 0": 2}
    assert [(arm.name, arm.reference) for arm in more.arms] == [("host", None), ("ap", "host")]
    assert {(row.arm, row.level) for row in more.differences} == {("ap", 1)}
    whole, counts = trained(choose(recipe, tmp_path))
    assert counts == {f"{arm} seed 0": 4 for arm in ("split", "pro", "retrain")}
    assert whole.arm_names == tuple(FIVE)


def test_arms_that_are_alike_share_their_task(tmp_path):
    arms = {"one": {}, "two": {"prune.criterion": {"is": "magnitude"}}, "three": {"prune.then": []}}
    choice = choose(small(arms=arms, seeds=2), tmp_path)
    result, counts = trained(choice)
    assert counts == {f"{task} seed {seed}": 2 for task in ("dense of one", "one") for seed in (0, 1)}
    assert sorted(path.name for path in (choice.folder / "networks").iterdir()) == sorted(
        f"{arm}-seed{seed}.safetensors" for arm in arms for seed in (0, 1)
    )
    rows = [row for row in result.differences if row.quantity == "test_accuracy"]
    assert [(row.arm, row.mean, row.p) for row in rows] == [("two", 0.0, 1.0), ("three", 0.0, 1.0)]
    assert trained(choice)[1] == {}


def test_another_recipe_finds_the_tasks_that_it_has_in_common(tmp_path):
    run(choose(small(), tmp_path))
    arms = {"magnitude": {}, "random": {"prune.criterion": "random"}}
    _, counts = trained(choose(small(name="hosts", arms=arms), tmp_path))
    assert counts == {"random seed 0": 2}


def test_a_class_called_like_ours_does_not_take_our_results(tmp_path, mine):
    """Once, mine:Magnitude went on from the store of our Magnitude."""
    ours = run(choose(small(), tmp_path / "out"))
    result, counts = trained(choose(small(arms={"host": {"prune.criterion": "mine:Magnitude"}}), tmp_path / "out"))
    assert counts == {"host seed 0": 2}
    assert ours.levels[1].layers != result.levels[1].layers


def test_an_edited_class_is_computed_again_and_nothing_else(tmp_path, mine):
    arms = {"host": {}, "mine": {"prune.criterion": "mine:Mine"}}
    run(choose(small(arms=arms), tmp_path / "out"))
    write_module(mine, "mine", MINE.replace("w.abs() ** self.power", "-w.abs()"))
    result, counts = trained(choose(small(arms=arms), tmp_path / "out"))
    assert counts == {"mine seed 0": 2}
    write_module(mine, "mine", MINE)
    before, counts = trained(choose(small(arms=arms), tmp_path / "out"))
    assert counts == {}
    assert [level.kept for level in before.levels] == [level.kept for level in result.levels]
    assert before.levels[-1].layers != result.levels[-1].layers


def test_a_task_that_fails_does_not_take_the_others_with_it(tmp_path):
    arms = {"hot": {"train.optimizer.learning_rate": 1e30, "reference": "none"}, "host": {}}
    with pytest.raises(RunFailed) as caught:
        run(choose(small(arms=arms, seeds=2), tmp_path))
    text = str(caught.value)
    assert text.startswith("4 tasks failed")
    assert text.count("the loss is") == 2
    assert "hot seed 1: it was not begun: it needs 'dense of hot seed 1', which failed" in text
    assert "Traceback" not in text
    stored = load_result(choose(small(), tmp_path).folder)
    assert {(level.arm, level.seed, level.level) for level in stored.levels} == {
        ("host", seed, level) for seed in (0, 1) for level in (0, 1)
    }  # fmt: skip
    assert not stored.complete


FAILING = """
from dataclasses import dataclass
from budbreak.diagnostics import Measurement, Quantity

@dataclass(frozen=True)
class Dense:
    needs = ()
    quantities = (Quantity("kept", "kept weights"),)
    def __call__(self, evidence, mask):
        if mask.kept < mask.total:
            raise ValueError("it was pruned")
        return Measurement({"kept": float(mask.kept)})
"""


def test_a_diagnostic_of_the_users_own_that_fails_late_names_its_file_and_line(tmp_path, mine):
    write_module(mine, "failing", FAILING)
    choice = choose(small({"measure.diagnostics": ["failing:Dense"]}), tmp_path / "out")
    look_ahead(choice)
    with pytest.raises(RunFailed) as caught:
        run(choice)
    assert "host seed 0: measuring by Dense raised ValueError: it was pruned" in str(caught.value)
    assert "failing.py, line 11" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert [level.numbers["kept"] for level in load_result(choice.folder).levels] == [11900.0]


def test_the_curve_of_a_rewound_pro_has_no_gap(tmp_path):
    changes = {"train.epochs": 3, "prune.rewind_epoch": 1, "prune.then": [{"is": "ap", "variant": "pro"}]}
    result, counts = trained(choose(small(changes), tmp_path))
    # two trainings of two epochs; the second begins, measured again after its rewind, where the first ended
    assert [epoch.epoch for epoch in result.levels[1].curve] == [0, 1, 2, 2, 3, 4]
    assert result.levels[1].steps == 2 * 2 * 4
    assert counts == {"dense of host seed 0": 3, "host seed 0": 4}


def test_a_criterion_that_draws_draws_anew_in_each_seed_and_alike_in_its_arms():
    setup = small({"prune.criterion": {"is": "random", "seed": 5}}).arms[0].setup
    assert make_plan(setup, seed=3, steps=4).criterion == Random(seed=8)
    first, second = (make_plan(setup, seed=seed, steps=4).criterion for seed in (0, 1))
    assert first != second
    assert setup.prune.criterion == Random(seed=5)


def test_the_weights_of_a_factory_are_its_own(tmp_path, monkeypatch):
    from budbreak.data import find

    (tmp_path / "given_nets.py").write_text(
        "from torch import nn\n\ndef make(classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))\n"
        "    nn.init.constant_(model[1].weight, 0.125)\n    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = small({"network.name": "given_nets:make"}).arms[0].setup.network
    assert (network.initialisation, small().arms[0].setup.network.initialisation) == ("own", "kaiming")
    model = make_network(network, find("digits"), 0)
    assert set(model.state_dict()["1.weight"].flatten().tolist()) == {0.125}


def test_a_finished_task_leaves_its_weights_for_any_tool(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file

    from budbreak.data import find
    from budbreak.networks import build

    choice = choose(small(), tmp_path)
    run(choice)
    (task,) = (tmp_path / "tasks").glob("levels-*")
    path, copy = task / "model.safetensors", choice.folder / "networks" / "host-seed0.safetensors"
    state, mask = load_file(copy), Mask.load(task / "masks/level-001.safetensors")
    build("mlp", find("digits"), seed=0).load_state_dict(state)  # plain keys
    assert sum(int(state[name].count_nonzero()) for name in mask) == mask.kept
    with safe_open(copy, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    before = path.read_bytes()
    assert copy.read_bytes() == before
    path.unlink()
    copy.unlink()
    assert trained(choice)[1] == {}
    assert (path.read_bytes(), copy.read_bytes()) == (before, before)


SCHEDULES = {
    "dense": {"prune.schedule": "dense"},
    "once": {"prune.schedule": {"is": "one-shot", "sparsity": 0.9}, "reference": "none"},
    "cubic": {"prune.schedule": {"is": "cubic", "sparsity": 0.9, "levels": 2}, "reference": "none"},
    "once-ap": {"prune.schedule": {"is": "one-shot", "sparsity": 0.9}, "prune.then": ["ap"], "reference": "once"},
}


def test_dense_one_shot_and_cubic_arms_lie_in_one_recipe(tmp_path):
    choice = choose(small(arms=SCHEDULES), tmp_path)
    look_ahead(choice)
    result, counts = trained(choice)
    assert counts == {"dense of dense seed 0": 2, "once seed 0": 2, "cubic seed 0": 4, "once-ap seed 0": 2}
    kept = {arm: [level.kept for level in result.levels if level.arm == arm] for arm in SCHEDULES}
    assert kept == {
        "dense": [11900], "once": [11900, 1190], "cubic": [11900, 2529, 1190], "once-ap": [11900, 1190],
    }  # fmt: skip
    assert {(row.arm, row.level) for row in result.differences} == {("once-ap", 1)}
    assert trained(choice)[1] == {}


def test_arms_that_remove_whole_units_are_compared_by_their_units(tmp_path):
    arms = {"host": {}, "taylor": {"prune.criterion": "taylor"}}
    choice = choose(small({"prune.granularity": "unit", **TWO_LEVELS}, arms=arms), tmp_path)
    assert look_ahead(choice).preview.counted == "units"
    result = run(choice)
    host, taylor = ([level for level in result.levels if level.arm == arm] for arm in arms)
    assert [level.survivors for level in host] == [level.survivors for level in taylor]
    assert [level.survivors.what for level in host] == ["weights", "units", "units"]  # the dense level is shared
    assert [level.kept for level in host] != [level.kept for level in taylor]  # layers differ in weights of a unit
    assert {row.level for row in result.differences} == {1, 2}
    assert load_result(choice.folder) == result


def test_arms_that_count_differently_are_refused_by_the_comparison_too(tmp_path):
    arms = {"host": {}, "unit": {"prune.granularity": "unit"}}
    with pytest.raises(InvalidValue, match=r"arm host keeps 9520 of 11900 weights, unit \d+ of \d+ units"):
        run(choose(small(arms=arms), tmp_path))


@pytest.mark.parametrize("what", ["run", "task"])
def test_a_folder_that_is_moved_during_the_run_is_an_error(what, tmp_path):
    choice = choose(small(), tmp_path)
    ((_, levels),) = tasks_of("host", choice.arms[0].setup, [0], choice.place)
    moved = choice.folder if what == "run" else levels.folder

    def move(event):
        if event.task == "host seed 0" and event.ended and moved.exists():
            moved.rename(tmp_path / "elsewhere")

    with pytest.raises(BudbreakError, match="while it runs"):
        run(choice, report=move)


def test_a_second_command_is_refused_and_the_first_goes_on(tmp_path):
    choice, refused = choose(small(), tmp_path), []

    def second(event):
        if not refused:
            with pytest.raises(StoreBusy, match=r"another process is writing to .*tiny-"):
                run(choice)
            refused.append(True)

    assert run(choice, report=second).complete
    assert refused


def test_what_a_killed_process_left_half_written_is_swept_at_the_start(tmp_path):
    choice = choose(small(), tmp_path)
    with pytest.raises(Stopped):
        run(choice, report=stop_at(1, 1))
    (choice.folder / "figures").mkdir()
    (task,) = (tmp_path / "tasks").glob("levels-*")
    left = [choice.folder, choice.folder / "figures", choice.folder / "networks", task, task / "masks"]
    for place in left:
        place.mkdir(exist_ok=True)
        (place / ".some.svg.0123abcd.budbreak-unfinished").write_text("half")
        (place / ".hers").write_text("not ours")
    run(choice)
    found = [path for place in (choice.folder, task) for path in place.rglob(".*")]
    assert sorted(path.name for path in found) == [".hers"] * len(left)


def test_a_run_folder_that_is_no_folder(tmp_path):
    choice = choose(small(), tmp_path)
    Path(choice.folder).touch()
    with pytest.raises(BudbreakError):
        run(choice)


def test_arms_that_measure_two_things_by_one_name_are_refused_before_anything_starts(tmp_path):
    """The dry run said nothing of it."""
    other = {"measure.diagnostics": [{"is": "dead-units", "threshold": 0.1}]}
    choice = choose(small(arms={"host": {}, "other": other}), tmp_path, "host")
    with pytest.raises(InvalidValue, match="of all arms: two diagnostics measure 'dead_units_total'"):
        look_ahead(choice)


ROGUES = """
from dataclasses import dataclass

import torch

from budbreak import Scores
from budbreak.diagnostics import Measurement, Quantity
from budbreak.evidence import Weights
from budbreak.training import RateScheduler


@dataclass(frozen=True)
class Draws:
    needs = (Weights(),)

    def __call__(self, evidence):
        return Scores.elementwise(lambda w: torch.rand(w.shape), evidence[Weights()])


@dataclass(frozen=True)
class Changes:
    needs = (Weights(),)

    def __call__(self, evidence):
        return Scores.elementwise(lambda w: w.abs_(), evidence[Weights()])


@dataclass(frozen=True)
class Halves:
    needs = (Weights(),)
    quantities = (Quantity("size", "size"),)

    def __call__(self, evidence, mask):
        return Measurement({"size": float(sum(w.div_(2).sum() for w in evidence[Weights()].values()))})


@dataclass(frozen=True)
class Rates:
    fails: str = "attach"

    def check(self, epochs, steps_per_epoch):
        pass

    def attach(self, optimizer, *, steps_per_epoch, epochs):
        if self.fails == "torch":
            return torch.optim.lr_scheduler.StepLR(optimizer, 10)
        return RateScheduler(optimizer, lambda step: {"negative": -1.0}[self.fails])


@dataclass(frozen=True)
class Builds:
    learning_rate: float = 0.1

    def build(self, model):
        return torch.optim.SGD(model.no_parameters(), self.learning_rate)


@dataclass(frozen=True)
class Less:
    stages = ("train",)


@dataclass(frozen=True)
class NoNumber:
    needs = (Weights(),)
    quantities = (Quantity("ratio", "ratio"),)

    def __call__(self, evidence, mask):
        return Measurement({"ratio": float("nan")})
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prune.criterion": "rogues:Draws"}, "Draws gave 'fc1.weight' two different scores for the same evidence"),
        ({"prune.criterion": "rogues:Changes"}, "a criterion, or that of a stage, changed the weights"),
        ({"measure.diagnostics": ["rogues:Halves"]}, "a diagnostic changed the weights that it looked at"),
        ({"measure.diagnostics": ["rogues:NoNumber"]}, "a diagnostic gave ratio = nan on a fresh network"),
        ({"train.schedule": "rogues:Rates"}, 'attaching {is = "rogues:Rates", fails = "attach"} raised KeyError'),
        ({"train.schedule": {"is": "rogues:Rates", "fails": "torch"}}, "'StepLR' object has no attribute 'after_step'"),
        ({"train.schedule": {"is": "rogues:Rates", "fails": "negative"}}, "the factor after 0 steps is -1.0"),
        (
            {"train.optimizer": "rogues:Builds"},
            'building {is = "rogues:Builds", learning_rate = 0.1} raised AttributeError',
        ),
        ({"prune.then": ["rogues:Less"]}, "stages of Less is ('train',), a tuple"),
    ],
)
def test_own_values_that_break_their_promises_are_refused_before_the_first_epoch(change, words, mine, tmp_path):
    """They failed after hours with an error of something else, or changed the results without a word."""
    write_module(mine, "rogues", ROGUES)
    with pytest.raises(InvalidValue, match=re.escape(words)):
        look_ahead(choose(small(change), tmp_path))


def test_a_run_in_this_process_leaves_the_log_of_other_iterations_on(tmp_path):
    run(choose(small(), tmp_path))
    assert logging.getLogger("budbreak.iteration").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(("rate", "said"), [(1e-9, True), (0.05, False)], ids=["stays", "learns"])
def test_a_dense_network_that_did_not_learn_is_named(rate, said, tmp_path):
    changes = {"train.optimizer": {"is": "sgd", "learning_rate": rate}, "train.epochs": 2}
    result = run(choose(small(changes), tmp_path))
    named = [any("did not learn" in note for note in level.notes) for level in result.levels]
    assert named == [said and level.level == 0 for level in result.levels]


def test_a_penalty_by_which_a_network_did_not_learn_is_named(tmp_path):
    penalty = {"is": "weighted-nuclear-norm", "strength": 1000.0}
    result = run(choose(small({"train.penalty": penalty, "prune.schedule": "dense"}), tmp_path))
    assert result.levels[0].notes[-1].endswith("lower the strength of train.penalty, or the learning rate")
