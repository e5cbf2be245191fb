"""One row for each pluggable class: the tests of contracts, of values and of formulas all read it.

A new class gets a row here, or the tests say so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from hypothesis import strategies as st

from budbreak import activations, criteria, diagnostics, evidence, lowrank, masks, schedules, search, training
from budbreak.exporting import Onnx, OnnxInt8, OpenVINO, OpenVINOInt8, Packed, Safetensors, TorchProgram
from budbreak.iteration import AccuracyGates, ActivateWhilePruning, EarlyStop, Remove, Train

Share = st.floats(0.001, 0.99)
Betas = st.tuples(Share, Share)
Mode = st.sampled_from(["eval", "train"])
Shape = st.none() | st.just((3, 8, 8))
Temperature = st.floats(0.5, 300)
Warmup = {"warmup": Share}
Resets = st.sampled_from(["level", "never"])
Adding = {"reset": Resets, "every": st.integers(1, 1000)}
Counting = {
    "threshold": st.floats(0, 10),
    **Adding,
    "event": st.sampled_from(["active", "inactive"]),
    "increment": st.just("count"),  # a sum goes with no event, and
    "decay": st.just(1.0),  # what fades with no reset: tests/evidence/test_counting_options.py
    "accuracy": st.sampled_from(["accuracy", "train_accuracy"]),
}
Choosing = {"event": "active", "increment": "count", "decay": 1.0, "accuracy": "accuracy"}
Counts = (
    {},
    {"threshold": 0.1, "every": 2, "reset": "level"},
    {"event": "inactive", "decay": 0.5},
    {"increment": "sum"},
    {"increment": "accuracy-weighted"},
)


@dataclass(frozen=True)
class Row:
    """What the tests need to know of a class.

    Args:
        kind: the class.
        samples: arguments of instances whose contract is checked.
        introduced: argument -> the default it was introduced with, `MISSING` if none. Lines are added, and changed
            never: identities leave out a field at this default, so a change would take old results for new ones.
        arguments: argument -> hypothesis strategy, for each argument that it takes.
        oracle: criteria only: (weight, its start, its gradient) -> its score, in plain Python; None where the formula
            is not of single weights.
    """

    kind: type
    samples: tuple[Mapping[str, Any], ...] = ({},)
    introduced: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    oracle: Callable[[float, float, float], float] | None = None


def activation(kind: type, *, trainable: bool, more: Mapping[str, Any] | None = None, **scalars: Any) -> Row:
    """The row of an activation: ``scalars``: where each starts; ``more``: samples of other arguments."""
    finite = st.floats(-1e6, 1e6)
    arguments = {
        name: st.lists(finite, min_size=1, max_size=3).map(tuple) if isinstance(start, tuple) else finite
        for name, start in scalars.items()
    }
    return Row(
        kind,
        ({}, {"trainable": not trainable, "per": "unit"}, *([more] if more else [])),
        {"trainable": trainable, "per": "site", **scalars},
        {"trainable": st.booleans(), "per": st.sampled_from(["site", "unit"]), **arguments},
    )


BOTH = {"alpha": 1.0, "beta": 1.0}
INT8 = {"introduced": {"calibrate": None, "tolerance": None, "static_batch": False}}
ROUNDED = {"introduced": {"plan": None, "values": None, "tolerance": None}}
FREE = {"introduced": {"static_batch": False}, "arguments": {"static_batch": st.booleans()}}
NUMERATOR = (0.0, 0.5, 0.24994455, 0.05268699, 0.00555048, 0.00024445)
DENOMINATOR = (0.0, 0.10537399, 0.0, 0.0004889)

ROWS = (
    # activations
    activation(activations.ACON, trainable=True, p1=1.0, p2=0.0, beta=1.0, more={"p1": 1.2, "p2": 0.8}),
    activation(activations.ELiSH, trainable=False, **BOTH, more={"alpha": 0.5, "beta": -2.0}),
    activation(activations.ELU, trainable=False, **BOTH),
    activation(activations.FALU, trainable=True, order=0.0, beta=1.0, more={"order": 1.5}),
    activation(activations.GELU, trainable=False, **BOTH, more={"alpha": 2.0}),
    activation(activations.Hardswish, trainable=False, **BOTH),
    activation(activations.Identity, trainable=False, alpha=1.0),
    activation(activations.LeakyReLU, trainable=False, **BOTH, negative_slope=0.01, more={"negative_slope": 0.2}),
    activation(activations.LogSigmoid, trainable=False, **BOTH),
    activation(activations.Mish, trainable=False, **BOTH),
    activation(activations.PReLU, trainable=True, slope=0.25, more={"slope": 0.5}),
    activation(
        activations.Rational,
        trainable=True,
        numerator=NUMERATOR,
        denominator=DENOMINATOR,
        more={"numerator": (0.1, 1.0, 0.2), "denominator": (-0.3,)},
    ),
    activation(activations.ReLU, trainable=False, **BOTH, more={"beta": -1.0}),
    activation(activations.ReLU6, trainable=False, **BOTH),
    activation(activations.SELU, trainable=False, **BOTH),
    activation(activations.Sin, trainable=False, **BOTH, more={"beta": 3.0}),
    activation(activations.Softplus, trainable=False, **BOTH),
    activation(activations.SquaredReLU, trainable=False, **BOTH),
    activation(activations.SReLU, trainable=True, left=0.0, left_slope=0.2, right=1.0, right_slope=1.0),
    activation(activations.SRS, trainable=True, **BOTH, more={"alpha": 0.2, "beta": 3.0}),
    activation(activations.Swish, trainable=False, **BOTH, more={"alpha": 2.0, "beta": 0.5}),
    activation(activations.Symexp, trainable=False, **BOTH),
    activation(activations.Symlog, trainable=False, **BOTH),
    activation(activations.Tanh, trainable=False, **BOTH),
    activation(activations.TanhSoft1, trainable=True, alpha=1.0),
    activation(activations.TanhSoft2, trainable=True, beta=1.0, gamma=1.0),
    # penalties
    Row(
        lowrank.SchattenP,
        ({"strength": 0.1}, {"strength": 0.1, "p": 1.0}),
        {"strength": MISSING, "p": 0.5, "epsilon": 1e-3},
        {"strength": st.floats(0, 10), "p": st.floats(0.1, 1), "epsilon": st.floats(1e-6, 1)},
    ),
    Row(
        lowrank.WeightedNuclearNorm,
        ({"strength": 0.1}, {"strength": 0.1, "weights": "inverse"}),
        {"strength": MISSING, "weights": "index", "epsilon": 1e-3},
        {
            "strength": st.floats(0, 10),
            "weights": st.sampled_from(["index", "inverse", "uniform"]),
            "epsilon": st.floats(1e-6, 1),
        },
    ),
    # criteria
    Row(
        criteria.ActivationCount,
        ({"weighted": True}, *Counts),
        {"weighted": False, "threshold": 0.0, "every": 1, "reset": "never", **Choosing},
        {"weighted": st.booleans(), **Counting},
    ),
    Row(criteria.APoZ, ({}, {"threshold": 0.1}), {"threshold": 0.0}, {"threshold": st.floats(0, 10)}),
    Row(criteria.Displacement, oracle=lambda w, start, g: max(w - start, start - w)),
    Row(criteria.Gradient, oracle=lambda w, start, g: math.fabs(g)),
    Row(criteria.Lamp),
    Row(
        criteria.GraSP,
        ({}, {"temperature": 1.0, "mode": "eval"}),
        {"temperature": 200.0, "mode": "train"},
        {"temperature": Temperature, "mode": Mode},
    ),
    Row(
        criteria.LeastMovedNegative,
        oracle=lambda w, start, g: max(w - start, start - w) if w < 0 else math.inf,
    ),
    Row(criteria.Lookahead, ({}, {"norm": True}), {"norm": False}, {"norm": st.booleans()}),
    Row(criteria.Magnitude, oracle=lambda w, start, g: w if w > 0 else -w),
    Row(criteria.Movement, ({}, {"reset": "never", "every": 3}), {"reset": "level", "every": 1}, Adding),
    Row(criteria.Random, ({}, {"seed": 7}), {"seed": 0}, {"seed": st.integers(0, 2**63 - 1)}),
    Row(criteria.RIA, ({}, {"alpha": 0.0}), {"alpha": 0.5}, {"alpha": st.floats(0, 2)}),
    Row(
        criteria.Snip,
        ({}, {"mode": "train"}),
        {"mode": "eval"},
        {"mode": Mode},
        oracle=lambda w, start, g: math.fabs(w * g),
    ),
    Row(
        criteria.SynFlow,
        ({}, {"rounds": 1, "shape": (3, 8, 8)}),
        {"rounds": 100, "shape": None},
        {"rounds": st.integers(1, 1000), "shape": Shape},
    ),
    Row(criteria.Taylor, oracle=lambda w, start, g: math.fabs(w * g)),
    Row(criteria.Wanda),
    # schedules
    Row(
        schedules.Cubic,
        ({"sparsity": 0.9, "levels": 10}, {"sparsity": 0.5, "levels": 1}),
        {"sparsity": MISSING, "levels": MISSING},
        {"sparsity": Share, "levels": st.integers(1, 10**6)},
    ),
    Row(
        schedules.Decaying,
        ({"sparsity": 0.8, "levels": 5}, {"sparsity": 0.9, "levels": 10, "decay": 0.5}),
        {"sparsity": MISSING, "levels": MISSING, "decay": 0.2},
        {"sparsity": Share, "levels": st.integers(1, 1000), "decay": Share},
    ),
    Row(schedules.Dense),
    Row(
        schedules.Geometric,
        ({"rate": 0.2, "levels": 12}, {"rate": 0.5, "levels": 1}),
        {"rate": MISSING, "levels": MISSING},
        {"rate": st.floats(0.001, 0.5), "levels": st.integers(1, 40)},
    ),
    Row(
        schedules.LayerByLayer,
        ({"share": 0.8, "levels": 4},),
        {"share": MISSING, "levels": MISSING},
        {"share": Share, "levels": st.integers(1, 1000)},
    ),
    Row(schedules.OneShot, ({"sparsity": 0.9},), {"sparsity": MISSING}, {"sparsity": Share}),
    # follow-ups
    Row(
        ActivateWhilePruning,
        ({}, {"q": 0.1, "variant": "pro"}),
        {"q": 0.02, "variant": "lite"},
        {"q": Share, "variant": st.sampled_from(["lite", "pro"])},
    ),
    Row(
        Remove,
        ({}, {"q": 0.1}, {"criterion": criteria.LeastMovedNegative()}),
        {"criterion": None, "q": 0.02},
        {"criterion": st.none() | st.just(criteria.Random(seed=3)), "q": Share},
    ),
    Row(Train),
    # ending rules
    Row(
        AccuracyGates,
        ({"prunings": 5}, {"prunings": 10, "order": "official", "gates": "regained", "early_stop": EarlyStop(0.2)}),
        {
            "prunings": MISSING,
            "start": 0.8,
            "final": 0.98,
            "early_stop": EarlyStop(),
            "order": "recover",
            "gates": "rising",
            "accuracy": "train_accuracy",
        },
    ),
    Row(EarlyStop, ({}, {"ticks": 1}), {"rise": 0.1, "ticks": 3, "loss": "validation_loss"}),
    # scopes
    Row(masks.Global),
    Row(masks.Layer),
    Row(masks.Rows),
    Row(
        masks.NM,
        ({"n": 2, "of": 4}, {"n": 1, "of": 8, "remainder": "pad"}),
        {"n": MISSING, "of": MISSING, "dim": 1, "remainder": "refuse"},
        {
            "n": st.integers(1, 7),
            "of": st.integers(8, 32),
            "dim": st.integers(0, 3),
            "remainder": st.sampled_from(["refuse", "pad"]),
        },
    ),
    # allocations
    Row(masks.ERK),
    Row(masks.InOrder),
    Row(masks.Uniform),
    # granularities
    Row(masks.Element),
    Row(
        masks.Unit,
        ({}, {"dim": 0, "outputs": ()}, {"budget": "weights"}),
        {"dim": None, "outputs": None, "budget": "units"},
        {
            "dim": st.none() | st.integers(0, 3),
            "outputs": st.none() | st.just(("fc.weight",)),
            "budget": st.sampled_from(["units", "weights"]),
        },
    ),
    Row(
        masks.Block,
        ({"rows": 1, "columns": 16}, {"rows": 3, "columns": 2}),
        {"rows": MISSING, "columns": MISSING, "budget": "blocks"},
        {
            "rows": st.integers(1, 64),
            "columns": st.integers(1, 64),
            "budget": st.sampled_from(["blocks", "weights"]),
        },
    ),
    # optimizers
    Row(
        training.SGD,
        ({}, {"nesterov": True}),
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4},
        {"learning_rate": Share, "momentum": Share, "nesterov": st.booleans(), "weight_decay": Share},
    ),
    Row(
        training.Adam,
        ({}, {"betas": (0.8, 0.9)}),
        {"learning_rate": 1e-3, "betas": (0.9, 0.999), "epsilon": 1e-8, "weight_decay": 0.0},
        {"learning_rate": Share, "betas": Betas, "epsilon": Share, "weight_decay": Share},
    ),
    Row(
        training.AdamW,
        ({}, {"weight_decay": 0.1}),
        {"learning_rate": 1e-3, "betas": (0.9, 0.999), "epsilon": 1e-8, "weight_decay": 0.01},
        {"learning_rate": Share, "betas": Betas, "epsilon": Share, "weight_decay": Share},
    ),
    Row(training.Fromage, ({}, {"learning_rate": 0.1}), {"learning_rate": 0.01}, {"learning_rate": Share}),
    Row(
        training.TAdam,
        ({}, {"betas": (0.9, 0.99), "k_dof": 2.0}),
        {"learning_rate": 1e-3, "betas": (0.9, 0.999), "epsilon": 1e-8, "weight_decay": 0.0, "k_dof": 1.0},
        {
            "learning_rate": Share,
            "betas": st.tuples(st.floats(0.5, 0.99), Share),
            "epsilon": Share,
            "weight_decay": Share,
            "k_dof": st.floats(0.1, 10),
        },
    ),
    # learning-rate schedules
    Row(
        training.Constant,
        ({}, {"warmup": 1.0}, {"warmup": 5.0, "start": 0.1}),
        {"warmup": 0.0, "start": 0.0},
        {**Warmup, "start": st.just(0.0)},  # another one goes with a warm-up
    ),
    Row(
        training.Cosine,
        ({}, {"end": 0.1}, {"cycle": 2.0}),
        {"end": 0.0, "warmup": 0.0, "cycle": 0.0},
        {"end": Share, **Warmup, "cycle": Share},
    ),
    Row(training.Linear, ({}, {"end": 0.1}), {"end": 0.0, "warmup": 0.0}, {"end": Share, **Warmup}),
    Row(
        training.OneCycle,
        ({}, {"peak": 0.5}),
        {"peak": 0.3, "start": 0.04, "end": 4e-6},
        {"peak": Share, "start": Share, "end": Share},
    ),
    Row(
        training.Plateau,
        ({"patience": 1}, {"patience": 2, "watches": "train_loss"}),
        {"patience": MISSING, "gamma": 0.1, "threshold": 0.0, "warmup": 0.0, "watches": "validation_accuracy"},
        {
            "patience": st.integers(0, 9),
            "gamma": Share,
            "threshold": Share,
            **Warmup,
            "watches": st.sampled_from(["validation_accuracy", "train_loss"]),
        },
    ),
    Row(
        training.Steps,
        ({"milestones": (1.0, 2.0)}, {"every": 20.0}),
        {"milestones": MISSING, "gamma": 0.1, "warmup": 0.0, "every": 0.0},
        {"milestones": st.just((1.0, 2.5)), "gamma": Share, **Warmup, "every": st.just(0.0)},  # one of the two
    ),
    # diagnostics
    Row(diagnostics.Connectivity),
    Row(diagnostics.DeadUnits, ({},), {"threshold": 0.0}, {"threshold": st.floats(0, 10)}),
    Row(diagnostics.DormantUnits, ({},), {"tau": 0.025}, {"tau": st.floats(0, 10)}),
    Row(diagnostics.GradientNorm),
    Row(diagnostics.Rank),
    # samplers
    Row(
        search.Genetic,
        ({}, {"population": 3, "generations": 6, "crossover": 0.4, "mutation": 1.0}),
        {"population": 5, "generations": 2, "crossover": 0.8, "mutation": 0.3},
        {"population": st.integers(2, 9), "generations": st.integers(1, 9), "crossover": Share, "mutation": Share},
    ),
    Row(
        search.LateAcceptance,
        ({}, {"history": 1}, {"history": 5, "steps": 0, "idle": 0.3}),
        {"history": 3, "steps": 20, "idle": 0.02},
        {"history": st.integers(1, 9), "steps": st.integers(0, 99), "idle": Share},
    ),
    Row(search.RandomSearch, ({},), {"trials": 20}, {"trials": st.integers(1, 99)}),
    Row(search.SMAC, ({"trials": 4},), {"trials": 20}, {"trials": st.integers(1, 99)}),
    Row(
        search.TPE,
        ({"trials": 9, "startup": 4},),
        {"trials": 20, "startup": 10},
        {"trials": st.integers(1, 99), "startup": st.integers(1, 99)},
    ),
    Row(
        search.SimulatedAnnealing,
        ({}, {"steps": 30, "start": 5.0, "end": 5.0}),
        {"steps": 20, "start": 1.0, "end": 0.05},
        {"steps": st.integers(1, 99), "start": st.floats(1, 9), "end": Share},
    ),
    Row(
        search.Hyperband,
        ({"most": 27}, {"most": 10, "least": 2, "factor": 2}),
        {"least": 1, "factor": 3},
        {"most": st.integers(50, 99), "least": st.integers(1, 9), "factor": st.integers(2, 9)},
    ),
    Row(
        search.Lagging,
        ({}, {"quantile": 0.1, "startup": 2, "after": 3}),
        {"quantile": 0.5, "startup": 5, "after": 1},
        {"quantile": Share, "startup": st.integers(1, 9), "after": st.integers(1, 9)},
    ),
    # exporters
    Row(Onnx, ({}, {"static_batch": True}), **FREE),
    Row(OnnxInt8, ({}, {"static_batch": True}), **INT8),
    Row(OpenVINO, ({}, {"static_batch": True}), {"static_batch": False, "values": None, "tolerance": None}),
    Row(OpenVINOInt8, ({}, {"tolerance": 0.2}), **INT8),
    Row(Packed, ({}, {"values": "float16"}), **ROUNDED),
    Row(Safetensors, ({}, {"values": "bfloat16", "tolerance": 0.1}), **ROUNDED),
    Row(TorchProgram, ({}, {"static_batch": True}), **FREE),
    # probes
    Row(evidence.Weights),
    Row(evidence.StartWeights),
    Row(
        evidence.Gradients,
        ({}, {"mode": "train", "temperature": 200.0}),
        {"mode": "eval", "temperature": 1.0},
        {"mode": Mode, "temperature": Temperature},
    ),
    Row(
        evidence.HessianGradients,
        ({}, {"mode": "train", "temperature": 200.0}),
        {"mode": "eval", "temperature": 1.0},
        {"mode": Mode, "temperature": Temperature},
    ),
    Row(evidence.Graph),
    Row(evidence.InputNorms),
    Row(evidence.MeanActivations),
    Row(evidence.SynapticFlow, ({}, {"shape": (3, 8, 8)}), {"shape": None}, {"shape": Shape}),
    Row(evidence.Unfoldings),
    Row(evidence.UnitCounts, ({}, {"threshold": 0.1}), {"threshold": 0.0}, {"threshold": st.floats(0, 10)}),
    Row(evidence.Unseen),
    Row(evidence.Wiring),
    # observers
    Row(
        evidence.ActivationCounts,
        Counts,
        {"threshold": 0.0, "every": 1, "reset": "never", **Choosing},
        Counting,
    ),
    Row(evidence.MovementSums, ({}, {"reset": "never", "every": 3}), {"reset": "level", "every": 1}, Adding),
)

BY_KIND: Mapping[type, Row] = {row.kind: row for row in ROWS}


def row_of(kind: type) -> Row:
    """The row of a class."""
    assert kind in BY_KIND, f"{kind.__name__} is new: give it a row in {__file__.rpartition('/')[2]}"
    return BY_KIND[kind]


def instances(kinds) -> list[Any]:
    """An instance for each sample of these classes."""
    return [kind(**arguments) for kind in kinds for arguments in row_of(kind).samples]


def introduced(kind: type) -> dict[str, Any]:
    """Argument -> the default that the class says it was introduced with."""
    taken = [entry for entry in dataclasses.fields(kind) if entry.init]
    return {entry.name: entry.metadata.get("introduced", entry.default) for entry in taken}
