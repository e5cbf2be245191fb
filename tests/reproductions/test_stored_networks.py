"""What is measured on the stored networks of a run, against numpy, and once."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import nn

from budbreak.data import load
from budbreak.errors import InvalidValue, UnknownName
from budbreak.iteration import Store
from budbreak.lowrank import factorize
from budbreak.masks import Mask
from budbreak.measuring import Meter
from budbreak.recipes import make_recipe
from budbreak.studies import Choice, Place, run
from reproductions.activation.comparing import bookkeeping
from reproductions.activation.factors import weights_of
from reproductions.activation.measuring import Wanted, measure_run
from reproductions.activation.stored import read_factors, read_networks, write_stored
from reproductions.activation.studies import Measured
from reproductions.harvest import cells_of_run
from reproductions.study import Study

QUICK = Meter(rounds=1, patience=0.0, shortest=0.0, mode="wall")
UNITS = {"is": "unit", "budget": "weights"}
RECIPE = {
    "name": "tiny",
    "seeds": 1,
    "data": {"name": "digits", "limit": 300, "scale": "unit"},
    "network": {"name": "mlp"},
    "train": {
        "epochs": 12,
        "batch_size": 30,
        "optimizer": {"is": "sgd", "learning_rate": 0.1},
        "until": {"is": "accuracy-gates", "prunings": 2, "start": 0.3, "final": 0.7},
    },
    "prune": {
        "schedule": {"is": "decaying", "sparsity": 0.6, "levels": 2},
        "criterion": "activation-count",
        "spare": ["fc3.*"],
        "rewind": "none",
    },
    "measure": {"images": 50, "diagnostics": ["rank"], "every": 0},
    "retrain": {"ways": ["free"]},
    "arms": {
        "units": {"prune.granularity": UNITS},
        "magnitude-authors": {"reference": "none", "prune.criterion": "magnitude"},
    },
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run, the folder of its cells, and what was new at first."""
    recipe, out = make_recipe(RECIPE), tmp_path_factory.mktemp("runs")
    choice = Choice(recipe, recipe.arms, out, Place(out / "tasks", None, 1), "here", 1)
    run(choice)
    new = [cell.file_name for cell in measure_run(Wanted(choice.folder, None, meter=QUICK), out / "cells")]
    return choice.folder, out / "cells", new


@pytest.fixture(scope="module")
def units(measured):
    """The cell of the arm, that of its network, its mask and its weights."""
    folder, cells, _ = measured
    (cell,) = [cell for cell in cells_of_run(folder) if cell.arm == "units"]
    (network,) = [one for one in read_networks(cells) if one.arm == "units"]
    return cell, network, folder.parent / "tasks" / cell.task


def dense_state(measured, arm):
    """The weights that an arm started from: those at level 0."""
    (cell,) = [cell for cell in cells_of_run(measured[0]) if cell.arm == arm]
    tasks = measured[0].parent / "tasks"
    text = (tasks / cell.task / "task.json").read_text()
    (dense,) = [path for path in tasks.glob("dense-*") if path.name in text]
    return load_file(dense / "model.safetensors")


def test_there_is_a_cell_for_each_network_and_form(measured):
    names = [f"tiny/networks/{arm}-seed0.json" for arm in ("units", "magnitude-authors")]
    forms = [f"{method}-{at}" for at in ("rank", "parameters") for method in ("pca", "svd", "trained")]
    assert measured[2] == [*names, *(f"tiny/factors/units-{form}-seed0.json" for form in forms)]


def test_only_what_has_no_cell_is_measured_again(measured):
    folder, cells, _ = measured
    assert list(measure_run(Wanted(folder, None, meter=QUICK), cells)) == []
    gone = cells / "tiny/factors/units-svd-rank-seed0.json"
    before = gone.read_text()
    gone.unlink()
    assert [cell.file_name for cell in measure_run(Wanted(folder, None, meter=QUICK), cells)] == [
        "tiny/factors/units-svd-rank-seed0.json"
    ]
    same = ("ranks", "weights", "test_accuracy", "standard")
    assert [line for line in gone.read_text().splitlines() if any(f'"{name}"' in line for name in same)] == [
        line for line in before.splitlines() if any(f'"{name}"' in line for name in same)
    ]


def test_an_arm_that_is_not_there_and_a_cell_of_another_task_are_refused(measured, tmp_path):
    folder, cells, _ = measured
    with pytest.raises(UnknownName, match="did you mean 'units'"):
        list(measure_run(Wanted(folder, None, ("unit",), meter=QUICK), tmp_path))
    (network,) = [one for one in read_networks(cells) if one.arm == "units"]
    write_stored(tmp_path, replace(network, task="levels-other"))
    with pytest.raises(InvalidValue, match="is of levels-other, not of levels-"):
        list(measure_run(Wanted(folder, None, ("units",), meter=QUICK), tmp_path))


def test_survivors_and_dead_units_are_those_of_the_weights(units):
    _, network, folder = units
    state = load_file(folder / "model.safetensors")
    for name, counts in network.layers.items():
        rows, bias = state[name].numpy(), state[name.replace("weight", "bias")].numpy()
        dead = ~rows.any(1)
        assert counts["units"] == len(rows)
        assert counts["survivors"] == (~dead).sum() < len(rows)
        assert counts["dead_positive"] == (dead & (bias > 0)).sum()


def test_the_change_of_singular_values_is_that_of_the_first_pruning(measured, units):
    _, network, _ = units
    state = dense_state(measured, "units")
    mask = units_mask(units, 1)
    for name, places in network.ratios.items():
        before = np.linalg.svd(state[name].double().numpy(), compute_uv=False)
        after = np.linalg.svd((state[name] * mask[name]).double().numpy(), compute_uv=False)
        after[after <= 1e-3] = 0
        change = 100 * (after / before - 1)
        expected = [change[round(place * (len(change) - 1))] for place, _ in places]
        np.testing.assert_allclose([value for _, value in places], expected, atol=1e-3)
        size = len(change) // 3
        np.testing.assert_allclose(network.thirds[name][0], change[:size].mean(), atol=1e-3)
        np.testing.assert_allclose(network.thirds[name][2], change[-size:].mean(), atol=1e-3)


def test_what_kept_singular_vectors_is_the_best_that_any_change_of_singular_values_reaches(measured, units):
    _, network, _ = units
    state, mask = dense_state(measured, "units"), units_mask(units, 1)
    assert set(network.along) == {name for name in network.ratios if not mask[name].all()} != set()
    for name, share in network.along.items():
        before = state[name].double().numpy()
        gone = before * ~mask[name].numpy()
        left, _, right = np.linalg.svd(before, full_matrices=False)
        pairs = np.stack([np.outer(left[:, i], right[i]).ravel() for i in range(len(right))], axis=1)
        best, *_ = np.linalg.lstsq(pairs, gone.ravel(), rcond=None)  # any change of singular values at all
        assert share == pytest.approx(
            1 - np.square(gone.ravel() - pairs @ best).sum() / np.square(gone).sum(), abs=1e-3
        )
        assert 0 < share < 0.9


def units_mask(units, level):
    return Mask.load(units[2] / f"masks/level-{level:03d}.safetensors")


def test_connected_macs_are_those_of_living_units(units):
    cell, network, _ = units
    for level in cell.levels:
        mask = units_mask(units, level)
        widths = [64, *(int(mask[name].any(1).sum()) for name in ("fc1.weight", "fc2.weight")), 10]
        assert network.macs[level] == sum(a * b for a, b in pairwise(widths))
    assert network.compact_macs == (network.macs[0], network.macs[-1])
    assert network.difference < 1e-4


def test_forms_have_the_ranks_of_the_pruned_network_and_the_accuracy_of_their_product(measured, units):
    cell, network, _ = units
    rows = {(one.method, one.at): one for one in read_factors(measured[1])}
    ranks = {name: int(cell.layers[name]["rank"][-1]) for name in network.layers}
    assert rows["svd", "rank"].ranks == ranks
    state = dense_state(measured, "magnitude-authors")
    images = load("digits").unscaled().test
    values = images.normalised(images.images).flatten(1).numpy()
    for method in ("svd", "pca"):
        for number, name in enumerate(("fc1", "fc2", "fc3")):
            weight = state[f"{name}.weight"].numpy()
            if number < 2:
                weight = reduced(weight, ranks[f"{name}.weight"], method)
            values = values @ weight.T + state[f"{name}.bias"].numpy()
            values = np.maximum(values, 0) if number < 2 else values
        share = (values.argmax(1) == images.labels.numpy()).mean()
        assert rows[method, "rank"].test_accuracy == pytest.approx(share, abs=0.004)  # a tie of rounding: one image
        values = images.normalised(images.images).flatten(1).numpy()
    assert rows["trained", "rank"].epochs > 0
    assert rows["trained", "rank"].weights == rows["svd", "rank"].weights


def reduced(weight, rank, method):
    """scikit-learn's PCA by hand: rows of the transposed kernel, one an input, are the samples."""
    samples = weight.T.astype(np.float64)
    mean = samples.mean(0) if method == "pca" else 0.0
    left, values, right = np.linalg.svd(samples - mean, full_matrices=False)
    return (left[:, :rank] * values[:rank] @ right[:rank] + mean).T


@pytest.mark.parametrize(("extra", "method"), [(0, "svd"), (1, "pca")])
def test_weights_of_factors_are_those_of_the_factored_network(extra, method):
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    ranks = {"0.weight": 2, "2.weight": 3}
    factored = factorize(model, ranks, method=method)
    expected = sum(value.numel() for name, value in factored.state_dict().items() if value.dim() > 1)
    assert weights_of(model, ranks, extra=extra) == expected


def test_at_equal_parameters_no_layer_holds_more_than_the_mask_keeps(measured, units):
    mask = units_mask(units, 2)
    for one in read_factors(measured[1]):
        if one.at == "parameters":
            extra = int(one.method == "pca")
            for name, rank in one.ranks.items():
                inner = rank + extra
                held = inner * sum(mask[name].shape)
                assert held <= int(mask[name].sum()) or rank == 1


def test_the_books_of_ranks_name_every_hidden_layer(measured, units):
    cell, network, folder = units
    study = Study("tiny", {"units": None}, 1, (cell,), exact=False)
    found = bookkeeping(Measured(study, None, "tiny", (network,), ()))
    assert [one.layer for one in found] == ["fc1.weight", "fc2.weight"]
    store = Store(folder / "retrained-free")
    store.look()
    free = store.load_checkpoint()[0].model
    for one in found:
        assert one.rank == min(one.survivors, one.full)
        assert one.free == np.linalg.matrix_rank(free[one.layer].numpy())
