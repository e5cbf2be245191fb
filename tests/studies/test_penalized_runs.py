"""Runs whose ``[train]`` has a penalty of singular values."""

import numpy
import pytest
from safetensors.torch import load_file

from budbreak.studies import run
from small import Stopped, choose, digests, small, stop_at, trained

SHRINKS = {
    "train.penalty": {"is": "weighted-nuclear-norm", "strength": 2.0, "weights": "uniform"},
    "train.penalty_every": 3,
}
ARMS = {"plain": {"prune.schedule": "dense"}, "shrunk": {**SHRINKS, "prune.schedule": "dense", "reference": "plain"}}


def test_weights_become_of_low_rank_in_the_arm_that_says_so(tmp_path):
    choice = choose(small(arms=ARMS), tmp_path)
    _, counts = trained(choice)
    assert counts == {"dense of plain seed 0": 2, "dense of shrunk seed 0": 2}
    states = {arm: load_file(choice.folder / "networks" / f"{arm}-seed0.safetensors") for arm in ARMS}
    found = {arm: numpy.linalg.matrix_rank(state["fc2.weight"].numpy()) for arm, state in states.items()}
    assert found["shrunk"] < found["plain"]


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path):
    recipe = small(SHRINKS)
    run(choose(recipe, tmp_path / "whole"))
    with pytest.raises(Stopped):
        run(choose(recipe, tmp_path / "cut"), report=stop_at(0, 1))
    run(choose(recipe, tmp_path / "cut"))
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
