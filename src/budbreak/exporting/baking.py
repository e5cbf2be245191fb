"""A copy of a model that is ready to leave: as few and as plain calls as give the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from budbreak.activations import ActivationModule
from budbreak.checks import check_model, check_number
from budbreak.errors import InvariantBroken
from budbreak.exporting.folding import Fold, has_hooks, norm_folds, put, scalar_folds
from budbreak.exporting.operators import constant
from budbreak.exporting.sparse_linear import SparseLinear
from budbreak.exporting.subclasses import scaling_subclasses
from budbreak.exporting.wiring import Wiring
from budbreak.graph import Forward, check_finite_outputs, example_outputs, largest_difference, too_far, trace
from budbreak.masks import copied, unwrap

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True, eq=False)
class Baked:
    """What `bake` gives.

    Args:
        model: in eval mode, without gradients.
        folded: what went where, in words.
        left: paths of the BatchNorms that stay: nothing before them can take them over.
        difference: the largest difference of an output on the example.
    """

    model: nn.Module = field(repr=False)
    folded: tuple[str, ...]
    left: tuple[str, ...]
    difference: float


def bake(model: nn.Module, example: Any, *, forward: Forward | None = None, tolerance: float | None = None) -> Baked:
    """Make a copy of a model that is ready to leave, and gives the same.

    It is in eval mode; nothing in it is trained, dropped out, or computed from other parameters: what
    `torch.nn.utils.prune`, weight norms and other parametrizations compute is a plain weight, and sparse rows are dense
    ones, which all runtimes know. BatchNorm is folded into the layer that alone feeds it (linear, convolution,
    transposed; grouped or not; of a class made from torch's where its outputs are seen to scale). Activations of ours
    become modules of torch where there are such, and functions of torch else, with constants for their scalars; beta is
    folded into the layer that alone feeds them, alpha into those that alone take what they give, through nothing but
    pools and moves. Each number is computed in float64, and rounded once.

    Args:
        model: which stays as it is; wrappers (``torch.compile``, data-parallel) are taken off the copy.
        example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward``
            whatever that takes. Outputs are compared on it.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.
        tolerance: the largest difference of an output that is accepted; unless given the root of the output's
            precision (3e-4 in float32) times its largest value.

    Raises:
        InvalidValue: if the model does not take the example, or cannot be copied.
        CannotTrace: if it cannot be traced: what, and where.
        NotFinite: if its outputs are not.
        InvariantBroken: if outputs would differ: with the module that cannot be folded.
    """
    check_model(model)
    if tolerance is not None:
        check_number("tolerance", tolerance, usual="1e-5")
    original = unwrap(model)
    return _Baking(original, example, forward, tolerance).bake()


class _Baking:
    """Folds step after step, and compares with what the model gave."""

    def __init__(self, original: nn.Module, example: Any, forward: Forward | None, tolerance: float | None) -> None:
        self.original, self.example, self.forward, self.tolerance = original, example, forward, tolerance
        self.expected: list[Tensor] = check_finite_outputs(example_outputs(original, example, forward))

    def bake(self) -> Baked:
        model = self.bare()
        folds = list[Fold]()
        scaling = scaling_subclasses(model, self.example, self.forward)
        for find in (norm_folds, scalar_folds):
            found = list(find(Wiring(model, trace(model, self.example, self.forward), scaling)))
            for fold in found:
                fold.apply(model)
            folds += found
        model = _whole(model)
        trouble = self.trouble(model)
        if trouble:
            raise self.refusal(folds, trouble)
        difference = largest_difference(self.expected, example_outputs(model, self.example, self.forward))
        return Baked(model, tuple(str(fold) for fold in folds if fold.into), _norms(model), difference)

    def bare(self) -> nn.Module:
        """A copy in eval mode, of plain weights alone, without dropout."""
        model = copied(self.original).eval()
        model = _plainer(model) or model
        for module in list(model.modules()):
            for unwrapped in _computed(module):
                unwrapped()
        for path, module in list(model.named_modules()):
            if (plainer := _plainer(module)) is not None:
                put(model, path, plainer)
        for parameter in model.parameters():
            if parameter.is_leaf:  # those of scripted copies are not
                parameter.requires_grad_(False)
        return model

    def trouble(self, model: nn.Module) -> str:
        """By how much outputs differ, in words."""
        return too_far(self.expected, example_outputs(model, self.example, self.forward), self.tolerance)

    def refusal(self, folds: Sequence[Fold], trouble: str) -> InvariantBroken:
        """Fold again, one after the other, up to the first after which outputs differ."""
        model, name = self.bare(), type(self.original).__name__
        guilty = "what was there before anything was folded" if self.trouble(model) else ""
        for fold in () if guilty else folds:
            fold.apply(model)
            if self.trouble(model):
                guilty = f"the {fold}"
                break
        return InvariantBroken(
            f"{name} cannot be baked: {trouble}, after {guilty or 'all folds together'}",
            "what leaves gives what the model gives; the model is as it was",
            "draw nothing at random in eval mode, read no weights of other modules in forward, or give a tolerance",
        )


def _plainer(module: nn.Module) -> nn.Module | None:
    """What gives the same in eval mode, and every runtime knows."""
    if has_hooks(module):
        return None
    if type(module) in _DROPOUTS:
        return nn.Identity()
    if type(module) is nn.RReLU:
        return nn.LeakyReLU((module.lower + module.upper) / 2)
    return module.dense() if isinstance(module, SparseLinear) else None


def _whole(model: nn.Module) -> nn.Module:
    """The model; or its plain form, if it is nothing but an activation."""
    return constant(model) if isinstance(model, ActivationModule) else model


def _computed(module: nn.Module) -> Iterator[Callable[[], object]]:
    """What makes plain weights of those that are computed from other parameters."""
    if parametrize.is_parametrized(module):
        yield lambda: _unparametrize(module)
    for hook in list(module._forward_pre_hooks.values()):  # pyright: ignore[reportPrivateUsage]
        if isinstance(hook, WeightNorm):
            yield lambda hook=hook: remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            yield lambda hook=hook: remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            name = str(getattr(hook, "_tensor_name"))  # noqa: B009 - of a class that says it nowhere else
            yield lambda name=name: prune.remove(module, name)


def _unparametrize(module: nn.Module) -> None:
    """As torch's own remove_parametrizations, which would take the weights from the original, too.

    It deletes them from the class, which a copy shares.
    """
    values = {name: getattr(module, name).detach() for name in cast(Iterable[str], module.parametrizations)}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _norms(model: nn.Module) -> tuple[str, ...]:
    batch = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return tuple(path for path, module in model.named_modules() if isinstance(module, batch))
