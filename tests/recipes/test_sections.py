"""The sections: what a field may be, what is wrong with others, and what tells a section from another one."""

import sys

import pytest

from budbreak.criteria import Magnitude
from budbreak.errors import InvalidValue, UnknownName
from budbreak.recipes.sections import SECTIONS, check_fields, make_parts, make_setup
from budbreak.schedules import Geometric
from small import TINY, plain

SETUP = {name: table for name, table in TINY.items() if name in SECTIONS}


def setup(changes=None):
    return make_setup({name: table for name, table in plain(changes).items() if name in SECTIONS})


def test_values_are_read_and_every_field_is_spelt_out():
    made = setup({"prune.schedule": {"is": "geometric", "rate": 0.5, "levels": 3}})
    assert (made.prune.schedule, made.prune.criterion) == (Geometric(rate=0.5, levels=3), Magnitude())
    assert made.plain()["prune"]["schedule"] == {"is": "geometric", "rate": 0.5, "levels": 3}
    assert all(list(made.plain()[name]) == list(kind.model_fields) for name, kind in SECTIONS.items())
    assert make_setup(made.plain()) == made


def test_every_field_is_explained():
    assert all(info.description for kind in SECTIONS.values() for info in kind.model_fields.values())


WRONG = [
    ({"train.epoch": 3}, UnknownName, "did you mean 'epochs'?"),
    ({"data.epochs": 3}, UnknownName, "did you mean epochs in [train]?"),
    ({"prune.criterion": "magnitud"}, UnknownName, "did you mean 'magnitude'?"),
    ({"data.name": "mnits"}, UnknownName, "did you mean 'mnist'?"),
    ({"network.name": "resnet20"}, UnknownName, "did you mean 'resnet-20'?"),
    ({"network.init": "kaimin"}, UnknownName, "did you mean 'kaiming'?"),
    ({"train.optimizer": "adamm"}, UnknownName, "did you mean 'adam'?"),
    ({"train.schedule": "cosin"}, UnknownName, "did you mean 'cosine'?"),
    ({"prune.granularity": "units"}, UnknownName, "did you mean 'unit'?"),
    ({"prune.floor": -1}, InvalidValue, "prune.floor is -1"),
    ({"prune.floor": 1.5}, InvalidValue, "prune.floor is 1.5"),
    ({"prune.floor": True}, InvalidValue, "prune.floor is true"),
    ({"prune.scope": "layers"}, UnknownName, "did you mean 'layer'?"),
    ({"prune.allocation": "erks"}, UnknownName, "did you mean 'erk'?"),
    ({"measure.diagnostics": ["dead-unit"]}, UnknownName, "did you mean 'dead-units'?"),
    ({"prune.schedule": {"is": "geometric", "rate": 20, "levels": 1}}, InvalidValue, "write 0.2"),
    ({"prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 0}}, InvalidValue, "levels is 0"),
    ({"prune.schedule": {"is": "geometric", "rate": 0.2}}, InvalidValue, "levels not given"),
    ({"prune.schedule": {"is": "geometric", "levels": 1, "sparsity": 0.9}}, UnknownName, "no argument 'sparsity'"),
    ({"prune.schedule": {"is": "one-shot", "sparsity": 1.0}}, InvalidValue, "sparsity is 1.0"),
    ({"prune.schedule": {"is": "cubic", "sparsity": -0.1, "levels": 2}}, InvalidValue, "sparsity is -0.1"),
    ({"prune.schedule": {"is": "cubic", "sparsity": 0.1, "levels": 10**8}}, InvalidValue, "at most 1,000"),
    ({"prune.schedule": {"rate": 0.2, "levels": 1}}, InvalidValue, "without `is`"),
    ({"prune.then": [{"is": "ap", "q": 0}]}, InvalidValue, "q is 0"),
    ({"measure.diagnostics": ["dead-units", "dead-units"]}, InvalidValue, "twice"),
    ({"retrain.ways": ["free", "masked", "free"]}, InvalidValue, "retrain.ways has 'free' twice"),
    ({"prune.then": "ap"}, InvalidValue, "it must be a list"),
    ({"train.epochs": 2.5}, InvalidValue, "train.epochs is 2.5\nit must be a whole number"),
    ({"train.epochs": True}, InvalidValue, "train.epochs is true"),
    ({"train.epochs": "3"}, InvalidValue, "write epochs = 3"),
    ({"train.epochs": 0}, InvalidValue, "it must be at least 1"),
    ({"train.epochs": 10**9}, InvalidValue, "at most 100,000"),
    ({"train.batch_size": 1 << 4000}, InvalidValue, "4001 bits"),
    ({"train.batch_size": [[[]]]}, InvalidValue, "train.batch_size is [[[]]]"),
    ({"train.optimizer": {"is": "sgd", "learning_rate": 0}}, InvalidValue, "learning_rate is 0"),
    ({"train.optimizer": {"is": "sgd", "learning_rate": float("nan")}}, InvalidValue, "learning_rate is nan"),
    ({"train.optimizer": {"is": "sgd", "learning_rate": 1 << 14000}}, InvalidValue, "learning_rate is "),
    ({"train.optimizer": {"is": "sgd", "nesterov": True, "momentum": 0}}, InvalidValue, "add momentum = 0.9"),
    ({"train.schedule": {"is": "steps", "milestones": [2, 1]}}, InvalidValue, "milestones"),
    ({"train.schedule": {"is": "steps", "milestones": [1, 2], "gamma": 1e200}}, InvalidValue, "gamma is 1e+200"),
    ({"train.schedule": {"is": "cosine", "end": 1.5}}, InvalidValue, "end is 1.5"),
    ({"train.precision": "float16"}, InvalidValue, "'auto', 'float32', 'bfloat16'"),
    ({"prune.rewind": "learning rate"}, InvalidValue, "did you mean 'learning-rate'?"),
    ({"prune.rewind_epoch": 2}, InvalidValue, "the training has 2 epochs"),
    ({"prune.exclude": "fc.weight"}, InvalidValue, 'write exclude = ["fc.weight"]'),
    ({"prune.exclude": ["x"] * 1000}, InvalidValue, "prune.exclude has 1,000 items"),
    ({"data.augment": 1}, InvalidValue, "write augment = true"),
    ({"data.augment": True}, InvalidValue, "images of 8 x 8 pixels"),
    ({"data.name": 3}, InvalidValue, "data.name is 3"),
    ({"data": 3}, InvalidValue, "it must be a table"),
    ({"measure.diagnostics": "dead-units"}, InvalidValue, 'write ["dead-units"]'),
    ({"measure.diagnostics": [{"is": "dead-units", "threshold": -1}]}, InvalidValue, "threshold is -1"),
    ({"prune.criterion": {"is": "taylor", "a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}}, UnknownName, "no argument 'a'"),
    ({"prune.criterion": "nowhere:Mine"}, UnknownName, "cannot import 'nowhere'"),
    ({"prune.criterion": ["magnitude"]}, InvalidValue, 'prune.criterion is ["magnitude"]'),
    ({"prune.criterion": {}}, InvalidValue, "without `is`"),
]


@pytest.mark.parametrize(("change", "kind", "words"), WRONG, ids=[str(change)[:60] for change, _, _ in WRONG])
def test_wrong_values_are_refused_with_value_rule_and_fix(change, kind, words):
    with pytest.raises(kind) as caught:
        setup(change)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_deep_nesting_is_refused():
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidValue, match="nested"):
        setup({"prune.criterion": {"is": "taylor", "a": deep}})


@pytest.mark.parametrize(("section", "field"), [("data", "name"), ("network", "name"), ("train", "epochs")])
def test_a_missing_required_field_is_named(section, field):
    given = {name: dict(table) for name, table in SETUP.items()}
    del given[section][field]
    with pytest.raises(InvalidValue, match=rf"lacks {section}\.{field}\n.*\nadd {field} = \.\.\. below \[{section}\]"):
        make_setup(given)
    with pytest.raises(InvalidValue, match=f"lacks {section}"):
        make_setup({name: table for name, table in SETUP.items() if name != section})


OWN_CLASSES = """
from dataclasses import dataclass
from budbreak.evidence import Weights

class Plain:
    needs = ()
    def __call__(self, evidence): ...

@dataclass(frozen=True)
class Needless:
    def __call__(self, evidence): ...

@dataclass
class Thawed:
    needs = ()
    def __call__(self, evidence): ...

@dataclass(frozen=True)
class Strict:
    alpha: float
    powers: tuple[int, ...] = (1, 2)
    needs = (Weights(),)
    def __call__(self, evidence): ...

    def __post_init__(self):
        if self.alpha > 1:
            raise ValueError("alpha is over 1")

function = len
"""
OWN_WRONG = [
    ("broken:Mine", InvalidValue, ["SyntaxError", "broken.py, line 3"]),
    ("raising:Mine", InvalidValue, ["ZeroDivisionError", "raising.py, line 2"]),
    ("own:Nine", UnknownName, ["no attribute 'Nine'"]),
    ("own:Plain", InvalidValue, ["no frozen dataclass", "write @dataclass(frozen=True) above class Plain"]),
    ("own:Thawed", InvalidValue, ["no frozen dataclass"]),
    ("own:Needless", InvalidValue, ["Needless has no needs", "add needs to class Needless"]),
    ("own:function", InvalidValue, ["len is no class"]),
    ("own:Strict", InvalidValue, ["alpha not given", 'write {is = "own:Strict", alpha = <a finite number>}']),
    ({"is": "own:Strict", "alhpa": 0.3}, UnknownName, ["did you mean 'alpha'?"]),
    ({"is": "own:Strict", "alpha": "0.3"}, InvalidValue, ["prune.criterion.alpha is '0.3'", "write 0.3"]),
    ({"is": "own:Strict", "alpha": float("inf")}, InvalidValue, ["prune.criterion.alpha is inf"]),
    ({"is": "own:Strict", "alpha": 1, "powers": [1, 2.5]}, InvalidValue, ["prune.criterion.powers[1] is 2.5"]),
    ({"is": "own:Strict", "alpha": 2}, InvalidValue, ["ValueError: alpha is over 1", "own.py, line 27"]),
]


@pytest.mark.parametrize(("criterion", "kind", "words"), OWN_WRONG, ids=[str(given)[:60] for given, _, _ in OWN_WRONG])
def test_a_class_of_the_users_own_is_refused_with_its_file_and_line(criterion, kind, words, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN_CLASSES)
    (tmp_path / "broken.py").write_text("x = 1\n\ndef (:\n")
    (tmp_path / "raising.py").write_text("\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(kind) as caught:
        setup({"prune.criterion": criterion})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_arguments_of_a_value_come_from_its_own_table_alone(mine):
    """Levels, seeds and momentum of the recipe were once filled in where names coincide."""
    given = {"train.optimizer": {"is": "sgd", "momentum": 0.5}, "prune.criterion": {"is": "mine:Mine", "power": 3}}
    made = setup(given)
    assert (made.prune.criterion.power, made.train.optimizer.momentum) == (3.0, 0.5)
    with pytest.raises(UnknownName, match="no argument 'levels'"):
        setup({"prune.criterion": {"is": "mine:Mine", "levels": 12}})


def test_what_a_recipe_names_beside_data_and_network_is_neither_looked_at_nor_imported(mine):
    given = {**SETUP, "prune": {"criterion": "mine:Mine", "schedule": "nonsense"}}
    data, network = make_parts(given)
    assert (data.limit, network.name) == (200, "mlp")
    assert "mine" not in sys.modules


def test_only_what_is_not_at_its_default_tells():
    assert setup().measure.told() == {"images": 100}
    assert setup({"measure.images": 2000}).measure.told() == {}
    spelt_out = setup({"prune.criterion": {"is": "magnitude"}, "prune.rewind_epoch": 0, "prune.then": []})
    assert spelt_out.prune.told() == setup().prune.told()
    assert list(setup().prune.told()) == ["schedule"]


def test_single_fields_are_checked_without_what_they_lack():
    check_fields({"data": {"augment": True}, "train": {"batch_size": 3}})
    with pytest.raises(InvalidValue, match=r"train\.epochs is 'x'"):
        check_fields({"train": {"epochs": "x"}})
    with pytest.raises(UnknownName, match="no section"):
        check_fields({"trian": {}})
