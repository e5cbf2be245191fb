"""Equal results have equal identities, and nothing else has: over years of new fields and edited files."""

import hashlib
import importlib
import json
import math
import subprocess
import sys
from dataclasses import MISSING, dataclass, field, make_dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pluggable import FAMILIES, Everything, Holds, Magnitude, Mine, Outer, classes, double, values_of

import budbreak
from budbreak import criteria, schedules
from budbreak.errors import InvalidValue
from budbreak.iteration.followups import ActivateWhilePruning
from budbreak.values import decode, encode, identity, telling, telling_fields
from enrolled import introduced, row_of


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.what)
def test_no_default_changes_without_saying_what_it_was(family):
    for kind in classes(family):
        assert introduced(kind) == row_of(kind).introduced, (
            f"{kind.__name__}: identities leave out a field at the default it was introduced with. A new field: add it "
            "to its row. A changed default: leave the row, and write field(default=new, metadata={'introduced': old})"
        )


def test_the_guard_sees_a_changed_default():
    changed = make_dataclass("Random", [("seed", int, field(default=1))], frozen=True)
    noted = make_dataclass("Random", [("seed", int, field(default=1, metadata={"introduced": 0}))], frozen=True)
    assert introduced(changed) != row_of(criteria.Random).introduced
    assert introduced(noted) == row_of(criteria.Random).introduced


# --- what differs, and what does not ------------------------------------------------------------------------


def test_an_identity_is_the_digest_of_canonical_json():
    text = '{"is":"budbreak.schedules.geometric:Geometric","levels":12,"rate":0.1}'
    assert json.loads(text) == telling(schedules.Geometric(rate=0.1, levels=12))
    assert identity(schedules.Geometric(rate=0.1, levels=12)) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.what)
@given(data=st.data())
def test_values_have_one_identity_just_when_they_are_equal(family, data):
    one, other = data.draw(values_of(family)), data.draw(values_of(family))
    assert (identity(one) == identity(other)) is (one == other)
    assert identity(decode(encode(one, family), family, field="f")) == identity(one)


def in_package(name, *columns):
    """A class as if it were one of ours, findable by its name."""
    kind = make_dataclass(name, columns, frozen=True)
    kind.__module__ = "budbreak.values"
    return kind


def as_ours(monkeypatch, kind):
    monkeypatch.setattr(budbreak.values, kind.__name__, kind, raising=False)
    return kind


def test_a_new_field_with_a_default_leaves_identities_alone(monkeypatch):
    old = identity(as_ours(monkeypatch, in_package("Ria", ("alpha", float, 0.5)))(0.3))
    newer = as_ours(monkeypatch, in_package("Ria", ("alpha", float, 0.5), ("power", float, 1.0)))
    assert identity(newer(0.3)) == old
    assert identity(newer(0.3, 2.0)) != old


def test_a_changed_default_leaves_identities_alone_where_it_is_noted(monkeypatch):
    before = as_ours(monkeypatch, in_package("Ria", ("alpha", float, 0.5)))
    half, third = identity(before()), identity(before(0.3))
    noted = field(default=0.3, metadata={"introduced": 0.5})
    after = as_ours(monkeypatch, in_package("Ria", ("alpha", float, noted)))
    assert (identity(after(0.5)), identity(after())) == (half, third)


def test_a_field_that_gets_its_first_default_leaves_identities_alone_where_it_is_noted(monkeypatch):
    old = identity(as_ours(monkeypatch, in_package("Ria", ("alpha", float)))(0.3))
    noted = field(default=0.3, metadata={"introduced": MISSING})
    assert identity(as_ours(monkeypatch, in_package("Ria", ("alpha", float, noted)))()) == old


def test_fields_that_differ_from_what_they_were_introduced_with():
    assert telling_fields(ActivateWhilePruning()) == {}
    assert telling_fields(ActivateWhilePruning(q=0.05, variant="pro")) == {"q": 0.05, "variant": "pro"}
    assert telling_fields(schedules.OneShot(0.9)) == {"sparsity": 0.9}
    assert telling_fields(Holds(lambda: 1)).keys() == {"part"}  # what cannot be told is given all the same


def test_a_user_s_class_of_the_name_of_ours_has_another_identity():
    assert identity(Magnitude()) != identity(criteria.Magnitude())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Everything(number=2), Everything(number=2.0)),
        (Everything(number=1), Everything()),
        (Everything(number=0.0), Everything(number=-0.0)),
        (Everything(maybe=3), Everything(maybe=3.0)),
        (Everything(numbers=(1, 2)), Everything(numbers=(1.0, 2.0))),
        (Everything(numbers=[1, 2]), Everything(numbers=(1.0, 2.0))),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_what_gives_the_same_results_has_one_identity(one, other):
    assert identity(one) == identity(other)


@dataclass(frozen=True)
class One:
    part: object = 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Everything(either=1), Everything(either="1")),
        (Holds(1), Holds(1.0)),
        (Holds(1), Holds(True)),
        (One(), One(1.0)),
        (One(), One(True)),
        (One((1,)), One((True,))),
        (Holds(math.inf), Holds("inf")),
        (Holds(Fraction(1, 2)), Holds("1/2")),
        (Holds(double), Holds("pluggable:double")),
        (Holds(double), Holds(Mine)),
        (Holds(Mine()), Holds(Mine)),
        (Holds(None), Holds(())),
        (Holds(criteria.Magnitude()), Holds({"is": "budbreak.criteria.magnitude:Magnitude"})),
        (Holds(math.inf), Holds({"is": "float", "of": "inf"})),
        (Outer(criteria.Random(1)), Outer(criteria.Random(2))),
        (0.1 + 0.2, 0.3),
        ([[1], 2], [1, [2]]),
    ],
)
def test_what_is_not_the_same_has_two_identities(one, other):
    assert identity(one) != identity(other)


# --- code ---------------------------------------------------------------------------------------------------


MINE = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Scores:
    alpha: float = 0.3
    def __call__(self, evidence):
        return {formula}
def score(x):
    return {formula}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write and import ``users_module`` with a formula."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(formula):
        (tmp_path / "users_module.py").write_text(MINE.format(formula=formula), encoding="utf-8")
        sys.modules.pop("users_module", None)
        importlib.invalidate_caches()
        return importlib.import_module("users_module")

    yield write
    sys.modules.pop("users_module", None)


def test_an_edited_file_never_has_the_identity_of_the_old_one(load):
    module = load("evidence")
    before = identity(module.Scores()), identity(module.score), identity({"part": [module.Scores(0.5)]})
    module = load("-evidence")
    after = identity(module.Scores()), identity(module.score), identity({"part": [module.Scores(0.5)]})
    assert all(one != other for one, other in zip(before, after, strict=True))
    module = load("evidence")
    assert (identity(module.Scores()), identity(module.score), identity({"part": [module.Scores(0.5)]})) == before


def test_line_ends_make_no_difference(load, tmp_path):
    module = load("evidence")
    before = identity(module.Scores())
    path = tmp_path / "users_module.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert identity(module.Scores()) == before


def test_source_is_told_of_others_and_not_of_ours():
    assert telling(Mine()).keys() == {"is", "source code", "imported source code"}  # its file imports another one
    assert telling(criteria.Magnitude()) == {"is": "budbreak.criteria.magnitude:Magnitude"}
    assert telling(len) == {"is": "function", "of": "builtins:len"}


def test_a_file_that_is_gone_is_refused(load, tmp_path):
    module = load("evidence")
    (tmp_path / "users_module.py").unlink()
    with pytest.raises(InvalidValue, match="cannot be read"):
        identity(module.Scores())


SCRIPT = """
from dataclasses import dataclass
from budbreak.values import identity
@dataclass(frozen=True)
class Own:
    alpha: float = 0.3
print(identity(Own(0.5)))
"""


def test_a_class_of_a_script_has_one_identity_in_every_process(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    told = {"is": "__main__:Own", "source code": hashlib.sha256(SCRIPT.encode()).hexdigest(), "alpha": 0.5}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert done.stdout.strip() == hashlib.sha256(text.encode()).hexdigest()


def test_a_class_that_was_typed_in_has_none(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(Mine, "__module__", "__main__")
    monkeypatch.setattr(main, "Mine", Mine, raising=False)
    monkeypatch.setattr(main, "__file__", __file__, raising=False)  # a worker of the tests has none
    assert telling(Mine())["is"] == "__main__:Mine"
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    monkeypatch.setattr(Mine, "__module__", "__mp_main__")  # as in a process that was spawned
    assert telling(Mine())["is"] == "__main__:Mine"
    monkeypatch.delattr(main, "__file__")
    with pytest.raises(InvalidValue, match="write it into a file"):
        identity(Mine())


# --- what has no identity -------------------------------------------------------------------------------------


def decorated(function):
    def wrapper(x):
        return -function(x)

    wrapper.__qualname__, wrapper.__module__ = function.__qualname__, function.__module__
    return wrapper


@dataclass(frozen=True)
class Cell:
    part: object = None


def local_class():
    @dataclass(frozen=True)
    class Local:
        alpha: float = 0.0

    return Local


def local_function():
    def local(x):
        return x

    return local


@pytest.mark.parametrize(
    "thing",
    [lambda x: x, local_function(), local_class(), local_class()(), decorated(double), [].append],
    ids=["lambda", "local function", "local class", "its value", "a function in another one's name", "method"],
)
def test_what_has_no_name_of_its_own_has_no_identity(thing):
    """Two lambdas had one identity, or one that changed with the version of Python."""
    for value in (thing, Holds(thing), [thing], {"a": thing}):
        with pytest.raises(InvalidValue):
            identity(value)


@pytest.mark.parametrize(
    "thing", [{1, 2}, b"x", object(), 1j, 10**400, {1: 2}, MISSING, sys], ids=lambda thing: type(thing).__name__
)
def test_what_cannot_be_looked_into_has_no_identity(thing):
    with pytest.raises(InvalidValue, match="the value"):
        identity(thing)


def test_what_contains_itself_has_no_identity():
    endless = []
    endless.append(endless)
    cell = Cell()
    object.__setattr__(cell, "part", [cell])
    for value in (endless, cell):
        with pytest.raises(InvalidValue, match="contains itself"):
            identity(value)


def test_the_place_of_what_cannot_be_told_is_named():
    with pytest.raises(InvalidValue, match=r"the value\.plan\[1\]\.part is "):
        identity({"plan": [1, Holds(object())]})


def test_a_long_list_has_an_identity():
    assert len(identity([0.5] * 100_000)) == 64
