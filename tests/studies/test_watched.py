"""Arms whose criteria watch the training: their dense training is watched, too, and is one of its own."""

import pytest

from budbreak.errors import InvalidValue
from budbreak.studies import look_ahead
from budbreak.studies.making import make_plan
from small import choose, digests, small, trained

ARMS = {
    "host": {},
    "movement": {"prune.criterion": "movement"},
    "movement-ap": {"reference": "movement", "prune.criterion": "movement", "prune.then": ["ap"]},
    "counts": {"prune.criterion": {"is": "activation-count", "weighted": True}},
    "units": {"reference": "counts", "prune.criterion": "activation-count"},
}


def test_arms_that_watch_the_same_share_a_dense_training_of_the_same_bits(tmp_path):
    choice = choose(small(arms=ARMS), tmp_path)
    assert look_ahead(choice).cost.tasks == 8
    result, counts = trained(choice)
    dense = {name: done for name, done in counts.items() if name.startswith("dense")}
    assert dense == {f"dense of {arm} seed 0": 2 for arm in ("host", "movement", "counts")}
    firsts = {found[0] for found in digests(tmp_path).values()}
    assert len(firsts) == 1  # who watches changes nothing
    assert {(row.arm, row.reference, row.level) for row in result.differences} == {
        ("movement", "host", 1), ("movement-ap", "movement", 1), ("counts", "host", 1),
        ("units", "counts", 1),
    }  # fmt: skip
    lasts = {level.arm: level.numbers["test_accuracy"] for level in result.levels if level.level == 1}
    assert set(lasts) == set(ARMS)


def test_a_recipe_names_what_is_removed_by_a_criterion_of_its_own():
    then = ["train", {"is": "remove", "criterion": {"is": "movement", "reset": "never"}, "q": 0.05}]
    plan = make_plan(small({"prune.then": then}).arms[0].setup, seed=0, steps=4)
    assert [str(observer) for observer in plan.observers] == ["MovementSums(reset='never', every=1)"]
    assert plan.trainings == [(0, 0), (1, 0), (1, 1)]


def test_calibration_images_have_no_effect_on_what_is_watched(tmp_path):
    with pytest.raises(InvalidValue, match=r"prune\.images"):
        look_ahead(choose(small({"prune.criterion": "movement", "prune.images": 100}), tmp_path))
