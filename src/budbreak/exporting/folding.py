"""What of a model can be folded into what stands beside it: norms into layers, alpha and beta into layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from budbreak.activations import ActivationModule
from budbreak.exporting.layers import Layer, channel_dim, scale_inputs, scale_outputs
from budbreak.exporting.operators import ScaledForm, constant, scaled_form
from budbreak.exporting.wiring import Wiring
from budbreak.graph import Kind, Node

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_ONE = torch.ones((), dtype=torch.float64)


@dataclass(frozen=True)
class Fold:
    """One change of a model that leaves its outputs as they are.

    Args:
        module: path of what is folded away.
        what: "norm", "alpha", "beta" or "constant".
        into: paths of the layers that take it over.
        apply: does it, to any copy of the model.
    """

    module: str
    what: str
    into: tuple[str, ...]
    apply: Callable[[nn.Module], None]

    def __str__(self) -> str:
        """What goes where."""
        layers = f" into {', '.join(self.into)}" if self.into else ""
        return f"{self.what} of {self.module or 'the model'}{layers}"


def norm_folds(wiring: Wiring) -> Iterator[Fold]:
    """BatchNorm with stored statistics, where a layer alone feeds it, whose units are its channels."""
    for node in wiring.nodes:
        norm = wiring.modules.get(node.owner)
        if node.kind != Kind.NORM or node.over or type(norm) not in _NORMS or has_hooks(cast(nn.Module, norm)):
            continue
        source = wiring.feeding(node)
        layer = None if source is None else wiring.scalable_layer(source)
        sole = wiring.is_sole(node, "weight", "bias", "running_mean", "running_var")
        if source is not None and layer is not None and sole and channel_dim(layer) == 1 - len(node.shape):
            yield Fold(node.owner, "norm", (source.owner,), _fold_norm(node.owner, source.owner))


def _fold_norm(path: str, into: str) -> Callable[[nn.Module], None]:
    """With scale * y + shift = gain * (y - mean) / root + bias."""

    def apply(model: nn.Module) -> None:
        norm, layer = cast(_BatchNorm, model.get_submodule(path)), cast(Layer, model.get_submodule(into))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.affine:
            scale = scale * norm.weight.detach().double()
        shift = -norm.running_mean.double() * scale
        scale_outputs(layer, scale, shift + norm.bias.detach().double() if norm.affine else shift)
        put(model, path, nn.Identity())

    return apply


def scalar_folds(wiring: Wiring) -> Iterator[Fold]:
    """Each activation of ours as plain modules: alpha into the layers behind it, beta into the one before it."""
    calls: dict[str, list[Node]] = {}
    for node in wiring.nodes:
        if isinstance(wiring.modules.get(node.owner), ActivationModule):
            calls.setdefault(node.owner, []).append(node)
    for path, nodes in calls.items():
        module = cast(ActivationModule, wiring.modules[path])
        if has_hooks(module):
            continue
        form = scaled_form(module)
        sole = len(nodes) == 1 and nodes[0].kind == Kind.SITE and wiring.is_sole(nodes[0], *module.scalars)
        if form is None:
            yield Fold(path, "constant", (), lambda model, path=path: _fix(model, path))
        else:
            yield from _Scalars(wiring, path, nodes[0]).folds(form) if sole else [_put_form(path, form)]


@dataclass(frozen=True)
class _Scalars:
    """One activation that is called once."""

    wiring: Wiring
    path: str
    node: Node

    def folds(self, form: ScaledForm) -> Iterator[Fold]:
        if before := self._before(form.beta):
            yield _scaled(self.path, "beta", before, scale_outputs)
            form = replace(form, beta=_ONE)
        behind = self.wiring.receivers(self.node, form.alpha.expand(self.node.shape)) if _is_any(form.alpha) else {}
        if behind:
            yield _scaled(self.path, "alpha", behind, scale_inputs)
        elif form.positive and bool((form.alpha > 0).all()) and (before := self._before(form.alpha)):
            yield _scaled(self.path, "alpha", before, scale_outputs)
            behind = before
        yield _put_form(self.path, replace(form, alpha=_ONE) if behind else form)

    def _before(self, factor: Tensor) -> Mapping[str, Tensor]:
        """The layer that alone feeds it, if it can take a factor over."""
        source = self.wiring.feeding(self.node) if _is_any(factor) else None
        layer = None if source is None else self.wiring.scalable_layer(source)
        if source is None or layer is None:
            return {}
        whole = factor.expand(self.node.shape).movedim(channel_dim(layer), -1).flatten(0, -2)
        return {source.owner: whole[0]} if bool((whole == whole[0]).all()) else {}


def _scaled(path: str, what: str, layers: Mapping[str, Tensor], scale: Callable[[Layer, Tensor], None]) -> Fold:
    def apply(model: nn.Module) -> None:
        for name, factor in layers.items():
            scale(cast(Layer, model.get_submodule(name)), factor)

    return Fold(path, what, tuple(layers), apply)


def _put_form(path: str, form: ScaledForm) -> Fold:
    def apply(model: nn.Module) -> None:
        like = next((one for one in model.parameters() if one.is_floating_point()), _ONE.float())
        put(model, path, form.module(like.detach()))

    return Fold(path, "constant", (), apply)


def _fix(model: nn.Module, path: str) -> None:
    put(model, path, constant(cast(ActivationModule, model.get_submodule(path))))


def put(model: nn.Module, path: str, new: nn.Module) -> None:
    """Set a module in the place of another one, wherever that is held. The model itself stays."""
    old = model.get_submodule(path)
    for holder in list(model.modules()):
        held = holder._modules  # pyright: ignore[reportPrivateUsage]
        if places := [key for key, child in held.items() if child is old]:
            held.update(dict.fromkeys(places, new))  # scripted modules, in which nothing is replaced, cannot be updated


def has_hooks(module: nn.Module) -> bool:
    """Whether code of others runs with it, which would be lost with it."""
    return bool(module._forward_hooks or module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]


def _is_any(factor: Tensor) -> bool:
    """Whether there is anything to fold."""
    return bool((factor != 1).any())
