"""What competes, and what goes as one, from a recipe to its page: N:M, rows, ERK, floors, blocks, budgets."""

import pytest

from budbreak.results.result import Counted
from budbreak.studies import run
from small import choose, small

SHOT = {"prune.schedule": {"is": "one-shot", "sparsity": 0.5}, "prune.exclude": ["fc3.*"], "train.epochs": 1}
BUDGET = {"is": "unit", "budget": "weights", "outputs": []}
ARMS = {
    "global": {"prune.floor": 1},
    "nm": {"prune.scope": {"is": "nm", "n": 2, "of": 4}},
    "rows": {"prune.scope": "rows", "prune.allocation": "erk"},
    "layer": {"prune.scope": "layer", "prune.floor": 0.4},
    "block": {"prune.granularity": {"is": "block", "rows": 1, "columns": 4}, "reference": "none"},
    "budget": {"prune.granularity": BUDGET, "reference": "none"},
    "random": {"prune.granularity": BUDGET, "prune.criterion": "random", "reference": "budget"},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    choice = choose(small(SHOT, arms=ARMS), tmp_path_factory.mktemp("runs"))
    return {level.arm: level for level in run(choice).levels if level.level == 1}


@pytest.mark.slow
def test_every_arm_keeps_what_it_says(measured):
    total = 64 * 100 + 100 * 50
    assert {arm: level.kept for arm, level in measured.items() if level.counted is None} == dict.fromkeys(
        ("global", "nm", "rows", "layer"), total // 2
    )
    assert {layer.name: layer.kept for layer in measured["nm"].layers} == {"fc1.weight": 3200, "fc2.weight": 2500}
    # as 164 : 150, 2977.07 and 2722.93 of 5700
    assert {layer.name: layer.kept for layer in measured["rows"].layers} == {"fc1.weight": 2977, "fc2.weight": 2723}
    assert measured["block"].counted == Counted(1425, 2850, "blocks")
    assert measured["block"].kept == 5700
    for arm in ("budget", "random"):
        assert measured[arm].counted == Counted(5700, 11400, "weights at most")
        assert 5600 < measured[arm].kept <= 5700


@pytest.mark.slow
def test_classes_stay_connected_and_the_page_says_how_many_weights_were_exchanged(tmp_path):
    steep = {"prune.schedule": {"is": "one-shot", "sparsity": 0.995}, "prune.exclude": [], "prune.floor": 10}
    shot = {**SHOT, **steep, "prune.scope": "layer", "measure.diagnostics": ["connectivity"]}
    arms = {"torn": {}, "whole": {"prune.connect": True}, "ap": {"prune.connect": True, "prune.then": ["ap"]}}
    found = {level.arm: level for level in run(choose(small(shot, arms=arms), tmp_path)).levels if level.level == 1}
    assert found["torn"].numbers["reachable_classes"] < 1
    assert [found[arm].numbers["reachable_classes"] for arm in ("whole", "ap")] == [1, 1]
    assert len({level.kept for level in found.values()}) == 1
    assert [layer.kept for layer in found["whole"].layers] == [layer.kept for layer in found["torn"].layers]
    assert any("weights were exchanged, so that each class keeps a path" in note for note in found["whole"].notes)
    assert not found["torn"].notes
