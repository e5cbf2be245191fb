"""The same network with fewer weights: dead connections are dropped, and constants moved into biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_model
from budbreak.compaction.choosing import Left
from budbreak.compaction.columns import SAID, Columns, Slot, Verdict, all_columns, by_slot, is_normed
from budbreak.compaction.folding import folded
from budbreak.compaction.widening import look_widely
from budbreak.compaction.wiring import Wiring
from budbreak.errors import InvariantBroken, MaskMismatch
from budbreak.graph import Forward, check_finite_outputs, example_outputs, largest_difference, too_far
from budbreak.live import apply_mask
from budbreak.masks import Mask, check_mask, copied, unwrap


@dataclass(frozen=True, eq=False)
class Propagation:
    """What follows from a mask.

    Args:
        mask: what it keeps and what is not dead: a weight is dead that no living input reaches, or no output.
        biases: name of a bias -> what it takes over from constants, float64, to be added.
        before: the sparsity of the mask that was given; the effective one is ``mask.sparsity``.
        difference: the largest difference of an output on the example.
        left: weights that stay because constants that they pass on cannot be folded.
    """

    mask: Mask
    biases: Mapping[str, Tensor] = field(repr=False)
    before: float
    difference: float
    left: tuple[Left, ...] = ()

    def __str__(self) -> str:
        """Both sparsities, and a line for each thing left."""
        first = f"sparsity {self.before:.4f} -> {self.mask.sparsity:.4f}, {len(self.biases)} biases changed"
        return "\n".join(
            [first, f"largest difference of an output on the example: {self.difference:.3g}", *map(str, self.left)]
        )

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Zero what the mask does not keep, and add to the biases, in place; once: a second time is not undone.

        Args:
            model: with the weights and biases that this was made from.

        Raises:
            UnknownName, MaskMismatch: if it is another architecture; then nothing is changed.
        """
        check_model(model)
        own = unwrap(model)
        self.mask.parameters(own)
        targets = {name: _bias(own, name, amount) for name, amount in self.biases.items()}
        apply_mask(own, self.mask)
        for name, amount in self.biases.items():
            bias = targets[name]
            bias.copy_((bias.double() + amount.to(bias.device)).to(bias.dtype))


def propagate(
    model: nn.Module, example: Any, mask: Mask | None = None, *, forward: Forward | None = None
) -> Propagation:
    """Drop dead connections, to a fixed point, without making anything smaller.

    A unit without any living input gives a constant, f(bias) through norm and activation: the biases of the layers
    that read it take over what it gave, and its outgoing weights go, those in the classifier too. A unit without any
    living output loses its incoming ones. Constants that no bias can take over exactly (at zero-padded borders; behind
    layers without a bias, or of several groups) stay, with the weights that pass them on.

    Args:
        model: which stays as it is.
        example: a batch of inputs; see `compact`.
        mask: what is kept; what the model's own zeros spell unless given. Other zeros of the model count as well.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.

    Raises:
        InvalidValue, CannotTrace, UnknownName, MaskMismatch, NotFinite, InvariantBroken: see `compact`.
    """
    check_model(model)
    own = unwrap(model)
    mask = Mask.from_zeros(own) if mask is None else mask
    check_mask(mask)
    dense = copied(own)
    apply_mask(dense, mask)
    wiring, example = look_widely(dense, example, forward)
    dense = wiring.model
    columns = all_columns(wiring, cutting=False)
    verdicts = by_slot(columns)
    tied = wiring.graph.tied
    new = Mask.owning({name: mask[name] & _needed(wiring, columns, verdicts, tied.get(name, name)) for name in mask})
    cut = {slot: (found <= Verdict.FOLDED).nonzero().flatten() for slot, found in verdicts.items()}
    sizes = {name: shape[0] for name, shape in wiring.graph.shapes.items() if shape}
    draft = Propagation(new, folded(columns, cut, sizes), mask.sparsity, 0.0, _left(verdicts))
    expected = check_finite_outputs(example_outputs(dense, example, forward))
    draft.apply(dense)
    found = example_outputs(dense, example, forward)
    if trouble := too_far(expected, found, None):
        raise InvariantBroken(
            f"without the dead connections of {type(own).__name__} {trouble}",
            "what is dead has no say in any output; the model is as it was",
            "give an example on which the model does not depend on anything but its inputs",
        )
    return replace(draft, difference=largest_difference(expected, found))


def _needed(wiring: Wiring, columns: Sequence[Columns], verdicts: Mapping[Slot, Tensor], name: str) -> Tensor:
    """Which elements of a weight have a say, in any of its calls: bool, to be broadcast to it."""
    shape = wiring.graph.shapes[name]
    needed = torch.zeros(shape[:2], dtype=torch.bool)
    uses = [one for one in columns if name in one.node.weights]
    calls = sum(name in node.weights for node in wiring.graph.nodes)
    if not uses or len(uses) < calls or any(is_normed(one.node) for one in uses):
        return torch.ones(1, dtype=torch.bool)  # nobody can look into what uses it, or its norm would change
    for one in uses:
        needed |= _of_units(one, name, shape) & _of_columns(one, verdicts, name, shape)
    return needed.reshape(*needed.shape, *(1 for _ in shape[2:]))


def _of_units(one: Columns, name: str, shape: Sequence[int]) -> Tensor:
    """Which slices make units that have a say."""
    found = [(dim, indices) for (own, dim), indices in one.units if own == name]
    if len(found) != 1 or len(found[0][1]) != len(one.rows):
        return one.rows.any()
    ((dim, indices),) = found
    return _along(dim, indices[one.rows], shape)


def _of_columns(one: Columns, verdicts: Mapping[Slot, Tensor], name: str, shape: Sequence[int]) -> Tensor:
    """Which slices multiply what cannot be folded."""
    found = [(dim, indices) for (own, dim), _, _, indices in one.slots if own == name]
    if len(found) != 1:
        return torch.tensor(True)
    ((dim, indices),) = found
    return _along(dim, indices[verdicts[name, dim][indices] > Verdict.FOLDED], shape)


def _along(dim: int, indices: Tensor, shape: Sequence[int]) -> Tensor:
    found = torch.zeros(shape[dim], dtype=torch.bool)
    found[indices] = True
    return found[:, None] if dim == 0 else found


def _left(verdicts: Mapping[Slot, Tensor]) -> tuple[Left, ...]:
    return tuple(
        Left(name, int((found == verdict).sum()), len(found), words.format(name))
        for (name, _), found in verdicts.items()
        for verdict, words in SAID.items()
        if bool((found == verdict).any())
    )


def _bias(model: nn.Module, name: str, amount: Tensor) -> Tensor:
    found = dict(model.named_parameters()).get(name)
    if found is None or found.shape != amount.shape:
        raise MaskMismatch(
            f"bias {name!r} is {'absent' if found is None else tuple(found.shape)}, and {tuple(amount.shape)} is added",
            "a propagation fits only the model that it was made from",
            "propagate again, for this model",
        )
    return found
