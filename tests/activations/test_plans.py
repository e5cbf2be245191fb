"""Plans: frozen, saved, read, refused."""

import json

import pytest

from budbreak.activations import ACON, GELU, ActivationPlan, PReLU, Rational, ReLU, Swish
from budbreak.errors import CorruptFile, InvalidValue, MissingData, UnknownName
from budbreak.testing import check_value

PLAN = ActivationPlan({"block.relu#1": Swish(), "a": ACON(p1=1.5, per="unit"), "b": Rational(numerator=(0.0, 1.0))})


def test_a_plan_is_a_mapping_and_a_value():
    assert list(PLAN) == ["block.relu#1", "a", "b"]
    assert PLAN["a"] == ACON(p1=1.5, per="unit")
    assert len(PLAN) == 3
    assert "b" in PLAN
    assert ActivationPlan(dict(PLAN)) == PLAN
    assert hash(PLAN) == hash(ActivationPlan({site: PLAN[site] for site in sorted(PLAN)}))
    assert dict(PLAN) != PLAN
    assert eval(repr(PLAN)) == PLAN
    check_value(PLAN["a"])


def test_what_it_was_made_from_may_change():
    entries = {"a": ReLU()}
    plan = ActivationPlan(entries)
    entries["a"] = Swish()
    assert plan["a"] == ReLU()


def test_a_file_holds_it(tmp_path):
    PLAN.save(tmp_path / "plan.json")
    assert ActivationPlan.load(tmp_path / "plan.json") == PLAN
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored["sites"]["block.relu#1"] == "swish"
    assert stored["sites"]["a"] == {"is": "acon", "per": "unit", "p1": 1.5}


def test_the_second_stage_trains_what_the_first_one_fixed():
    plan = ActivationPlan.uniform(["a", "b"], Swish())
    assert plan.trained() == ActivationPlan({"a": Swish(trainable=True), "b": Swish(trainable=True)})
    assert plan.trained(per="unit")["a"] == Swish(trainable=True, per="unit")
    assert ActivationPlan({"a": PReLU()}).trained(False)["a"] == PReLU(trainable=False)


def test_a_user_s_own_activation_is_read_by_its_name():
    plain = {"a": {"is": "own_activation:Cube", "alpha": 2.0}}
    plan = ActivationPlan.from_plain(plain)
    assert plan.plain() == plain


@pytest.mark.parametrize(
    ("plain", "error", "words"),
    [
        ({"a": "swich"}, UnknownName, "activations.a is 'swich'"),
        ({"a": "silu"}, UnknownName, 'write "swish"'),
        ({"a": {"is": "swish", "gamma": 1.0}}, UnknownName, "has no argument 'gamma'"),
        ({"a": {"is": "swish", "alpha": "x"}}, InvalidValue, "activations.a.alpha"),
        ({"a": {"is": "swish", "per": "layer"}}, InvalidValue, "'site' or 'unit'"),
        (["a"], InvalidValue, "a plan maps"),
    ],
)
def test_wrong_plain_forms(plain, error, words):
    with pytest.raises(error, match=words):
        ActivationPlan.from_plain(plain)


def test_wrong_entries():
    with pytest.raises(InvalidValue, match=r"bb.activations.Swish\(\)"):
        ActivationPlan({"a": "swish"})
    with pytest.raises(InvalidValue, match=r"write GELU\(\), an instance"):
        ActivationPlan({"a": GELU})
    with pytest.raises(InvalidValue, match=r"write \['relu1'\]"):
        ActivationPlan.uniform("relu1", GELU())
    with pytest.raises(UnknownName, match="did you mean 'a'"):
        ActivationPlan({"a": GELU(), "relu": GELU()})["A"]


def test_wrong_files(tmp_path):
    with pytest.raises(MissingData, match="no file"):
        ActivationPlan.load(tmp_path / "none.json")
    path = tmp_path / "plan.json"
    PLAN.save(path)
    path.write_text(path.read_text().replace("swish", "gelu"))
    with pytest.raises(CorruptFile, match="checksum"):
        ActivationPlan.load(path)
