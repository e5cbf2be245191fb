"""The authors' script on a recipe's data: one cell for each arm and seed, computed once."""

import pytest

from reproductions import read_cells
from reproductions.ap.scripts import DRIFT, NONZERO, SCRIPTS, STUDIES, Job, ScriptStudy, compute, jobs_of, run_scripts

RECIPE = """
[data]
name = "digits"
limit = 200
[network]
name = "NETWORK"
[train]
epochs = 2
batch_size = 50
optimizer = {is = "sgd", learning_rate = 0.05}
schedule = {is = "steps", milestones = [1]}
[prune]
schedule = {is = "geometric", rate = 0.2, levels = 2}
"""


def jobs(folder, *arms, network="mlp", seeds=1):
    (folder / "tiny.toml").write_text(RECIPE.replace("NETWORK", network))
    return jobs_of([ScriptStudy("tiny-script", "tiny.toml", arms)], folder, None, folder / "cells", seeds=seeds)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """One cell of each arm, on a network with norms."""
    folder = tmp_path_factory.mktemp("scripts")
    return {job.arm: compute(job) for job in jobs(folder, *SCRIPTS, network="bn-cnn")}


def test_a_leak_is_recorded_at_a_density_that_it_does_not_have(cells):
    kept, total = cells["leak"].kept, cells["leak"].total
    assert kept == cells["ap"].kept == cells["host"].kept
    assert cells["ap"].end[NONZERO] == tuple(pytest.approx(k / total) for k in kept)
    assert cells["leak"].end[NONZERO] == tuple(pytest.approx(k / total, abs=1e-3) for k in (kept[0], *kept[:-1]))
    assert cells["whole-script"].end[NONZERO][2] > cells["ap"].end[NONZERO][2] + 0.1


def test_arms_of_a_seed_differ_by_their_defect_alone(cells):
    accuracies = {arm: cell.end["test_accuracy"] for arm, cell in cells.items()}
    assert len({accuracy[0] for accuracy in accuracies.values()}) == 1  # the same dense training
    assert accuracies["statistics"][0] == accuracies["ap"][0]
    assert accuracies["redraw"] != accuracies["ap"]
    drifts = {arm: cell.rewound[DRIFT][2] for arm, cell in cells.items()}
    assert drifts["biases"] > 0 == drifts["ap"] == drifts["leak"]
    assert cells["norms"].kept != cells["twice"].kept != cells["ap"].kept


def test_two_trainings_a_level_are_counted(cells):
    assert cells["ap"].epochs == (2, 4, 4)
    assert cells["ap"].steps == (8, 16, 16)
    assert cells["ap"].setup["script"]["q"] == 0.02
    assert len({cell.task for cell in cells.values()}) == len(cells)


@pytest.mark.slow  # processes are started anew
def test_what_has_a_cell_is_not_computed_again_and_what_fails_stops_no_other(tmp_path):
    wanted = jobs(tmp_path, "host", "ap", "unknown")
    done = list[Job]()
    failures = run_scripts(wanted, workers=2, finished=done.append)
    assert {job.arm for job in done} == {"host", "ap"}
    assert [(failure.task, "unknown" in failure.text) for failure in failures] == [("tiny-script unknown seed 0", True)]
    cells = {cell.arm: cell for cell in read_cells(tmp_path / "cells")}
    assert compute(wanted[0]).end == cells["host"].end  # the same bits
    assert run_scripts(wanted[:2], workers=2, finished=done.append) == []
    assert len(done) == 2


def test_switches_without_effect_are_not_planned():
    lenet, cnn = STUDIES
    assert set(cnn.arms) - set(lenet.arms) == {"statistics", "norms"}
    assert all(reference is None or reference in lenet.arms for reference in lenet.planned.values())
