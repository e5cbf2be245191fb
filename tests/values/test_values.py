"""A value and its plain form say the same; what cannot be written or read is refused in words."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pluggable import (
    CRITERIA,
    EVERYTHING,
    FAMILIES,
    FOLLOW_UPS,
    OUTERS,
    SCHEDULES,
    Calls,
    Everything,
    Magnitude,
    Mine,
    Outer,
    classes,
    double,
    values_of,
)

from budbreak import criteria, schedules
from budbreak.errors import InvalidValue, UnknownName
from budbreak.iteration import followups
from budbreak.values import Family, decode, encode
from enrolled import row_of


def refused(plain, family=CRITERIA, error=InvalidValue):
    with pytest.raises(error) as caught:
        decode(plain, family, field="prune.it")
    assert "prune.it" in caught.value.value
    return caught.value


def not_written(value, family=CRITERIA):
    with pytest.raises(InvalidValue) as caught:
        encode(value, family)
    return caught.value


# --- plain form and value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "family", "value"),
    [
        ("magnitude", CRITERIA, criteria.Magnitude()),
        ({"is": "random", "seed": 7}, CRITERIA, criteria.Random(seed=7)),
        ({"is": "geometric", "rate": 0.25, "levels": 12}, SCHEDULES, schedules.Geometric(rate=0.25, levels=12)),
        ("ap", FOLLOW_UPS, followups.ActivateWhilePruning()),
        ({"is": "ap", "variant": "pro"}, FOLLOW_UPS, followups.ActivateWhilePruning(variant="pro")),
        ("pluggable:Mine", CRITERIA, Mine()),
        ({"is": "pluggable:Mine", "alpha": 0.5}, CRITERIA, Mine(0.5)),
        (
            {"is": "everything", "numbers": [0.5, 2.0], "pair": [2, "y"]},
            EVERYTHING,
            Everything(1.0, numbers=(0.5, 2.0), pair=(2, "y")),
        ),
    ],
)
def test_a_plain_form_and_its_value(plain, family, value):
    assert decode(plain, family, field="f") == value
    assert encode(value, family) == plain


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.what)
@given(data=st.data())
def test_what_is_written_is_read_as_the_same(family, data):
    value = data.draw(values_of(family))
    plain = encode(value, family)
    assert decode(plain, family, field="f") == value
    assert isinstance(plain, str) or next(iter(plain)) == "is"


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Everything,
        number=FINITE | st.integers(-(2**53), 2**53),
        count=st.integers(),
        flag=st.booleans(),
        text=st.text(),
        kind=st.sampled_from(["lite", "pro"]),
        maybe=st.none() | FINITE,
        either=st.integers() | st.text(),
        numbers=st.lists(FINITE).map(tuple),
        pair=st.tuples(st.integers(), st.text()),
        anything=st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.text(), st.booleans()),
    )
)
def test_fields_of_each_annotation_are_read_as_they_were(value):
    assert decode(encode(value, EVERYTHING), EVERYTHING, field="f") == value


def test_every_argument_is_among_those_that_are_tried():
    for kind in [kind for family in FAMILIES for kind in classes(family)]:
        taken = {field.name for field in fields(kind) if field.init}
        assert taken == row_of(kind).arguments.keys(), f"give each argument of {kind.__name__} a strategy in its row"


def test_pluggable_parts_are_read_and_written_too():
    value = Outer(criteria.Random(3), (criteria.Magnitude(), Mine(0.5)), schedules.Geometric(rate=0.2, levels=2))
    plain = {
        "is": "outer",
        "inner": {"is": "random", "seed": 3},
        "several": ["magnitude", {"is": "pluggable:Mine", "alpha": 0.5}],
        "schedule": {"is": "geometric", "rate": 0.2, "levels": 2},
    }
    assert encode(value, OUTERS) == plain
    assert decode(plain, OUTERS, field="f") == value
    assert decode({"is": "outer", "schedule": None}, OUTERS, field="f") == Outer()
    error = refused({"is": "outer", "several": ["magnitude", "tailor"]}, OUTERS, UnknownName)
    assert (error.value, error.fix) == ("prune.it.several[1] is 'tailor'", "did you mean 'taylor'?")


@dataclass(frozen=True)
class Links:
    link: Callable[[float], float] = abs


def test_functions_go_by_their_names_where_the_annotation_says_so():
    family = Family.of("link", [Links], call=False)
    assert encode(Links(double), family) == {"is": "links", "link": "pluggable:double"}
    assert decode({"is": "links", "link": "pluggable:double"}, family, field="f") == Links(double)
    error = refused({"is": "links", "link": "pluggable:dubble"}, family, UnknownName)
    assert error.fix == "did you mean 'double'?"


def test_a_class_of_ours_by_its_full_name_is_written_by_its_short_one():
    assert encode(decode("budbreak.criteria:Taylor", CRITERIA, field="f"), CRITERIA) == "taylor"


def test_a_user_s_class_of_the_name_of_ours_is_written_in_full():
    assert encode(Magnitude(), CRITERIA) == "pluggable:Magnitude"


@dataclass(frozen=True)
class Changed:
    alpha: float = field(default=0.3, metadata={"introduced": 0.5})


def test_a_plain_form_leaves_out_what_is_the_default_today():
    family = Family.of("changed", [Changed], call=False)
    assert encode(Changed(), family) == "changed"
    assert encode(Changed(0.5), family) == {"is": "changed", "alpha": 0.5}


# --- arguments --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SynFlow:
    levels: int = 100
    momentum: float = 0.5
    needs = ()

    def __call__(self, evidence):
        return evidence


def test_arguments_come_from_the_value_s_own_table_alone():
    """A recipe with levels = 12 and momentum = 0.9 made SynFlow(levels=12, momentum=0.9) of a bare name."""
    recipe = {
        "criterion": "test_values:SynFlow",
        "schedule": {"is": "geometric", "rate": 0.2, "levels": 12},
        "momentum": 0.9,
        "levels": 12,
    }
    assert decode(recipe["criterion"], CRITERIA, field="criterion") == SynFlow(levels=100, momentum=0.5)
    assert decode(recipe["schedule"], SCHEDULES, field="schedule").levels == 12


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"number": "0.5"}, "write 0.5"),
        ({"number": True}, ""),
        ({"number": None}, ""),
        ({"number": float("nan")}, "write a finite number"),
        ({"number": float("-inf")}, "write a finite number"),
        ({"number": 10**400}, "write a finite number"),
        ({"count": 10**5000}, "write a finite number"),
        ({"number": 2**53 + 1}, "write 9007199254740992.0"),
        ({"count": 3.0}, "write 3"),
        ({"count": "12"}, "write 12"),
        ({"count": False}, ""),
        ({"flag": 1}, ""),
        ({"flag": "True"}, "write true"),
        ({"text": 5}, 'write "5"'),
        ({"kind": "prp"}, "did you mean 'pro'?"),
        ({"maybe": "x"}, ""),
        ({"either": 0.5}, ""),
        ({"numbers": 0.5}, "write [0.5]"),
        ({"numbers": "0.5"}, "write [...]"),
        ({"pair": [1, "x", 2]}, ""),
        ({"anything": {"a": 1}}, ""),
    ],
)
def test_an_argument_that_does_not_fit_its_annotation_is_refused(arguments, fix):
    error = refused({"is": "everything", **arguments}, EVERYTHING)
    assert error.value.startswith(f"prune.it.{next(iter(arguments))} is ")
    assert error.rule.startswith("it must be ")
    assert error.fix == fix


def test_the_place_in_a_list_is_named():
    assert refused({"is": "everything", "numbers": [1, 2, "3"]}, EVERYTHING).value == "prune.it.numbers[2] is '3'"


def test_a_whole_number_becomes_a_float_and_a_list_a_tuple():
    value = decode({"is": "everything", "number": 2, "maybe": 3, "numbers": [1], "either": 4}, EVERYTHING, field="f")
    assert [type(part) for part in (value.number, value.maybe, value.numbers[0], value.either)] == [
        float,
        float,
        float,
        int,
    ]
    assert decode({"is": "everything", "anything": [1, [2]]}, EVERYTHING, field="f").anything == (1, (2,))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("geometric", {"rate": 0.2, "lvels": 3}, ("'lvels'", "'rate', 'levels'", "did you mean 'levels'?")),
        ("one-shot", {"sparsity": 0.5, "levels": 2}, ("'levels'", "it is 'sparsity'", "")),
        ("ap", {"criterion": "magnitude"}, ("'criterion'", "'q', 'variant'", "")),
        ("magnitude", {"seed": 1}, ("'seed'", "'magnitude' takes no arguments", "")),
    ],
)
def test_an_argument_that_is_not_there_is_refused_with_the_nearest(name, arguments, words):
    family = next(family for family in FAMILIES if name in family.names)
    error = refused({"is": name, **arguments}, family, UnknownName)
    assert all(word in text for word, text in zip(words, (error.value, error.rule, error.fix), strict=True))


def test_what_is_missing_is_named_with_how_to_write_it():
    error = refused({"is": "geometric", "levels": 12}, SCHEDULES)
    assert error.value == "prune.it: rate not given"
    assert error.fix == 'write {is = "geometric", rate = <a finite number>, levels = 12}'
    error = refused("geometric", SCHEDULES)
    assert error.value == "prune.it: rate and levels not given"


# --- what cannot be written -------------------------------------------------------------------------------


def test_a_value_is_wanted_and_no_name_or_class():
    for thing in ("magnitude", criteria.Magnitude, lambda evidence: evidence, None, 5):
        assert not_written(thing).fix == 'give a value such as "magnitude"'


def test_local_classes_and_lambdas_cannot_be_written():
    @dataclass(frozen=True)
    class Local:
        needs = ()

        def __call__(self, evidence):
            return evidence

    assert "at the top of a module" in not_written(Local()).fix
    for function in (lambda x: x, not_written.__get__(1)):
        assert not_written(Calls(function), Family.of("call", [Calls], call=False))


def test_a_class_within_a_class_cannot_be_written():
    assert "in another class" in not_written(Room.Inner()).value


class Room:
    @dataclass(frozen=True)
    class Inner:
        needs = ()

        def __call__(self, evidence):
            return evidence


def test_a_class_of_the_script_that_runs_cannot_be_written(monkeypatch):
    monkeypatch.setattr(Mine, "__module__", "__main__")
    monkeypatch.setattr(__import__("__main__"), "Mine", Mine, raising=False)
    error = not_written(Mine())
    assert "in the script that runs" in error.value
    assert "a worker process imports it" in error.rule
    assert error.fix == "move it to a file of its own, and import it"


@pytest.mark.parametrize("part", [float("inf"), float("nan"), 1j, b"x", {"a": 1}, {1}, double, Mine(), 10**400])
def test_parts_that_no_plain_form_describes_cannot_be_written(part):
    not_written(Calls(part), Family.of("call", [Calls], call=False))


def test_true_where_a_number_is_meant_cannot_be_written():
    assert not_written(Everything(count=True), EVERYTHING).value == "everything.count is true"


def test_a_value_that_would_be_read_back_as_another_cannot_be_written():
    @dataclass(frozen=True)
    class Shifts:
        by: int = 0
        needs = ()

        def __post_init__(self):
            object.__setattr__(self, "by", self.by + 1)

    family: Family[Any] = Family.of("shift", [Shifts], call=False)
    assert "would be read back as" in not_written(Shifts(1), family).value
