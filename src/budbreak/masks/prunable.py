"""Which weights a mask covers, and how a model's parameters are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import cast

from torch import nn

from budbreak.checks import check_model, shown
from budbreak.errors import InvalidValue, NothingToPrune, UncoveredWeights, UnknownName, did_you_mean, one_of
from budbreak.foreign import call_foreign
from budbreak.masks.coverage import Coverage, coverage, is_weight
from budbreak.masks.parametrized import parameters_with_layers, wrapping

Prunable = Callable[[str, nn.Module, nn.Parameter], bool]
"""``(name, module, parameter) -> bool``: the state_dict name, the layer that uses it, the parameter."""

_CONV_AND_LINEAR = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def conv_and_linear(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    """The weights of linear and convolutional layers: no bias, no norm, no embedding (the default).

    Recurrent weights, the packed ``in_proj_weight`` of nn.MultiheadAttention and weights behind a parametrization
    (weight_norm) stay dense: cover them by `including`. An embedding that is tied to a Linear is pruned with it:
    leave it out by `excluding`.
    """
    return isinstance(module, _CONV_AND_LINEAR) and name.rpartition(".")[2] == "weight" and parameter.dim() >= 2


def every_weight(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    """Every parameter whose own name is "weight", gains of norms included (as the AP authors' script)."""
    return name.rpartition(".")[2] == "weight"


def excluding(*patterns: str, of: Prunable = conv_and_linear) -> Prunable:
    """Leave out the names that match one of the glob ``patterns``, e.g. ``excluding("fc.*", "*.downsample.*")``."""
    return _Excluding(patterns, of)


def including(*patterns: str, of: Prunable = conv_and_linear) -> Prunable:
    """Cover more: the weights that match one of the glob ``patterns``, e.g. ``including("gru.*", "*.in_proj_weight")``.

    Weights are parameters of two dimensions or more that are neither bias nor gain of a norm; those that match as
    well stay dense. What a row is differs: GRU, LSTM and in_proj stack their gates or projections along dimension
    0; transformers' Conv1D and nn.Embedding keep outputs in dimension 1. That matters to `Unit`, not to single
    weights. Behind weight_norm or spectral_norm the scores are those of the parameter, before it is normalised.
    """
    return _Including(patterns, of)


class _Patterns:
    """Glob patterns over another rule; classes rather than closures, so that a plan can be pickled and printed."""

    def __init__(self, patterns: tuple[str, ...], of: Prunable) -> None:
        kind = type(self).__name__.removeprefix("_").lower()
        if not patterns:
            rule = "a rule without patterns is the one below it"
            raise InvalidValue("no pattern was given", rule, f'write bb.{kind}("fc.*")')
        for pattern in patterns:
            if not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidValue(f"a pattern is {shown(pattern)}", "it is a string", 'write "fc.*"')
        check_prunable(of, "of")
        self.patterns, self.of = patterns, of
        self.__name__ = f"{kind}({', '.join(map(repr, patterns))}, of={rule_name(of)})"

    def matches(self, name: str) -> bool:
        """Whether a pattern matches this name."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def check(self, model: nn.Module) -> None:
        """Refuse a pattern that matches nothing, here or in the rule below.

        Raises:
            UnknownName: with the nearest name that exists.
        """
        known = self.choices(model)
        for pattern in self.patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise UnknownName(
                    f"{pattern!r} matches no {self.of_what}",
                    f"a pattern is the state_dict name of a {self.of_what} or a glob of it: {one_of(known)}",
                    did_you_mean(pattern, known),
                )
        if isinstance(self.of, _Patterns):
            self.of.check(model)

    of_what = "parameter"

    def choices(self, model: nn.Module) -> list[str]:
        """The names that a pattern may match."""
        return [name for name, _ in model.named_parameters(remove_duplicate=False)]


class _Excluding(_Patterns):
    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
        return self.of(name, module, parameter) and not self.matches(name)


class _Including(_Patterns):
    of_what = "weight"

    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
        return self.of(name, module, parameter) or (self.matches(name) and is_weight(name, module, parameter))

    def choices(self, model: nn.Module) -> list[str]:
        return [name for name, layer, parameter in parameters_with_layers(model) if is_weight(name, layer, parameter)]


def rule_name(prunable: Prunable) -> str:
    """The name by which a plan records its rule."""
    return getattr(prunable, "__name__", type(prunable).__name__)


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside ``torch.compile``, data-parallel and Lightning Fabric's wrappers.

    Their keys carry prefixes. Classes of the user's own that are only called the same are no wrappers.
    """
    while _is_wrapper(type(model)):
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        model = cast(nn.Module, getattr(model, inner))
    return model


def _is_wrapper(kind: type[nn.Module]) -> bool:
    names = ("OptimizedModule", "DistributedDataParallel", "DataParallel", "_FabricModule")
    makers = ("torch", "lightning", "lightning_fabric")
    return any(base.__name__ in names and base.__module__.partition(".")[0] in makers for base in kind.__mro__)


def prunable_parameters(model: nn.Module, prunable: Prunable = conv_and_linear) -> Mapping[str, nn.Parameter]:
    """The parameters that a mask covers, by state_dict name, in state_dict order; a tied one appears once.

    A weight of size zero, as of a layer without units, has nothing to prune and is left out, whatever the rule says.

    Raises:
        InvalidValue: if the model is no nn.Module, or has weights without a shape; if the rule is no function, or
            takes weights that are whole numbers, or behind a parametrization that undoes zeros.
        NothingToPrune: if there is none; says what is there.
        UnknownName: if `excluding` or `including` names what does not exist.
    """
    check_model(model)
    check_prunable(prunable)
    unwrapped = unwrap(model)
    if isinstance(prunable, _Excluding | _Including):
        prunable.check(unwrapped)
    covered: dict[str, nn.Parameter] = {}
    seen = _excluded_by_any_name(unwrapped, prunable)
    for name, layer, parameter in parameters_with_layers(unwrapped):
        if id(parameter) not in seen and parameter.numel() and _holds(prunable, name, layer, parameter):
            _check_can_be_zero(name, layer, parameter)
            covered[name] = parameter
            seen.add(id(parameter))
    if not covered:
        raise _nothing(unwrapped, prunable)
    return MappingProxyType(covered)


def check_prunable(prunable: object, argument: str = "prunable") -> None:
    """Refuse what is no rule; a pattern is a rule by `excluding` or `including`.

    Raises:
        InvalidValue: with the choices.
    """
    rule = "it is conv_and_linear, every_weight, excluding(...), including(...) or your own (name, module, parameter)"
    makers = [maker for maker in (excluding, including) if prunable is maker]
    if makers:
        name = makers[0].__name__
        raise InvalidValue(f"{argument} is {name} itself", rule, f'write {argument}=bb.{name}("fc.*")')
    if isinstance(prunable, type) or not callable(prunable):
        pattern = repr(prunable) if isinstance(prunable, str) else '"fc.*"'
        fix = f"write {argument}=bb.masks.conv_and_linear, or bb.excluding({pattern})"
        raise InvalidValue(f"{argument} is {shown(prunable)}", rule, fix)


def _holds(prunable: Prunable, name: str, layer: nn.Module, parameter: nn.Parameter) -> bool:
    """Ask the rule, which may be anybody's code."""
    rule = "it is called as (name, module, parameter) -> bool for each parameter"
    what = f"the rule {rule_name(prunable)} of prunable"
    return call_foreign(what, lambda: bool(prunable(name, layer, parameter)), rule=rule, fix="mend it")


def _excluded_by_any_name(model: nn.Module, prunable: Prunable) -> set[int]:
    """The ids of the parameters that `excluding` names: a tied one is left out by each of its names."""
    if not isinstance(prunable, _Excluding):
        return set()
    everything = model.named_parameters(remove_duplicate=False)
    return {id(parameter) for name, parameter in everything if prunable.matches(name)}


def _check_can_be_zero(name: str, layer: nn.Module, parameter: nn.Parameter) -> None:
    fix = f"leave it out: prunable=bb.excluding({name!r})"
    if not (parameter.is_floating_point() or parameter.is_complex()):
        rule = "weights that are pruned are floating point or complex numbers"
        raise InvalidValue(f"{name!r} is {parameter.dtype}", rule, fix)
    wrapper = wrapping(name, layer)
    if wrapper is not None and not wrapper.keeps_zeros:
        rule = "its zeros are no zeros of the weight that the layer uses"
        raise InvalidValue(f"{name!r} is behind the parametrization {wrapper.kind}", rule, f"{fix}, or {wrapper.fold}")


def _nothing(model: nn.Module, prunable: Prunable) -> NothingToPrune:
    """What is there instead of prunable weights, and how to get at it."""
    value = f"{type(model).__name__} has no prunable weight by the rule {rule_name(prunable)}"
    uncovered = coverage(model, ()).uncovered
    if not uncovered:
        fix = "give a model with weights, or give prunable=lambda name, module, parameter: ... for the ones you mean"
        return NothingToPrune(value, "a mask covers at least one weight", fix)
    largest = max(uncovered, key=lambda weights: weights.count)
    layers = {name: layer for name, layer, _ in parameters_with_layers(model)}
    wrapper = wrapping(largest.name, layers[largest.name])
    fix = f"give prunable=bb.including({largest.name!r}, ...), or a function of (name, module, parameter)"
    return NothingToPrune(
        f"{value}; it has {Coverage(0, uncovered).names()}",
        "a mask covers at least one weight",
        fix if wrapper is None else f"fold it first: {wrapper.fold}",
    )


_SAID = 0.1
"""The share of the weights from which on it is said that they stay dense: below, the density hardly moves."""


def warn_of_uncovered(model: nn.Module, prunable: Prunable) -> None:
    """Warn the caller's caller when one of our rules leaves a tenth or more of the weights dense, unasked.

    Embeddings stay dense by convention and are not counted, nor is what `excluding` names.
    """
    exclusions, base = _chain(prunable)
    if base not in (conv_and_linear, every_weight):
        return
    unwrapped = unwrap(model)
    covered = coverage(unwrapped, prunable_parameters(unwrapped, prunable))
    dense = [weights for weights in covered.uncovered if not weights.embedding]
    unasked = [weights for weights in dense if not any(rule.matches(weights.name) for rule in exclusions)]
    count = sum(weights.count for weights in unasked)
    if unasked and count >= _SAID * (covered.prunable + count):
        globs = repr(unasked[0].name) + (", ..." if len(unasked) > 1 else "")
        warnings.warn(
            f"{covered}. Cover them by prunable=bb.including({globs}), or say that they stay dense: "
            f"prunable=bb.excluding({globs})",
            UncoveredWeights,
            stacklevel=3,
        )


def _chain(prunable: Prunable) -> tuple[list[_Excluding], Prunable]:
    """The exclusions in a nested rule, and the rule at its bottom."""
    exclusions: list[_Excluding] = []
    while isinstance(prunable, _Excluding | _Including):
        if isinstance(prunable, _Excluding):
            exclusions.append(prunable)
        prunable = prunable.of
    return exclusions, prunable


def parameters_named(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    """The parameters of these state_dict names, in their order; tied names included.

    Raises:
        UnknownName: for the first name that does not exist, with the nearest that does.
    """
    parameters = dict(unwrap(model).named_parameters(remove_duplicate=False))
    wanted = list(names)
    for name in wanted:
        if name not in parameters:
            raise UnknownName(
                f"no parameter named {name!r} in {type(model).__name__}",
                f"{one_of(parameters)}, as in model.state_dict()",
                did_you_mean(name, parameters),
            )
    return {name: parameters[name] for name in wanted}
