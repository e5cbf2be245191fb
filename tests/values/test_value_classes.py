"""Names and classes: short ones, anybody's, and those that will not do."""

import sys

import pytest
from pluggable import CRITERIA, SCHEDULES, Magnitude, Mine

from budbreak import criteria
from budbreak.errors import InvalidValue, UnknownName
from budbreak.values import Family, decode


def refused(plain, family=CRITERIA, error=InvalidValue):
    with pytest.raises(error) as caught:
        decode(plain, family, field="prune.it")
    assert "prune.it" in caught.value.value
    return caught.value


@pytest.mark.parametrize(
    ("plain", "fix"),
    [
        ("magnitud", "did you mean 'magnitude'?"),
        ("magnitude ", "did you mean 'magnitude'?"),
        ("Magnitude", "did you mean 'magnitude'?"),
        ("", ""),
        ("zzz", ""),
        ({"is": "magnitude ", "seed": 1}, "did you mean 'magnitude'?"),
    ],
)
def test_a_name_that_is_not_known_is_refused_with_the_nearest(plain, fix):
    error = refused(plain, error=UnknownName)
    assert error.fix == fix
    assert "'taylor'" in error.rule
    assert "package.module:Class" in error.rule


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pluggable:Min", "did you mean 'Mine'?"),
        ("pluggable:", "prune.it: a criterion is 'pluggable:'"),
        (":Mine", "it is package.module:name"),
        (".pluggable:Mine", "it is package.module:name"),
        ("no_such_module:Mine", "cannot import 'no_such_module'"),
        ("pluggable.py:Mine", "did you mean 'pluggable'?"),
        ("pluggable:double", "prune.it: double is no class"),
        ("pluggable:CRITERIA", "of type Family"),
        ("pluggable:NotFrozen", "write @dataclass(frozen=True) above class NotFrozen"),
        ("pluggable:ByIdentity", "no frozen dataclass that compares by its fields"),
        ("fractions:Fraction", "write @dataclass(frozen=True) above class Fraction"),
        ("pluggable:NoNeeds", "NoNeeds has no needs"),
        ("pluggable:Everything", ""),
        ("pluggable:Unhashable", "unhashable type: 'list'"),
        ("pluggable:Hidden", "Hidden takes (alpha), and its fields are ()"),
        ("pluggable:Raises", "raised KeyError: 'out of milk'"),
        ("budbreak.iteration.followups:Train", "Train has no needs and __call__"),
    ],
)
def test_a_class_that_will_not_do_is_refused_in_words(name, words):
    if words:
        error = refused(name, error=(InvalidValue, UnknownName))
        assert words in str(error)
    else:
        decode(name, CRITERIA, field="prune.it")


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write a module that can be imported until the test ends."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return tmp_path / f"{name}.py"

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("x = 1\nclass Broken(:\n    pass\n", "SyntaxError", 2),
        ("x = 1\n\ny = x / 0\n", "ZeroDivisionError", 3),
        ("import a_package_that_is_not_there\n", "ModuleNotFoundError", 1),
        ("raise SystemExit(3)\n", "SystemExit", 1),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_file_and_line(write_module, text, error, line):
    path = write_module("broken_module", text)
    message = refused("broken_module:Broken").value
    assert error in message
    assert f"{path}, line {line}" in message


def test_an_error_of_a_user_s_constructor_names_her_line(write_module):
    lines = ["from dataclasses import dataclass", "@dataclass(frozen=True)", "class Odd:", "    needs = ()"]
    lines += ["    def __post_init__(self):", "        raise ValueError('no luck')"]
    path = write_module("odd_module", "\n".join(lines))
    message = refused("odd_module:Odd").value
    assert "Odd(...) raised ValueError: no luck" in message
    assert f"{path}, line 6" in message


def test_annotations_that_are_not_there_at_run_time_are_refused(write_module):
    lines = ["from __future__ import annotations", "from dataclasses import dataclass", "@dataclass(frozen=True)"]
    write_module("typed_module", "\n".join([*lines, "class Typed:", "    part: Nowhere = None", "    needs = ()"]))
    error = refused({"is": "typed_module:Typed", "part": 1})
    assert "name 'Nowhere' is not defined" in error.value
    assert error.fix == "import them outside TYPE_CHECKING"


def test_what_the_value_itself_refuses_names_the_field():
    error = refused({"is": "geometric", "rate": 20, "levels": 3}, SCHEDULES)
    assert (error.value, error.fix) == ("prune.it: rate is 20.0", "a percentage? write 0.2")


# --- families ---------------------------------------------------------------------------------------------


def test_short_names_are_kebab_case_unless_another_is_given():
    kinds = [type(name, (), {}) for name in ("SGD", "AdamW", "OneShot", "ERKScaled", "Lamp2D")]
    assert list(Family.of("x", kinds, names={"adamw": kinds[1]}).names) == [
        "sgd",
        "adamw",
        "one-shot",
        "erk-scaled",
        "lamp2-d",
    ]


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(InvalidValue, match="2 classes"):
        Family.of("criterion", [Magnitude, criteria.Magnitude])
    with pytest.raises(InvalidValue, match="only listed classes"):
        Family.of("criterion", [criteria.Magnitude], names={"mine": Mine})
