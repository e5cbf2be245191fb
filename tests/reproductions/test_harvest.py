"""Runs to cells: what is over, with what a run measured, once."""

from dataclasses import replace

import pytest
from made_cells import made_cell

from budbreak.diagnostics import Quantity
from budbreak.errors import CorruptFile, InvalidValue
from budbreak.recipes import make_recipe
from budbreak.search import activation_name
from budbreak.studies import Choice, Place, read_searched, run
from reproductions import harvest, read_cells, write_cell
from reproductions.cells import DURING, REWOUND
from reproductions.harvest import cells_of_run
from reproductions.settings import SAFS, study_of

RECIPE = {
    "name": "tiny",
    "seeds": 2,
    "data": {"name": "digits", "limit": 200},
    "network": {"name": "mlp"},
    "train": {"epochs": 2, "batch_size": 50, "optimizer": {"is": "sgd", "learning_rate": 0.05}},
    "prune": {"schedule": {"is": "geometric", "rate": 0.2, "levels": 2}},
    "measure": {"images": 100},
    "arms": {"host": {}, "pro": {"prune.then": [{"is": "ap", "variant": "pro"}]}},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run, and its result."""
    recipe, out = make_recipe(RECIPE), tmp_path_factory.mktemp("runs")
    choice = Choice(recipe, recipe.arms, out, Place(out / "tasks", None, 1), "here", 1)
    return choice.folder, run(choice)


def test_a_cell_holds_what_the_run_measured(ran, tmp_path):
    folder, result = ran
    cells = harvest([folder], tmp_path)
    assert [(cell.arm, cell.seed) for cell in cells] == [("host", 0), ("host", 1), ("pro", 0), ("pro", 1)]
    found = {(level.arm, level.seed, level.level): level for cell in cells for level in cell.results()}
    assert len(found) == len(result.levels) == 12
    for level in result.levels:
        ours = found[level.arm, level.seed, level.level]
        assert (ours.kept, ours.total, ours.epochs, ours.steps) == (level.kept, level.total, level.epochs, level.steps)
        for name, number in level.numbers.items():
            assert ours.numbers[name] == pytest.approx(number, abs=5e-8)
    assert cells[2].reference == "host"
    assert cells[2].setup["prune"]["then"] == [{"is": "ap", "variant": "pro"}]
    assert cells[0].environment["threads"] == 1


def test_a_cell_tells_the_moments_of_the_last_training_of_a_level_apart(ran):
    folder, result = ran
    (cell,) = [cell for cell in cells_of_run(folder) if (cell.arm, cell.seed) == ("pro", 1)]
    ours = cell.results()[2].numbers
    (level,) = [level for level in result.levels if (level.arm, level.seed, level.level) == ("pro", 1, 2)]
    assert [point.epoch for point in level.curve] == [0, 1, 2, 2, 3, 4]  # two trainings of two epochs
    total = [point.numbers["dead_units_total"] for point in level.curve]
    assert ours[f"{REWOUND}dead_units_total"] == pytest.approx(total[3], abs=5e-8)
    assert ours[f"{DURING}dead_units_total"] == pytest.approx((total[4] + total[5]) / 2, abs=5e-8)


def test_a_second_harvest_finds_nothing_new_and_changes_nothing(ran, tmp_path):
    harvest([ran[0]], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert len(before) == 4
    assert harvest([ran[0]], tmp_path) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_cells_are_read_as_they_were_written(ran, tmp_path):
    assert harvest([ran[0]], tmp_path) == read_cells(tmp_path)


def test_what_is_not_over_is_left_out(ran, tmp_path):
    _, result = ran
    some = replace(result, levels=result.levels[:-1], differences=())  # the last level of pro, seed 1
    some.save(tmp_path)
    (tmp_path / "tasks.json").write_bytes((ran[0] / "tasks.json").read_bytes())
    assert [(cell.arm, cell.seed) for cell in cells_of_run(tmp_path)] == [("host", 0), ("host", 1), ("pro", 0)]


def test_a_run_that_closed_early_is_over_when_it_was_retrained(ran, tmp_path):
    _, result = ran
    arms = {**result.recipe["arms"], "host": {**result.recipe["arms"]["host"], "retrain": {"ways": ["free"]}}}
    free = Quantity("test_accuracy_free", "test accuracy without mask", "share")
    ended = replace(result.levels[1], numbers={**result.levels[1].numbers, "test_accuracy_free": 0.5})
    levels = (result.levels[0], ended, *result.levels[3:])  # host, seed 0, has no level 2; seed 1 was not retrained
    recipe, quantities = {**result.recipe, "arms": arms}, (*result.quantities, free)
    replace(result, recipe=recipe, levels=levels, quantities=quantities, differences=()).save(tmp_path)
    (tmp_path / "tasks.json").write_bytes((ran[0] / "tasks.json").read_bytes())
    found = {(cell.arm, cell.seed): cell.levels for cell in cells_of_run(tmp_path)}
    assert found == {("host", 0): (0, 1), ("pro", 0): (0, 1, 2), ("pro", 1): (0, 1, 2)}


@pytest.mark.parametrize(
    ("name", "sparsity", "levels", "study"),
    [
        ("mnist-activation", 0.8, 5, "mnist-activation"),
        ("mnist-activation", 0.9, 5, "mnist-activation-90-5"),
        ("mnist-activation", 0.8, 10, "mnist-activation-80-10"),
        ("another", 0.9, 10, "another"),
    ],
)
def test_another_setting_of_a_recipe_is_another_study(ran, name, sparsity, levels, study):
    schedule = {"is": "decaying", "sparsity": sparsity, "levels": levels}
    recipe = {"arms": {"first": {"prune": {"schedule": schedule}}, "second": {"prune": {"schedule": {}}}}}
    assert study_of(replace(ran[1], name=name, recipe=recipe)) == study


@pytest.mark.parametrize(
    ("sparsity", "study"), [(0.97, SAFS), (0.95, f"{SAFS}-95"), (0.99, f"{SAFS}-99"), (0.995, f"{SAFS}-99.5")]
)
def test_another_sparsity_of_safs_is_another_study(ran, sparsity, study):
    schedule = {"is": "one-shot", "sparsity": sparsity}
    assert study_of(replace(ran[1], name=SAFS, recipe={"arms": {"relu": {"prune": {"schedule": schedule}}}})) == study


SEARCH = {
    "activations.space": ["relu", "swish", "tanh"],
    "activations.trials": 4,
    "activations.epochs": 1,
    "activations.finalists": 0,
    "activations.trainable": True,
    "tune.space": {"optimizer": {"is": "adam", "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}},
    "tune.trials": 2,
    "tune.epochs": 1,
    "tune.finalists": 1,
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run with an arm that searches, and its result."""
    prune = {"schedule": {"is": "one-shot", "sparsity": 0.8}, "rewind": "none"}
    changes = {"name": "searched", "seeds": 1, "prune": prune, "arms": {"relu": {}, "safs": SEARCH}}
    recipe, out = make_recipe({**RECIPE, **changes}), tmp_path_factory.mktemp("searched")
    choice = Choice(recipe, recipe.arms, out, Place(out / "tasks", None, 1), "here", 1)
    return choice.folder, run(choice)


def test_a_cell_holds_what_was_searched(searched, tmp_path):
    folder, result = searched
    relu, safs = harvest([folder], tmp_path)
    assert (relu.levels, relu.activations, relu.settings, relu.searches) == ((0, 1), {}, {}, {})
    stored = read_searched(folder.parent / "tasks" / safs.task)
    assert stored.plan is not None
    assert safs.activations == {site: activation_name(one) for site, one in stored.plan.trained(False).items()}
    assert safs.settings["optimizer"] == stored.train["optimizer"]
    assert 1e-3 <= safs.settings["optimizer"]["learning_rate"] <= 1e-2
    assert {kind: len(found["epochs"]) for kind, found in safs.searches.items()} == {
        "trial": 4,
        "tuning": 2,
        "tuned": 1,
    }
    assert safs.searches["tuned"]["score"][0] == pytest.approx(safs.end["search_accuracy"][1], abs=5e-8)
    epochs = sum(sum(found["epochs"]) for found in safs.searches.values())
    assert epochs == safs.end["search_epochs"][1] == result.levels[-1].numbers["search_epochs"]
    assert read_cells(tmp_path)[1] == safs


def test_an_arm_of_one_pruning_is_not_over_before_it_was_pruned(searched, tmp_path):
    folder, result = searched
    dense = [level for level in result.levels if level.level == 0]
    replace(result, levels=tuple(dense), differences=()).save(tmp_path)
    (tmp_path / "tasks.json").write_bytes((folder / "tasks.json").read_bytes())
    assert list(cells_of_run(tmp_path)) == []


def test_a_broken_invariant_is_no_result(ran, tmp_path):
    _, result = ran
    broken = replace(result.levels[1], invariants={"zeros held": False})
    replace(result, levels=(result.levels[0], broken, *result.levels[2:])).save(tmp_path)
    (tmp_path / "tasks.json").write_bytes((ran[0] / "tasks.json").read_bytes())
    with pytest.raises(InvalidValue, match="'zeros held' does not hold"):
        list(cells_of_run(tmp_path))


def test_the_cell_of_another_task_is_not_replaced(tmp_path):
    assert write_cell(tmp_path, made_cell("host", 0, [0.9, 0.8]))
    assert not write_cell(tmp_path, made_cell("host", 0, [0.9, 0.7]))  # the same task: who came first stays
    with pytest.raises(InvalidValue, match=r"host-seed0\.json is of levels-host-0, not of levels-other"):
        write_cell(tmp_path, made_cell("host", 0, [0.9, 0.8], task="levels-other"))
    assert read_cells(tmp_path)[0].end["test_accuracy"] == (0.9, 0.8)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{'kind': 1}", "it is not JSON"), ("[1]", "no 'cell 1'"), ('{"kind": "cell 1", "arm": 3}', "structure is wrong")],
)
def test_a_damaged_cell_is_named(tmp_path, text, words):
    path = tmp_path / "made/host-seed0.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(CorruptFile, match=words) as caught:
        read_cells(tmp_path)
    assert str(path) in str(caught.value)
