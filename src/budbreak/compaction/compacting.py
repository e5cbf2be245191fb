"""A physically smaller model with equal outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from budbreak.checks import check_count, check_known, check_model, check_number, check_optimizer, shown
from budbreak.compaction.bare_norms import bare_norm_settings
from budbreak.compaction.building import build
from budbreak.compaction.choosing import Choice, Left, choose, in_multiples, spared, tables_of
from budbreak.compaction.columns import Columns, all_columns, by_slot
from budbreak.compaction.compacted import Compacted
from budbreak.compaction.gains import cost_of
from budbreak.compaction.on_data import look_on_data, on_data, pieces_of, trials_on_data
from budbreak.compaction.optimizing import check_can_follow, follow
from budbreak.compaction.plan import CompactionPlan, shapes_of
from budbreak.compaction.surgery import put_settings
from budbreak.compaction.trials import Trial, half_trial, trials_of
from budbreak.compaction.widening import like, look_widely, narrowed
from budbreak.compaction.wiring import Wiring
from budbreak.errors import BudbreakError, InvalidValue, InvariantBroken, LayerCollapsed
from budbreak.graph import Forward, example_outputs, largest_difference, too_far, trace
from budbreak.live import apply_mask
from budbreak.masks import Mask, check_mask, copied, unwrap


def compact(
    model: nn.Module,
    example: Any,
    *,
    mask: Mask | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    forward: Forward | None = None,
    keep: Collection[str] = (),
    approximate: bool = False,
    dead_on: Any = None,
    multiple: int = 1,
    tolerance: float | None = None,
) -> Compacted:
    """Make a physically smaller model that gives the same outputs.

    Those units go that no living input feeds, or that no output depends on, by way of weights that are not zero. What
    a unit without a living input gives is a constant, a function of its bias: the biases behind it take that over,
    exactly. Where they cannot (a convolution sees zeros, not the constant, at its padded borders), the unit stays, and
    `Compacted.left` says so. All is meant in eval mode, and for inputs of the example's shape.

    Layers without a bias may be given one. Each layer keeps at least one unit. What a norm takes its mean over, what
    enters recurrent layers, embeddings, and what the model returns stay whole.

    Args:
        model: which stays as it is; wrappers (``torch.compile``, data-parallel) are taken off the copy.
        example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward``
            whatever that takes. Outputs are compared on it, and, unless ``approximate``, on one sample and on one
            more, drawn at random like it: what a model decides by its inputs or their number shows there.
        mask: what to take as zero beside the model's own zeros.
        optimizer: which trains the model, or several: from then on they train the compact one, with what they
            remember of its parameters. Nothing is changed in them if anything is refused.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.
        keep: names of weights whose units all stay.
        approximate: whether constants are folded where it is not exact, too: their mean over positions, and as if
            convolutions had no borders. Then outputs differ, and a difference is refused by ``tolerance`` alone.
        dead_on: a calibration set: a batch like the example, of some hundred training samples or more. Those units go,
            too, that give one value for all of them: never active, say. On these samples outputs stay as they are,
            elsewhere they may differ, by any number unless ``tolerance`` is given; `Compacted.on_data` says the size.
        multiple: so many dead units stay that the number of units of each layer is a multiple of it, where enough are
            dead, and none elsewhere: convolutions of 48 channels are twice as fast as those of 45 in ONNX Runtime.
        tolerance: the largest difference of an output that is accepted; unless given the root of the output's
            precision (3e-4 in float32) times its largest value. Models of half precision are compared in float32, too,
            where their code runs in it.

    Raises:
        InvalidValue: if the model does not take the example, or cannot be copied.
        CannotTrace: if it cannot be traced: what, and where.
        UnknownName, MaskMismatch: if ``mask`` or ``keep`` does not fit it.
        ForeignParameter: if the optimizer is not of this model.
        NotFinite: if the outputs are not.
        LayerCollapsed: if no output depends on an input any more: with the first layer that passes nothing on.
        InvariantBroken: if outputs would differ: with the layer whose units cannot go.
    """
    _check(model, mask, optimizer, tolerance)
    if not isinstance(approximate, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"approximate is {shown(approximate)}", "it is True or False", "write approximate=True")
    _check_multiple(multiple, dead_on)
    own = unwrap(model)
    dense = copied(own)
    if mask is not None:
        apply_mask(dense, mask)
    wiring, batch = look_widely(dense, example, forward)
    pieces = [] if dead_on is None else pieces_of(dead_on)
    if pieces:
        wiring = look_on_data(wiring, dense, pieces, forward)
    _check_alive(wiring)
    attempt = _Attempt(wiring, batch, forward, tolerance, approximate=approximate or bool(pieces))
    limit = attempt.tolerance if approximate else None
    attempt.trials += trials_on_data(wiring.model, [like(piece, batch) for piece in pieces], forward, limit)
    if wiring.model is not dense:
        attempt.trials.append(half_trial(dense, example, forward, attempt.tolerance))
    staying = {**tables_of(wiring.graph.nodes), **_asked(own, keep)}
    found, left = choose(wiring.graph.groups(), by_slot(attempt.columns), staying, rough=approximate)
    plan, smaller, more = attempt.best(in_multiples(found, multiple))
    smaller = smaller if wiring.model is dense else narrowed(smaller, dense)
    apart = largest_difference(*(example_outputs(one, example, forward) for one in (dense, smaller)))
    before, after = cost_of(dense, wiring.graph), cost_of(smaller, trace(smaller, example, forward))
    seen = on_data(dense, smaller, pieces, forward) if pieces else None
    compacted = Compacted(smaller, plan, apart, before, after, (*left, *more), seen)
    if optimizer is not None:
        follow(optimizer, own, smaller, plan)
    return compacted


class _Attempt:
    """Builds smaller models, and compares each with the dense one.

    Args:
        wiring: of the dense model.
        example, forward: to run it.
        tolerance: see `compact`.
        approximate: see `compact`.
    """

    def __init__(
        self, wiring: Wiring, example: Any, forward: Forward | None, tolerance: float | None, *, approximate: bool
    ) -> None:
        self.wiring, self.example, self.forward = wiring, example, forward
        self.columns: tuple[Columns, ...] = all_columns(wiring, cutting=True)
        self.shapes = shapes_of(wiring.model)
        self.tolerance = float("inf") if approximate and tolerance is None else tolerance
        trials = trials_of(wiring.model, example, forward, self.tolerance)
        self.trials: list[Trial] = trials[:1] if approximate else trials

    def best(self, choices: Sequence[Choice]) -> tuple[CompactionPlan, nn.Module, list[Left]]:
        """With all choices; or, if that fails, without those that do not run, or whose sizes the code spells out.

        Raises:
            InvariantBroken: if outputs differ all the same.
        """
        left: list[Left] = []
        safe, more = spared(choices, self.shapes)
        plan, smaller = self._built(safe)
        trouble = self.trouble(smaller)
        if trouble:
            reasons = [self._unfit(choice) for choice in choices]
            left = [_staying(choice, why) for choice, why in zip(choices, reasons, strict=True) if why]
            fitting = [choice for choice, why in zip(choices, reasons, strict=True) if not why]
            safe, more = spared(fitting, self.shapes)
            plan, smaller = self._built(safe)
            trouble = self.trouble(smaller)
        if trouble:
            raise self._refusal(safe, trouble)
        return plan, smaller, left + more

    def trouble(self, smaller: nn.Module) -> str:
        """What is wrong with a smaller model, in words; "" if nothing is."""
        return next(filter(None, (trial.trouble(smaller, self.forward) for trial in self.trials)), "")

    def _alone(self, choice: Choice) -> str:
        return self.trouble(self._without(choice))

    def _without(self, choice: Choice) -> nn.Module:
        """The smaller model without the units of one group alone."""
        one, _ = spared([choice], self.shapes)
        return self._built(one)[1]

    def _unfit(self, choice: Choice) -> str:
        """Why the units of one group stay: they alone are trouble of a kind that leaving them cures; "" if not."""
        smaller, calls = self._without(choice), ", ".join(choice.group.sizes)
        if not calls:
            stops = self._stops(smaller)
            return f"without them {stops}" if stops else ""
        words = f"the smaller model does not run or differs, for sizes were given to {calls}"
        return words if self.trouble(smaller) else ""

    def _stops(self, smaller: nn.Module) -> str:
        """What a smaller model says that does not run at all; "" if it runs."""
        try:
            example_outputs(smaller, self.example, self.forward)
        except BudbreakError as error:
            return error.value
        return ""

    def _built(self, choices: Sequence[Choice]) -> tuple[CompactionPlan, nn.Module]:
        plan, smaller = build(self.wiring.model, self.columns, choices)
        more = bare_norm_settings(smaller, lambda: example_outputs(smaller, self.example, self.forward))
        put_settings(smaller, more)
        return replace(plan, settings=(*plan.settings, *more)), smaller

    def _refusal(self, choices: Sequence[Choice], trouble: str) -> InvariantBroken:
        with torch.random.fork_rng():
            torch.manual_seed(len(trouble))  # any other than before
            again = example_outputs(self.wiring.model, self.example, self.forward)
        if too_far(self.trials[0].expected, again, self.tolerance):
            return InvariantBroken(
                f"{type(self.wiring.model).__name__} gives other outputs when it is run again on the same example",
                "a compact model is compared with the dense one, which must give the same each time in eval mode",
                "draw nothing at random in eval mode, or give forward=lambda model, batch: ... that seeds it",
            )
        alone = ((choice.name, self._alone(choice)) for choice in choices)
        name, why = next(((name, why) for name, why in alone if why), ("", trouble))
        which = f"without the dead units of {name!r}" if name else "without all dead units together"
        fix = f"leave them in: compact(..., keep=[{name!r}])" if name else "leave some in: compact(..., keep=[...])"
        return InvariantBroken(
            f"{type(self.wiring.model).__name__} cannot go {which}: {why}",
            "a compact model gives what the dense one gives; the model is as it was",
            fix,
        )


def _check(model: object, mask: Mask | None, optimizer: object, tolerance: float | None) -> None:
    check_model(model)
    if mask is not None:
        check_mask(mask)
    if tolerance is not None:
        check_number("tolerance", tolerance, usual="1e-5")
    if optimizer is not None:
        check_optimizer(optimizer)
        check_can_follow(optimizer, unwrap(model))  # pyright: ignore[reportArgumentType]


def _check_multiple(multiple: int, dead_on: object) -> None:
    check_count("multiple", multiple)
    if multiple > 1 and dead_on is not None:
        raise InvalidValue(
            f"multiple is {multiple}, and dead_on is given",
            "units stay to fill up that give what they gave; of those dead on data what fed them goes, too",
            "leave one of them out",
        )


def _check_alive(wiring: Wiring) -> None:
    """Refuse a model whose outputs no input decides."""
    classes = wiring.reach.classes
    if not classes or any(bool(reached.any()) for reached in classes):
        return
    layers = [bundle for bundle in wiring.graph.channels.bundles if bundle.is_layer]
    ends = [bundle.node.weight for bundle in layers if not bool(wiring.reach.reached[bundle.made].any())]
    where = f": nothing passes {ends[0]!r}" if ends else ""
    raise LayerCollapsed(
        f"no output of {type(wiring.model).__name__} depends on its inputs{where}",
        "a model whose outputs are constants has no units worth keeping",
        "prune less, or with floor=...; which weights are connected, trace(model, example).reachable(mask) says",
    )


def _asked(model: nn.Module, keep: Collection[str]) -> Mapping[str, str]:
    if isinstance(keep, str):
        raise InvalidValue(f"keep is {keep!r}", "it holds names of weights", f"write keep=[{keep!r}]")
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for name in keep:
        check_known(f"keep names {name!r}, which is no parameter of {type(model).__name__}", name, names)
    return dict.fromkeys(keep, "it was asked for, by keep=[...]")


def _staying(choice: Choice, why: str) -> Left:
    return Left(choice.name, int(choice.gone.sum()), choice.group.size, why)
