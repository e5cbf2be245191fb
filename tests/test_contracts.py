"""Every entry of an `ALL` tuple keeps the contract of its kind; and the contracts can be broken."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from budbreak import activations, criteria, diagnostics, evidence, exporting, schedules, search
from budbreak.diagnostics import Measurement, Quantity
from budbreak.errors import ContractBroken, MissingEvidence
from budbreak.evidence import Gradients, Observer, Probe, StartWeights, UnitCounts, Weights
from budbreak.masks import Score, Scores
from budbreak.recipes import families
from budbreak.testing import (
    check_activation,
    check_criterion,
    check_diagnostic,
    check_observer,
    check_probe,
    check_sampler,
    check_schedule,
    check_tuner,
    check_value,
    mlp,
    residual_cnn,
    separable,
    toy_evidence,
)
from budbreak.values import Family
from enrolled import ROWS, instances, row_of

PROBES, OBSERVERS = evidence.ALL, evidence.OBSERVERS
FAMILIES = [family for family in vars(families).values() if isinstance(family, Family)]


def cases(kinds):
    """A test case for each sample of these classes."""
    return [pytest.param(value, id=str(value)) for value in instances(kinds)]


@pytest.mark.parametrize(
    "package",
    [activations, criteria, schedules, evidence, diagnostics, search, exporting],
    ids=lambda package: package.__name__,
)
def test_each_class_is_enrolled(package):
    for kind in package.ALL:
        assert row_of(kind).samples, f"{kind.__name__}: its row has no samples"
        assert kind.__name__ in package.__all__, f"{kind.__name__} is in ALL but not in __all__ of {package.__name__}"
    assert len(set(package.ALL)) == len(package.ALL)


def test_each_row_is_of_a_class_that_is_enrolled():
    everything = {kind for family in FAMILIES for kind in family.names.values()}
    everything |= {*evidence.ALL, *evidence.OBSERVERS, *exporting.ALL}
    assert {row.kind for row in ROWS} == everything


@pytest.mark.parametrize("criterion", cases(criteria.ALL))
def test_criteria_keep_their_contract(criterion):
    check_criterion(criterion)
    check_criterion(criterion, toy_evidence(mlp(), probes=criterion.needs, seed=3))


@pytest.mark.parametrize("schedule", cases(schedules.ALL))
def test_schedules_keep_their_contract(schedule):
    check_schedule(schedule)
    check_schedule(schedule, {"accuracy": 0.1})


def _quick(sampler):
    if isinstance(sampler, search.SMAC):
        pytest.skip("it is an extra, and takes seconds for each proposal: tests/search/test_tuners.py")


@pytest.mark.parametrize("sampler", cases(search.ALL))
def test_samplers_keep_their_contract(sampler):
    _quick(sampler)
    check_sampler(sampler)
    assert isinstance(sampler, search.Sampler)


@pytest.mark.parametrize("tuner", cases(search.TUNERS))
def test_tuners_keep_their_contract(tuner):
    _quick(tuner)
    check_tuner(tuner, search.TuningSpace.of("safs", epochs=30))


@pytest.mark.parametrize("exporter", cases(exporting.ALL))
def test_exporters_keep_their_contract(exporter):
    check_value(exporter)
    assert isinstance(exporter, exporting.Exporter)
    assert type(exporter) in exporting.FAMILY.names.values()


@pytest.mark.parametrize("probe", cases(evidence.ALL))
def test_probes_keep_their_contract(probe):
    check_probe(probe)
    assert isinstance(probe, Probe)


@pytest.mark.parametrize("observer", cases(evidence.OBSERVERS))
def test_observers_keep_their_contract(observer):
    check_observer(observer)
    assert isinstance(observer, Observer)
    assert not isinstance(observer, Probe)
    assert type(observer).__name__ in evidence.__all__


@pytest.mark.parametrize("diagnostic", cases(diagnostics.ALL))
def test_diagnostics_keep_their_contract(diagnostic):
    check_diagnostic(diagnostic)
    check_diagnostic(diagnostic, toy_evidence(mlp(), probes=(Weights(), *diagnostic.needs), seed=3))
    assert isinstance(diagnostic, diagnostics.Diagnostic)


@pytest.mark.parametrize("activation", cases(activations.ALL))
def test_activations_keep_their_contract(activation):
    check_activation(activation)


def test_no_two_diagnostics_give_a_number_of_one_name():
    assert diagnostics.quantities_of(row.values[0] for row in cases(diagnostics.ALL))


# --- each promise, broken on purpose -----------------------------------------------------------------------


@dataclass
class NotFrozen:
    needs = (Weights(),)


@dataclass(frozen=True, eq=False)
class EqualToNothing:
    needs = (Weights(),)


@dataclass(frozen=True)
class NoHash:
    options: Any = field(default_factory=list)
    needs = (Weights(),)


@dataclass(frozen=True)
class NoPickle:
    options: Any = lambda: 1
    needs = (Weights(),)


@dataclass(frozen=True)
class SecretField:
    options: int = field(default=1, repr=False)
    needs = (Weights(),)


class NoDataclass:
    needs = (Weights(),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (NotFrozen(), "frozen"),
        (EqualToNothing(), "equals"),
        (NoHash(), "has no hash"),
        (SecretField(2), "repr"),
        (NoPickle(), "pickle"),
        (NoDataclass(), "dataclass"),
        (NotFrozen, "dataclass"),
    ],
)
def test_what_is_no_value_is_refused(value, words):
    with pytest.raises(ContractBroken, match=words):
        check_value(value)


@dataclass(frozen=True)
class Broken:
    """A criterion that breaks the promise of its name."""

    how: str

    @property
    def needs(self):
        wanted = {
            "no probes": ("Weights",),
            "a list": [Weights()],
            "too many": (Weights(), Gradients()),
            "unknown": (Watcher("no example"),),
        }
        return wanted.get(self.how, (Weights(),))

    def __call__(self, evidence):
        if self.how == "other error" and Weights() not in evidence:
            raise RuntimeError("nothing here")
        if self.how == "too few":
            return Scores.elementwise(torch.mul, evidence[Weights()], evidence[StartWeights()])
        weights = dict(evidence[Weights()])
        if self.how == "changes":
            next(iter(weights.values())).zero_()
        if self.how == "drops":
            weights.popitem()
        if self.how == "reorders":
            weights = dict(reversed(weights.items()))
        return Scores({name: Score(self.shape(w), self.opener(w)) for name, w in weights.items()})

    def shape(self, w):
        return w.mT.shape if self.how == "shape" else w.shape

    def opener(self, w):
        formulas = {
            "random": lambda lo, hi: torch.rand(hi - lo),
            "slices": lambda lo, hi: torch.arange(hi - lo).float(),
            "not flat": lambda lo, hi: w.reshape(-1, 1)[lo:hi],
            "integers": lambda lo, hi: torch.arange(lo, hi),
            "nan": lambda lo, hi: w.reshape(-1)[lo:hi] / w.reshape(-1)[lo:hi],
            "storage order": lambda lo, hi: torch.as_strided(w, (w.numel(),), (1,))[lo:hi],
        }
        return lambda: formulas.get(self.how, lambda lo, hi: w.reshape(-1)[lo:hi])


def test_the_criterion_that_others_are_broken_from_is_whole():
    check_criterion(Broken("not at all"))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no probes", "needs a tuple of probes"),
        ("a list", "needs a tuple of probes"),
        ("too many", "does not miss Gradients"),
        ("too few", "more than it needs|refuses"),
        ("unknown", "evidence="),
        ("other error", "must raise MissingEvidence"),
        ("changes", "only reads"),
        ("drops", "each weight"),
        ("reorders", "each weight"),
        ("shape", "each weight"),
        ("random", "slices equal to the whole|same scores again"),
        ("slices", "slices equal to the whole"),
        ("not flat", "flat slices"),
        ("integers", "floating point"),
        ("nan", "NaN"),
        ("storage order", "logical C order"),
    ],
)
def test_a_broken_criterion_is_refused(how, words):
    with pytest.raises(ContractBroken, match=words):
        check_criterion(Broken(how))


@dataclass(frozen=True)
class Answers:
    """A schedule that gives these sparsities, then the last one for ever."""

    sparsities: tuple[Any, ...]
    levels: Any = 2

    def __call__(self, progress):
        return float(self.sparsities[min(progress.level, len(self.sparsities) - 1)])


@dataclass(frozen=True)
class Remembers:
    levels = 2
    asked = []  # noqa: RUF012 - the fault on purpose

    def __call__(self, progress):
        self.asked.append(progress)
        return 0.0 if progress.level == 0 else 1 - 1 / len(self.asked)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Answers((0.0,), levels=-1), "levels >= 0"),
        (Answers((0.0,), levels=2.0), "levels >= 0"),
        (Answers((0.1, 0.2, 0.3)), "dense at level 0"),
        (Answers((0.0, 0.3, 0.2)), "never falls"),
        (Answers((0.0, 0.3, 1.0)), r"\[0, 1\)"),
        (Answers((0.0, "nan")), r"\[0, 1\)"),
        (Remembers(), "always alike"),
    ],
)
def test_a_broken_schedule_is_refused(schedule, words):
    with pytest.raises(ContractBroken, match=words):
        check_schedule(schedule)


def test_a_whole_schedule_may_stand_still():
    check_schedule(Answers((0.0, 0.3, 0.3)))


@dataclass(frozen=True)
class Watcher:
    """A probe with one fault, by name."""

    fault: str

    def start(self, context):
        if self.fault == "counts passes":
            _PASSES.append(1)
            return lambda: len(_PASSES)
        if self.fault == "writes to the weights":
            return lambda: float(context.weights["conv1.weight"].add_(1).isnan().sum())
        if self.fault == "draws random numbers":
            torch.rand(1)
        if self.fault == "draws from numpy":
            np.random.rand()
        if self.fault == "draws from random":
            random.random()
        return lambda: 0


_PASSES: list[int] = []


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("counts passes", "collects the same again"),
        ("writes to the weights", "leaves the model as it was"),
        ("draws random numbers", "leaves the model as it was"),
        ("draws from numpy", "leaves the model as it was"),
        ("draws from random", "leaves the model as it was"),
    ],
)
def test_a_probe_that_breaks_a_promise_is_named(fault, promise):
    with pytest.raises(ContractBroken, match=promise):
        check_probe(Watcher(fault))


@dataclass(frozen=True)
class Gauge:
    """A diagnostic with one fault, by name."""

    fault: str

    @property
    def needs(self):
        wanted = {"no probes": ("Weights",), "too many": (Weights(), Gradients()), "unknown": (Watcher("no example"),)}
        return wanted.get(self.fault, (Weights(),))

    @property
    def quantities(self):
        mean, other = Quantity("mean", "mean"), Quantity("other", "other")
        faulty = {"none": (), "no quantities": ("mean",), "doubled": (mean, mean), "absent": (mean, other)}
        return faulty.get(self.fault, (mean,))

    def __call__(self, evidence, mask):
        if self.fault == "too few":
            evidence[Gradients()]
        weights = evidence[Weights()]
        if self.fault == "changes":
            next(iter(weights.values())).add_(1)
        value = {"nan": float("nan"), "a tensor": torch.ones(()), "random": random.random()}.get(self.fault, 0.5)
        name = "unnamed" if self.fault == "unnamed" else "mean"
        layers = {"strange": {"mean": 0.1}} if self.fault == "strange layer" else {next(iter(mask)): {"mean": value}}
        return Measurement({name: value}, layers)


def test_the_diagnostic_that_others_are_broken_from_is_whole():
    check_diagnostic(Gauge("none at all"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no probes", "needs a tuple of probes"),
        ("too many", "does not miss Gradients"),
        ("too few", "more than it needs"),
        ("unknown", "evidence="),
        ("none", "a tuple of quantities"),
        ("no quantities", "a tuple of quantities"),
        ("doubled", "names each quantity once"),
        ("absent", "lacks .'other'."),
        ("unnamed", "'unnamed'. are none of them"),
        ("nan", "finite floats"),
        ("a tensor", "finite floats"),
        ("random", "measures the same again"),
        ("strange layer", "'strange'. are none"),
        ("changes", "only reads the evidence"),
    ],
)
def test_a_broken_diagnostic_is_refused(fault, words):
    with pytest.raises(ContractBroken, match=words):
        check_diagnostic(Gauge(fault))


@dataclass(frozen=True)
class Sees:
    """An observer with one fault, by name."""

    fault: str

    @property
    def reset(self):
        return "always" if self.fault == "reset" else "level"

    def watch(self, training, state):
        first = []

        def look(gradients):
            number = torch.rand(()) if self.fault == "random" else torch.ones(())
            first.append(1)
            if self.fault == "forgets":
                number = torch.tensor(float(len(first)))
            if self.fault == "writes":
                next(iter(gradients.values())).mul_(2)
            state["steps"] = state.get("steps", torch.zeros(())) + number

        training.before_step(look)

    def result(self, state, *, ranks):
        if not state and self.fault == "nothing":
            return 0.0
        if not state and self.fault != "key error":
            raise MissingEvidence("nothing", "seen")
        return float(state["steps"])


def test_the_observer_that_others_are_broken_from_is_whole():
    check_observer(Sees("none at all"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reset", 'has reset "level" or "never"'),
        ("random", "sees the same again"),
        ("forgets", "goes on from a stored state"),
        ("writes", "leaves the training as it was"),
        ("nothing", "that has seen nothing has a result"),
        ("key error", "that has seen nothing fails by KeyError"),
    ],
)
def test_an_observer_that_breaks_a_promise_is_named(fault, words):
    with pytest.raises(ContractBroken, match=words):
        check_observer(Sees(fault))


# --- the toys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mlp, residual_cnn])
def test_toy_networks_depend_on_their_seed_alone(make):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, two, other = make(seed=5), make(seed=5), make(seed=6)
    assert torch.equal(torch.rand(3), expected)  # the global generator is left alone
    state = one.state_dict()
    assert all(torch.equal(state[name], value) for name, value in two.state_dict().items())
    assert not all(torch.equal(state[name], value) for name, value in other.state_dict().items())


def test_separable_data_is_learnt_by_a_linear_layer():
    x, y = separable(300, seed=1)
    assert (x.shape, x.dtype, y.dtype) == ((300, 8), torch.float32, torch.int64)
    assert torch.bincount(y).tolist() == [100, 100, 100]
    # the unit vectors are the classes: the largest of the first coordinates names it; 9 deviations lie between
    assert (x[:, :3].argmax(1) == y).float().mean() > 0.99
    again, _ = separable(300, seed=1)
    assert torch.equal(x, again)
    assert not torch.equal(x, separable(300, seed=2)[0])


def test_toy_evidence_holds_what_every_probe_of_the_library_gives():
    evidence = toy_evidence()
    assert {type(probe) for probe in evidence} == {*PROBES, *OBSERVERS}
    alone = toy_evidence(probes=[Gradients()])
    assert list(alone) == [Gradients()]
    assert torch.equal(alone[Gradients()]["fc.weight"], evidence[Gradients()]["fc.weight"])
    counts = evidence[UnitCounts()]
    assert {c.active.shape for c in counts.values()} == {(4, 1), (3, 1)}
    assert all(0 <= int(c.active.min()) <= int(c.active.max()) <= c.samples for c in counts.values())
    strided = toy_evidence(memory_format=torch.channels_last)[Weights()]["conv1.weight"]
    assert not strided.is_contiguous()
    assert torch.equal(strided, evidence[Weights()]["conv1.weight"])
