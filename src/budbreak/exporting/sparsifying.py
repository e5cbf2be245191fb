"""Sparse kernels for the layers in which they are faster here, by measurement; the others stay dense."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.checks import check_model
from budbreak.compaction import sized
from budbreak.errors import BudbreakError, InvalidValue, InvariantBroken
from budbreak.exporting.sparse_choices import LayerChoice, Sparsified
from budbreak.exporting.sparse_linear import SparseLinear
from budbreak.exporting.state import fold_pruning
from budbreak.graph import (
    Forward,
    Hooks,
    call_example,
    check_finite_outputs,
    example_outputs,
    largest_difference,
    outputs_of,
    too_far,
)
from budbreak.masks import copied, unwrap
from budbreak.measuring import Contender, Meter, Timing

DENSE, SPARSE, ALL_SPARSE = "dense", "sparse", "all sparse"
_SLOWER = "it is not faster"
_LEAST = 0.5  # sparsity: with fewer zeros, sparse rows were slower at every size and batch
Measure = Callable[[Sequence[Contender]], Mapping[str, Timing]]


def sparsify(
    model: nn.Module, example: Any, *, forward: Forward | None = None, meter: Measure | None = None
) -> Sparsified:
    """Let linear layers multiply by their living weights alone, each of them only if that is faster.

    Each layer is measured on the inputs that it gets from the example: give a batch of the size that will be used. It
    is faster where the lower quartile of its speed-up is over 1. Then the model is measured with those layers sparse
    that are faster alone, and with all that can be, since one sparse layer suits the next. The fastest is given; it
    stays dense unless another is faster by the same rule.

    Args:
        model: which stays as it is, on the CPU.
        example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward`` whatever
            that takes.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.
        meter: how to measure; ``Meter(mode="wall")``, elapsed time, unless given.

    Raises:
        InvalidValue: if it is no model, is not on the CPU, or does not take the example.
        NotFinite: if its outputs are not finite.
        InvariantBroken: if outputs differ with all sparse layers together.
    """
    check_model(model)
    dense = fold_pruning(copied(unwrap(model))).eval()
    _check_cpu(dense)
    attempt = _Attempt(dense, _Trials.of(dense, example, forward), Meter(mode="wall") if meter is None else meter)
    return attempt.whole(attempt.choices())


@dataclass(frozen=True, eq=False)
class _Trials:
    """The example, once and for batches of other sizes where the model takes them, with the dense model's outputs."""

    batches: tuple[Any, ...]
    expected: tuple[list[Tensor], ...]
    forward: Forward | None

    @classmethod
    def of(cls, dense: nn.Module, example: Any, forward: Forward | None) -> _Trials:
        tried = [(example, check_finite_outputs(example_outputs(dense, example, forward)))]
        for size in (1, 2):  # one row and several take other kernels, and give other memory formats
            with contextlib.suppress(BudbreakError):
                batch = sized(example, size)
                tried.append((batch, check_finite_outputs(example_outputs(dense, batch, forward))))
        batches, expected = zip(*tried, strict=True)
        return cls(batches, expected, forward)

    def trouble(self, model: nn.Module) -> str:
        """What is wrong with the outputs of a model, in words; "" if nothing is."""
        for batch, expected in zip(self.batches, self.expected, strict=True):
            try:
                trouble = too_far(expected, example_outputs(model, batch, self.forward), None)
            except BudbreakError as error:
                trouble = error.value
            if trouble:
                return trouble
        return ""

    def difference(self, model: nn.Module) -> float:
        """The largest one of an output, on the example itself."""
        return largest_difference(self.expected[0], example_outputs(model, self.batches[0], self.forward))

    def runs(self, model: nn.Module) -> Callable[[], object]:
        """A pass of the example."""
        if self.forward is None:
            return lambda: call_example(model, self.batches[0])
        return lambda: outputs_of(cast("Forward", self.forward), model, self.batches[0])


@dataclass(frozen=True, eq=False)
class _Attempt:
    """Measures, and puts sparse layers into copies of the dense model."""

    dense: nn.Module
    trials: _Trials
    meter: Measure

    def choices(self) -> tuple[LayerChoice, ...]:
        """One for each linear layer, in order."""
        entering = _entering(self.dense, self.trials)
        layers = [(name, layer) for name, layer in self.dense.named_modules() if type(layer) is nn.Linear]
        return tuple(self._choice(name, layer, entering.get(name)) for name, layer in layers)

    def whole(self, choices: tuple[LayerChoice, ...]) -> Sparsified:
        """The fastest of the dense model, that with the layers that are faster alone, and that with all that run."""
        sets = _sets(choices)
        if not sets:
            return Sparsified(self.dense, choices)
        models = {name: self._checked(layers) for name, layers in sets.items()}
        runs = {name: self.trials.runs(model) for name, model in {DENSE: self.dense, **models}.items()}
        timings = self._timed(runs)
        best = min(models, key=lambda name: timings[name].median)
        speedup, low, _ = timings[DENSE].over(timings[best])
        if low <= 1:
            why = f"the whole model is not faster: {speedup:.2f}x"
            return Sparsified(self.dense, tuple(replace(one, why=one.why or why) for one in choices))
        taken = tuple(replace(one, why="" if one.name in sets[best] else one.why) for one in choices)
        difference = self.trials.difference(models[best])
        return Sparsified(models[best], taken, difference, timings[DENSE].median, timings[best].median, speedup)

    def _checked(self, layers: Sequence[str]) -> nn.Module:
        sparse = _with_sparse(self.dense, layers)
        if trouble := self.trials.trouble(sparse):
            raise InvariantBroken(
                f"{type(self.dense).__name__} with its sparse layers: {trouble}",
                "a sparse layer gives what the dense one gives, and each of them alone did",
                "use the dense model",
            )
        return sparse

    def _choice(self, name: str, layer: nn.Linear, entering: Tensor | None) -> LayerChoice:
        choice = LayerChoice(name, _sparsity(layer))
        why = _stays(layer, choice.sparsity, entering)
        if why or entering is None:
            return replace(choice, why=why)
        try:
            sparse = SparseLinear(layer)
            sparse(entering)
        except (RuntimeError, NotImplementedError) as error:  # a dtype that the kernels do not know
            return replace(choice, why=f"sparse rows do not take it ({str(error).splitlines()[0]})")
        return self._measured(replace(choice, rows=entering.numel() // layer.in_features), layer, sparse, entering)

    def _measured(self, choice: LayerChoice, dense: nn.Module, sparse: nn.Module, entering: Tensor) -> LayerChoice:
        timings = self._timed({DENSE: lambda: dense(entering), SPARSE: lambda: sparse(entering)})
        speedup, low, high = timings[DENSE].over(timings[SPARSE])
        times = {"dense": timings[DENSE].median, "sparse": timings[SPARSE].median}
        choice = replace(choice, **times, speedup=speedup, low=low, high=high)
        if trouble := self.trials.trouble(_with_sparse(self.dense, [choice.name])):
            return replace(choice, why=f"the model does not run with a sparse one ({trouble})")
        return replace(choice, why="" if low > 1 else _SLOWER)

    @torch.no_grad()
    def _timed(self, runs: Mapping[str, Callable[[], object]]) -> Mapping[str, Timing]:
        return self.meter([Contender(name, run) for name, run in runs.items()])


def _sets(choices: Sequence[LayerChoice]) -> dict[str, list[str]]:
    """Contender -> the layers that are sparse in it; those without any, and the same again, are left out."""
    faster = [choice.name for choice in choices if not choice.why]
    running = [choice.name for choice in choices if choice.why in ("", _SLOWER)]
    sets = {SPARSE: faster, ALL_SPARSE: running if running != faster else []}
    return {name: layers for name, layers in sets.items() if layers}


def _entering(dense: nn.Module, trials: _Trials) -> dict[str, Tensor]:
    """Path of a layer -> its first input on the example."""
    found: dict[str, Tensor] = {}

    def enter(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        inputs = [*args, *kwargs.values()]
        if type(module) is nn.Linear and len(inputs) == 1 and path not in found:
            found[path] = inputs[0].detach().clone()

    hooks = Hooks(enter, lambda *_: None)
    hooks.put_on(dense)
    try:
        example_outputs(dense, trials.batches[0], trials.forward)
    finally:
        hooks.remove()
    return found


def _stays(layer: nn.Linear, sparsity: float, entering: Tensor | None) -> str:
    """Why a layer stays dense without being measured; "" if it is worth a try."""
    if sparsity < _LEAST:
        return f"it has too few zeros: sparse rows need {_LEAST:g}"
    if entering is None:
        return "it was not called on the example"
    hooked = layer._forward_hooks or layer._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
    return "it has hooks" if hooked else ""


def _sparsity(layer: nn.Linear) -> float:
    weights = layer.weight.numel()
    return 1 - int(torch.count_nonzero(layer.weight)) / weights if weights else 0.0


def _with_sparse(dense: nn.Module, names: Iterable[str]) -> nn.Module:
    """A copy in which layers are sparse, under every name that they have."""
    model = copied(dense)
    made = {id(layer): SparseLinear(layer) for layer in map(model.get_submodule, names)}  # pyright: ignore[reportArgumentType]
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # pyright: ignore[reportPrivateUsage]
            if id(child) in made:
                setattr(parent, name, made[id(child)])
    return made.get(id(model), model)


def _check_cpu(model: nn.Module) -> None:
    devices: Iterator[torch.device] = (tensor.device for tensor in [*model.parameters(), *model.buffers()])
    if odd := next((device for device in devices if device.type != "cpu"), None):
        raise InvalidValue(
            f"{type(model).__name__} is on {odd}",
            "sparse rows are for inference on the CPU",
            "move it there first: model.cpu()",
        )
