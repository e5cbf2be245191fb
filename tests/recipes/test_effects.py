"""What has no effect is refused: in the sections if it has none in any arm, in an arm if it has none there."""

import pytest

from budbreak.errors import InvalidValue
from budbreak.recipes.recipe import make_recipe
from small import plain

SILENT = plain()
del SILENT["measure"]["images"]
DENSE = {"prune.schedule": "dense"}
IDLE = [
    ({"prune.images": 100}, "the criterion looks at weights only"),
    ({"prune.images": 2000}, "the criterion looks at weights only"),  # the default, but given all the same
    ({"prune.rewind": "none", "prune.rewind_epoch": 1}, "the weights do not return"),
    ({"prune.rewind": "learning-rate", "prune.rewind_epoch": 0}, "the weights do not return"),
    ({"measure.diagnostics": [], "measure.images": 5}, "nothing is measured"),
    ({"measure.diagnostics": [], "measure.every": 5}, "nothing is measured"),
    ({**DENSE, "prune.criterion": "taylor"}, "nothing is pruned"),
    ({**DENSE, "prune.then": ["ap"]}, "nothing is pruned"),
    ({**DENSE, "prune.scope": "layer"}, "nothing is pruned"),
    ({**DENSE, "prune.floor": 1}, "nothing is pruned"),
    ({**DENSE, "prune.allocation": "erk"}, "nothing is pruned"),
    ({"prune.allocation": "erk"}, "no target is divided over layers"),
    ({**DENSE, "prune.granularity": "unit"}, "nothing is pruned"),
    ({**DENSE, "prune.allow_collapse": True}, "nothing is pruned"),
    ({**DENSE, "prune.connect": True}, "nothing is pruned"),
    ({**DENSE, "prune.rewind": "none"}, "nothing is pruned"),
    ({**DENSE, "prune.rewind_epoch": 1}, "nothing is pruned"),
]


def recipe(changes, **whole):
    sections = {name: dict(table) if isinstance(table, dict) else table for name, table in SILENT.items()}
    for path, value in changes.items():
        section, field = path.split(".")
        sections[section][field] = value
    return make_recipe({**sections, **whole})


@pytest.mark.parametrize(("changes", "why"), IDLE, ids=[str(changes) for changes, _ in IDLE])
def test_a_field_without_effect_is_refused_in_the_sections_and_in_an_arm(changes, why):
    path = list(changes)[-1]
    with pytest.raises(InvalidValue, match=rf"^{path} is .*\n.*{why}.*: a field without effect is refused"):
        recipe(changes)
    with pytest.raises(InvalidValue, match=rf"^arm 'idle': {path} is .*\n.*{why}"):
        recipe({}, arms={"host": {}, "idle": changes})
    idle_elsewhere = {key: value for key, value in changes.items() if key != path}
    recipe(idle_elsewhere)


def test_a_field_with_an_effect_stays():
    recipe({"prune.criterion": "taylor", "prune.images": 100})
    recipe({"prune.connect": True, "prune.images": 100})
    recipe({"prune.rewind_epoch": 1})
    recipe({"measure.every": 0, "measure.images": 0})
    recipe({"prune.schedule": "dense", "prune.exclude": ["fc.*"]})


def test_a_field_of_the_sections_needs_an_effect_in_one_arm_only():
    arms = {"host": {}, "taylor": {"prune.criterion": "taylor"}}
    assert recipe({"prune.images": 100}, arms=arms).arms[0].setup.prune.images == 100
    arms = {"dense": {"prune.schedule": "dense"}, "host": {}}
    assert recipe({"prune.then": ["ap"]}, arms=arms).arms[1].setup.prune.then


def test_own_criteria_that_look_at_data_make_their_images_count(mine):
    text = (mine / "mine.py").read_text()
    (mine / "looking.py").write_text(text.replace("import Weights", "import Gradients, Weights")
                                     .replace("(Weights(),)", "(Weights(), Gradients())"))  # fmt: skip
    recipe({"prune.criterion": "looking:Mine", "prune.images": 100})
    with pytest.raises(InvalidValue, match=r"^prune\.images is 100"):
        recipe({"prune.criterion": "mine:Mine", "prune.images": 100})
