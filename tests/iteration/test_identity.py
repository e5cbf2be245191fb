"""A store is used again only by the same iteration: what makes it another one, and what says where it stands."""

import contextlib
import functools
import sys
from dataclasses import dataclass, make_dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from small_runs import Parts, geometric, run
from torch.nn.functional import mse_loss
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset, TensorDataset

import budbreak as bb
import forking
from budbreak.errors import InvalidValue, StoreMismatch
from budbreak.evidence import Weights
from budbreak.iteration.describing import describe, describe_batches
from budbreak.iteration.identity import differences


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    run(Parts(), geometric(), store=store, also={"x": Parts().x, "epochs": 2})
    return store


def decays(gamma):
    def make():
        parts = Parts()
        parts.scheduler = torch.optim.lr_scheduler.ExponentialLR(parts.optimizer, gamma)
        return parts

    return make


def loader(x, y, **options):
    return DataLoader(TensorDataset(x, y), batch_size=options.pop("batch_size", 16), **{"shuffle": True, **options})


ALSO = {"x": Parts().x, "epochs": 2}
OTHERS = {
    "weights": (
        lambda: Parts(seed=1),
        {},
        r"weights: '\w+' -> '\w+'.*\n.*\nbuild the model anew, after torch.manual_seed",
    ),
    "scheduler": (decays(0.5), {}, r"resets\[0\]\.state\.gamma: 0\.93 -> 0\.5"),
    "data": (Parts, {"batches": loader(Parts().x + 1, Parts().y)}, r"batches\.data\.tensors\[0\]\.sha256"),
    "labels": (Parts, {"batches": loader(Parts().x, 2 - Parts().y)}, r"batches\.data\.tensors\[1\]\.sha256"),
    "batch size": (Parts, {"batches": loader(Parts().x, Parts().y, batch_size=8)}, r"batches\.batch_size: 16 -> 8"),
    "loss": (Parts, {"loss": mse_loss}, r"loss: 'torch\.nn\.functional:cross_entropy' -> '.*:mse_loss'"),
    "user's tensor": (Parts, {"also": ALSO | {"x": Parts().x * 2}}, r"also\.x\.sha256"),
    "user's number": (Parts, {"also": ALSO | {"epochs": 3}}, r"also\.epochs: 2 -> 3"),
    "nothing of the user": (Parts, {"also": None}, r"also\.x: .* -> \(not given\)"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_start_is_another_iteration(finished, what):
    make, options, words = OTHERS[what]
    with pytest.raises(StoreMismatch, match=words):
        run(make(), geometric(), store=finished, **{"also": ALSO, **options})
    again, history = run(Parts(), geometric(), store=finished, also=ALSO)
    assert again.steps == 0
    assert [r.level for r in history] == [0, 1, 2]


def sequential(optimizer, function):
    parts = [lr_scheduler.ConstantLR(optimizer), lr_scheduler.LambdaLR(optimizer, function)]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


def cyclic(optimizer, function):
    return lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, scale_fn=function, cycle_momentum=False)


class Outer:
    """As Accelerate's: a scheduler within, and its state."""

    def __init__(self, optimizer, function):
        self.scheduler = lr_scheduler.LambdaLR(optimizer, function)
        self.step, self.state_dict = self.scheduler.step, self.scheduler.state_dict
        self.load_state_dict = self.scheduler.load_state_dict


@pytest.mark.parametrize("kind", [sequential, cyclic, Outer])
def test_the_functions_of_a_scheduler_belong_to_it_at_any_depth(tmp_path, kind):
    """No scheduler has them in its state."""

    def start(function):
        parts = Parts()
        parts.scheduler = kind(parts.optimizer, function)
        return run(parts, geometric(1), store=tmp_path, epochs=1)[0].steps

    assert start(lambda n: 0.9**n)
    assert not start(lambda n: 0.9**n)
    with pytest.raises(StoreMismatch, match=r"resets\[0\]\.functions"):
        start(lambda n: 0.5**n)


def test_nan_is_itself(tmp_path):
    for _ in range(2):
        run(Parts(), geometric(1), store=tmp_path, epochs=1, also={"fill": float("nan")})
    with pytest.raises(StoreMismatch, match=r"also\.fill: nan -> 0\.0"):
        run(Parts(), geometric(1), store=tmp_path, epochs=1, also={"fill": 0.0})


def test_a_finished_store_says_so(finished, caplog):
    with Parts().iterate(geometric(), store=finished, also=ALSO) as levels:
        assert list(levels) == []
    assert levels.resumed == "going on from level 2 of 2: nothing left to train (trainings of 2 epochs)"
    assert levels.resumed in caplog.text


def test_where_a_resumed_session_goes_on_is_said(tmp_path, caplog):
    parts = Parts()
    with parts.iterate(geometric(), store=tmp_path) as levels:
        assert levels.resumed == ""
        loop = iter(levels)
        next(loop)
        for _ in next(loop).epochs(3):
            parts.epoch()
        epochs = next(loop).epochs(3)
        next(epochs)
        next(epochs)
        parts.epoch()
    assert not caplog.text
    with Parts().iterate(geometric(), store=tmp_path) as levels:
        assert levels.resumed == "going on from level 2 of 2, stage 0: 1 of its epochs are done"


def twice(store):
    """What a script does that is called twice."""
    for _ in range(2):
        _, history = run(Parts(), geometric(1), store=store, epochs=1)
        print(len(history), file=sys.stderr)


def test_it_is_said_on_stderr_where_no_logging_is_set_up(tmp_path):
    assert forking.end(forking.start(twice, tmp_path / "store", errors=tmp_path / "said")) == 0
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == said[-1] == "2"  # nothing before the first end
    assert "going on from level 1 of 1: nothing left to train" in "\n".join(said[1:-1])


@pytest.mark.parametrize(("also", "words"), [({"epochs": 5}, "give store="), ("data", "also is 'data'")])
def test_also_belongs_to_a_store(also, words):
    with pytest.raises(InvalidValue, match=words):
        Parts().iterate(geometric(), also=also)


# --- describing values --------------------------------------------------------------------------------------


class Magnitude:
    """Named like the library's."""

    needs = (Weights(),)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclass(frozen=True)
class Holder:
    value: object


def enclosing(number):
    def local(name, module, parameter):
        return parameter.numel() > number

    return local


def with_default(number):
    return lambda name, number=number: number


def code(source):
    return eval(source)


PAIRS = {
    "class of the same name": (Magnitude(), bb.criteria.Magnitude()),
    "closures": (enclosing(1), enclosing(2)),
    "defaults": (with_default(1), with_default(2)),
    "constants": (code("lambda n: n == 'a'"), code("lambda n: n == 'b'")),
    "operations": (code("lambda n: n + 1"), code("lambda n: n - 1")),
    "names": (code("lambda n: n.lower()"), code("lambda n: n.upper()")),
    "nested code": (code("lambda n: [m + 1 for m in n]"), code("lambda n: [m + 2 for m in n]")),
    "partials": (functools.partial(min, 1), functools.partial(min, 2)),
    "methods": (Holder(1).__eq__, Holder(2).__eq__),
    "tensors": (Holder(torch.ones(2)), Holder(torch.zeros(2))),
    "dtypes": (Holder(torch.float32), Holder(torch.float64)),
    "arrays": (Holder(np.ones(2)), Holder(np.zeros(2))),
    "objects within objects": (Holder(Slotted(1)), Holder(Slotted(2))),
    "sets": ({1, 2}, {1, 3}),
    "fractions": (Fraction(1, 3), Fraction(1, 4)),
    "bytes": (b"a", b"b"),
    "subsets": tuple(DataLoader(Subset(TensorDataset(torch.arange(4)), [0, i])) for i in (1, 2)),
}


@pytest.mark.parametrize("what", PAIRS)
def test_different_values_are_told_apart_and_equal_ones_are_not(what):
    spell = describe_batches if what == "subsets" else describe
    one, other = PAIRS[what]
    assert spell(one) != spell(other)
    assert spell(one) == spell(one)


def test_the_same_function_made_twice_is_the_same():
    assert describe(enclosing(3)) == describe(enclosing(3))
    assert describe(code("lambda n: n in {'a', 'b', 'c'}")) == describe(code("lambda n: n in {'c', 'b', 'a'}"))


def test_circles_end():
    one = Slotted(None)
    one.value = [one]
    assert describe(one)


def test_what_cannot_be_seen_is_refused(tmp_path):
    opened = (tmp_path / "file").open("wb")
    with contextlib.closing(opened), pytest.raises(InvalidValue, match="cannot be told from another one"):
        describe(Holder(opened))


def test_two_lambdas_of_one_effect_at_first_are_two_plans(tmp_path):
    """Both cover the same weights in this model; they need not in the next version of it."""
    run(Parts(), geometric(prunable=code("lambda n, m, p: p.dim() > 1")), store=tmp_path)
    with pytest.raises(StoreMismatch, match=r"plan\.prunable\.code"):
        run(Parts(), geometric(prunable=code("lambda n, m, p: p.dim() == 2")), store=tmp_path)


def test_batches_are_described_without_being_read():
    class Guarded:
        def __len__(self):
            return 3

        def __iter__(self):
            raise AssertionError("it was read")

    assert describe_batches(Guarded())["length"] == 3
    assert describe_batches(Parts().loader) == describe_batches(Parts().loader)
    x = torch.ones(2)
    assert describe_batches([(x, x)]) != describe_batches([(x, 2 * x)])


def test_a_field_that_is_added_to_a_class_of_ours_leaves_stores_as_they_are():
    def ours(*columns):
        kind = make_dataclass("Ria", columns, frozen=True)
        kind.__module__ = "budbreak.criteria.ria"
        return kind

    old, newer = ours(("alpha", float, 0.5)), ours(("alpha", float, 0.5), ("power", float, 1.0))
    assert describe(newer(0.3)) == describe(old(0.3))
    assert describe(newer(0.3, 2.0)) != describe(old(0.3))
    assert describe(newer(0.5)) == describe(old())


def test_all_fields_of_a_users_class_tell_since_its_defaults_may_change():
    first, changed = (make_dataclass("Own", [("alpha", float, default)], frozen=True) for default in (0.5, 0.7))
    assert describe(first()) != describe(changed())


def test_a_field_that_is_not_given_is_no_none():
    assert differences({"plan": {}}, {"plan": {"rewind_to": None}}) == ["plan.rewind_to: (not given) -> None"]
