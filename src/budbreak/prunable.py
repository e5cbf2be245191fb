"""Which weights a mask covers, and how a model's parameters are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import cast

from torch import nn

from budbreak.checks import check_function, check_model
from budbreak.errors import NothingToPrune, UnknownName, did_you_mean, one_of

Prunable = Callable[[str, nn.Module, nn.Parameter], bool]
"""``(name, module, parameter) -> bool``: the state_dict name, the module that owns it, the parameter."""

_CONV_AND_LINEAR = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def conv_and_linear(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    """The weights of linear and convolutional layers: no bias, no norm, no embedding (the default).

    The packed ``in_proj_weight`` of nn.MultiheadAttention is neither and stays dense; an embedding that is tied to
    a Linear is pruned with it: leave it out by `excluding`.
    """
    return isinstance(module, _CONV_AND_LINEAR) and name.rpartition(".")[2] == "weight" and parameter.dim() >= 2


def every_weight(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    """Every parameter whose own name is "weight", gains of norms included (as the AP authors' script)."""
    return name.rpartition(".")[2] == "weight"


def excluding(*patterns: str, of: Prunable = conv_and_linear) -> Prunable:
    """Leave out the names that match one of the glob ``patterns``, e.g. ``excluding("fc.*", "*.downsample.*")``."""
    return _Excluding(patterns, of)


class _Excluding:
    """A class rather than a closure, so that a plan that holds it can be pickled and printed."""

    def __init__(self, patterns: tuple[str, ...], of: Prunable) -> None:
        self.patterns, self.of = patterns, of
        self.__name__ = f"excluding({', '.join(map(repr, patterns))}, of={describe(of)})"

    def check(self, names: Iterable[str]) -> None:
        """Refuse a pattern that matches no parameter.

        Raises:
            UnknownName: with the nearest name that exists.
        """
        known = list(names)
        for pattern in self.patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise UnknownName(
                    f"{pattern!r} matches no parameter",
                    f"a pattern is the state_dict name of a parameter or a glob of it: {one_of(known)}",
                    did_you_mean(pattern, known),
                )

    def __call__(self, name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
        return self.of(name, module, parameter) and not any(fnmatchcase(name, p) for p in self.patterns)


def describe(prunable: Prunable) -> str:
    """The name by which a plan records its rule."""
    return getattr(prunable, "__name__", type(prunable).__name__)


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside ``torch.compile`` and data-parallel wrappers, whose keys carry prefixes."""
    wrappers = ("OptimizedModule", "DistributedDataParallel", "DataParallel")
    while type(model).__name__ in wrappers:
        model = cast(nn.Module, getattr(model, "_orig_mod", None) or model.module)
    return model


def prunable_parameters(model: nn.Module, prunable: Prunable = conv_and_linear) -> Mapping[str, nn.Parameter]:
    """The parameters that a mask covers, by state_dict name, in state_dict order; a tied one appears once.

    Raises:
        InvalidValue: if the model is no nn.Module, or has weights without a shape; if the rule is no function.
        NothingToPrune: if there is none.
        UnknownName: if `excluding` names what does not exist.
    """
    check_model(model)
    check_function("prunable", prunable, "bb.conv_and_linear")
    if isinstance(prunable, _Excluding):
        prunable.check(name for name, _ in unwrap(model).named_parameters())
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, module in unwrap(model).named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{own_name}" if prefix else own_name
            if id(parameter) not in seen and prunable(name, module, parameter):
                found[name] = parameter
                seen.add(id(parameter))
    if not found:
        raise NothingToPrune(
            f"{type(model).__name__} has no prunable weight by the rule {describe(prunable)}",
            "a plan needs at least one weight to prune",
            "give prunable=lambda name, module, parameter: ... that is true for the weights you mean",
        )
    return MappingProxyType(found)


def parameter_named(model: nn.Module, name: str) -> nn.Parameter:
    """The parameter of this state_dict name, tied names included.

    Raises:
        UnknownName: with the nearest name that exists.
    """
    parameters = dict(unwrap(model).named_parameters(remove_duplicate=False))
    if name not in parameters:
        raise UnknownName(
            f"no parameter named {name!r} in {type(model).__name__}",
            f"{one_of(parameters)}, as in model.state_dict()",
            did_you_mean(name, parameters),
        )
    return parameters[name]
