"""Trainings of tasks: every learning-rate schedule and optimizer through levels that rewind, killed and resumed."""

import contextlib

import pytest

from budbreak.studies import look_ahead, run, trainer, training
from budbreak.studies.tasks import tasks_of
from budbreak.studies.training import carry_out_task
from budbreak.training import Plateau
from small import Stopped, choose, digests, small, stop_at, trained

THREE_EPOCHS = {"train.epochs": 3, "prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}}
RATES = {
    "constant": "constant",
    "warm": {"is": "constant", "warmup": 1.0},
    "steps": {"is": "steps", "milestones": [1, 2.5], "warmup": 0.5},
    "cosine": "cosine",
    "linear": {"is": "linear", "end": 0.1, "warmup": 0.5},
    "one-cycle": "one-cycle",
    "plateau": {"is": "plateau", "patience": 0, "gamma": 0.1, "threshold": 0.9},  # no gain is enough: it drops
}
OPTIMIZERS = {
    "constant": {"is": "sgd", "learning_rate": 0.1, "momentum": 0.0},
    "warm": {"is": "tadam", "betas": [0.9, 0.99], "k_dof": 2.0, "weight_decay": 1e-4},
    "steps": {"is": "fromage", "learning_rate": 0.03},
    "cosine": {"is": "adamw", "learning_rate": 0.01, "betas": [0.8, 0.99]},
    "linear": "adam",
    "one-cycle": {"is": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
    "plateau": {"is": "sgd", "learning_rate": 0.05},
}
"""One with each schedule: neither reads anything of the other but the rate."""


def killed_and_resumed(changes, out):
    """The ends of all trainings of a run that was killed in its last level, and went on."""
    choice = choose(small({**THREE_EPOCHS, **changes}), out)
    with pytest.raises(Stopped):
        run(choice, report=stop_at(2, 1))
    result, counts = trained(choice)
    assert result.complete
    assert counts == {"host seed 0": 2 - changes.get("prune.rewind_epoch", 0)}  # what was left of level 2 alone
    return digests(out)


@pytest.mark.parametrize("name", RATES)
def test_each_schedule_of_rates_and_each_optimizer_rewind_and_go_on_after_a_kill(name, tmp_path):
    changes = {"train.schedule": RATES[name], "train.optimizer": OPTIMIZERS[name]}
    changes["prune.rewind_epoch"] = 1 if name in ("plateau", "steps") else 0
    choice = choose(small({**THREE_EPOCHS, **changes}), tmp_path / "straight")
    look_ahead(choice)
    result = run(choice)
    assert all(level.invariants["rewinding verified"] for level in result.levels if level.level)
    assert len({level.numbers["train_loss"] for level in result.levels}) == 3
    assert killed_and_resumed(changes, tmp_path / "broken") == digests(tmp_path / "straight")


def test_a_plateau_drops_and_is_back_at_its_start_in_each_level(tmp_path):
    ends = []
    for rate in ("constant", "plateau"):
        run(choose(small({**THREE_EPOCHS, "train.schedule": RATES[rate]}), tmp_path / rate))
        ends.append(list(digests(tmp_path / rate).values()))
    (dense, levels), (dropped_dense, dropped_levels) = ends
    assert dense != dropped_dense
    assert not set(levels) & set(dropped_levels)


@pytest.mark.parametrize("rewind", ["learning-rate", "none"])
def test_weights_may_stay_where_they_are(rewind, tmp_path):
    changes = {"prune.rewind": rewind, "train.schedule": {"is": "steps", "milestones": [1]}}
    run(choose(small({**THREE_EPOCHS, **changes}), tmp_path / "straight"))
    assert killed_and_resumed(changes, tmp_path / "broken") == digests(tmp_path / "straight")


@pytest.mark.parametrize("stop", [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_a_kill_at_any_epoch_ends_with_the_same_bits(stop, tmp_path):
    changes = {"prune.then": [{"is": "ap", "variant": "pro"}]}
    run(choose(small(changes), tmp_path / "straight"))
    choice = choose(small(changes), tmp_path / "broken")
    with pytest.raises(Stopped):
        run(choice, report=stop_at(*stop))
    assert run(choice).complete
    assert digests(tmp_path / "broken") == digests(tmp_path / "straight")


def test_diagnostics_before_the_first_epoch_see_fresh_statistics(tmp_path, monkeypatch):
    """Once in each level: before epoch 1, when weights were pruned and rewound, but never after an epoch."""
    inside, counted = [], []
    real = trainer.measure

    def measure(*values, fresh, **options):
        counted.append(fresh)
        return real(*values, fresh=fresh, **options)

    @contextlib.contextmanager
    def refreshed(model, batches):
        inside.append(counted[-1])
        yield

    monkeypatch.setattr(trainer, "measure", measure)
    monkeypatch.setattr("budbreak.studies.measuring.refreshed_norms", refreshed)
    ((dense, levels),) = tasks_of("host", small().arms[0].setup, [0], choose(small(), tmp_path).place)
    carry_out_task(dense)
    assert counted == [True, False, False]
    carry_out_task(levels)
    assert counted == [True, False, False] * 2
    assert inside == [True, True]


@pytest.mark.parametrize(("every", "measured"), [(1, [0, 1, 2, 3]), (2, [0, 2, 3]), (0, [0, 3]), (5, [0, 3])])
def test_diagnostics_measure_every_so_many_epochs_and_at_the_ends(every, measured, tmp_path):
    result = run(choose(small({"train.epochs": 3, "measure.every": every}), tmp_path))
    for level in result.levels:
        assert [epoch.epoch for epoch in level.curve if "dead_units_total" in epoch.numbers] == measured
        assert all("validation_accuracy" in epoch.numbers for epoch in level.curve)


def test_without_diagnostics_only_the_training_is_measured(tmp_path):
    recipe = small({"measure": {"diagnostics": []}})
    result = run(choose(recipe, tmp_path))
    assert [quantity.name for quantity in result.quantities] == ["test_accuracy", "validation_accuracy", "train_loss"]
    assert set(result.levels[0].numbers) == {"test_accuracy", "validation_accuracy", "train_loss"}
    assert result.levels[0].layers[0].numbers == {}


def test_a_complete_task_is_not_begun_again(tmp_path):
    ((dense, levels),) = tasks_of("host", small().arms[0].setup, [0], choose(small(), tmp_path).place)
    told = []
    for task in (dense, levels):
        carry_out_task(task, lambda: told.append(1))
    stamps = {path: path.stat().st_mtime_ns for task in (dense, levels) for path in task.folder.iterdir()}
    for task in (dense, levels):
        carry_out_task(task, lambda: told.append(1))
    assert len(told) == 2 * (3 + 1)  # before the first epoch, after each of two, at the end
    assert {path: path.stat().st_mtime_ns for path in stamps if path.name != "task.lock"} == {
        path: stamp for path, stamp in stamps.items() if path.name != "task.lock"
    }  # fmt: skip


@pytest.mark.parametrize("watched", ["validation_accuracy", "train_loss"])
def test_a_plateau_is_told_what_it_watches_after_each_epoch(watched, tmp_path, monkeypatch):
    told = []

    def look(_, standing, number):
        told.append(number)
        return standing

    monkeypatch.setattr(Plateau, "look", look)
    rates = {**RATES["plateau"], "watches": watched}
    result = run(choose(small({**THREE_EPOCHS, "train.schedule": rates}), tmp_path))
    curves = [point for level in result.levels for point in level.curve if point.epoch > 0]
    assert told == [point.numbers[watched] for point in curves]
    assert len(set(told)) > 1


@pytest.mark.parametrize("augment", [True, False])
def test_images_are_augmented_where_the_recipe_says_so(tmp_path, monkeypatch, augment):
    asked = []

    def stop(*_, **options):
        asked.append(options["augment"])
        raise Stopped

    choice = choose(small(), tmp_path)
    setup = choice.arms[0].setup
    ((dense, _),) = tasks_of("host", setup, [0], choice.place)
    data = setup.data.model_copy(update={"augment": augment})  # digits are too small for a recipe to ask for it
    dense.__dict__["setup"] = dense.setup.model_copy(update={"data": data})
    monkeypatch.setattr(training, "check_identity", lambda task: None)  # it is another task now
    monkeypatch.setattr(trainer, "train_epoch", stop)
    with pytest.raises(Stopped):
        carry_out_task(dense)
    assert asked == [augment]
