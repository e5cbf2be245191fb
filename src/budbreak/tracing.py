"""Find the activation sites of a live model while it runs, and the weight that feeds each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from budbreak.errors import MissingEvidence
from budbreak.evidence import Site

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid,
    nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Threshold,
)  # fmt: skip
"""The modules that are activation sites. A functional call (``F.relu``) is no module and is not seen."""

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPARENT = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
    nn.Dropout3d, nn.AlphaDropout, nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d,
    nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""Modules after which each unit still depends on that unit's incoming weights alone."""

_Origin = tuple[str, int]
"""(name of the weight, dimension of its output that counts units)."""


class SiteTracer:
    """Hooks on every site of a model; a context manager that removes them all.

    The weight that feeds a site is found by following tensors through the first forward pass: the output of a
    Linear or Conv, passed on by norm, dropout or pooling only. A tensor changed in place on its way (a
    residual ``out += x``) has lost its origin, which its version counter tells.

    Args:
        model: the module to run.
        weight_names: id of a prunable parameter -> its name.
        heard: called with each site and its output (detached).
    """

    def __init__(
        self, model: nn.Module, weight_names: Mapping[int, str], heard: Callable[[Site, Tensor], None]
    ) -> None:
        self.model, self.weight_names, self.heard = model, weight_names, heard
        self.handles: list[RemovableHandle] = []
        self.sites: dict[tuple[str, int], Site] = {}
        self.calls: dict[str, int] = {}
        self.first_pass = True
        self.last_unit_dim = 1
        self.origins: dict[int, tuple[weakref.ref[Tensor], int, _Origin]] = {}
        self.entering: dict[int, _Origin | None] = {}

    def __enter__(self) -> SiteTracer:
        """Register the hooks.

        Raises:
            MissingEvidence: if the model has no activation module.
        """
        names = {name: module for name, module in self.model.named_modules() if isinstance(module, ACTIVATIONS)}
        if not names:
            raise MissingEvidence(
                f"{type(self.model).__name__} has no activation module",
                "activations are observed where an nn.ReLU (or another activation module) is called",
                "replace functional calls such as F.relu(x) by modules",
            )
        self.handles.append(self.model.register_forward_hook(lambda *_: self.end_pass(), always_call=True))
        for name, module in names.items():
            self.handles.append(module.register_forward_pre_hook(self._enter))
            self.handles.append(module.register_forward_hook(self._listener(name)))
        for module in self.model.modules():
            if isinstance(module, _WEIGHTED + _TRANSPARENT):
                self.handles.append(module.register_forward_pre_hook(self._enter))
                self.handles.append(module.register_forward_hook(self._pass_on))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove them."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.origins.clear()

    def end_pass(self) -> None:
        """The next call of a site begins a new pass: after each call of the model, and after each batch."""
        self.calls.clear()
        self.first_pass = False
        self.origins.clear()

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.first_pass:
            self.entering[id(module)] = self._origin(inputs[0]) if inputs else None

    def _pass_on(self, module: nn.Module, inputs: object, output: object) -> None:
        if not self.first_pass or not isinstance(output, Tensor):
            return
        origin = self.entering.pop(id(module), None)
        if isinstance(module, _WEIGHTED):
            name = self.weight_names.get(id(module.weight))
            self.last_unit_dim = -1 if isinstance(module, nn.Linear) else 1
            origin = (name, self.last_unit_dim) if name else None
        if origin is not None:
            self.origins[id(output)] = (weakref.ref(output), output._version, origin)

    def _origin(self, tensor: object) -> _Origin | None:
        origin = self.origins.get(id(tensor))
        if origin is None:
            return None
        known = origin[0]()  # gone, or another one with the same id?
        return origin[2] if known is tensor and known is not None and known._version == origin[1] else None

    def _listener(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                call = self.calls.get(name, 0)
                self.calls[name] = call + 1
                self.heard(self._site(name, call, module, output), output.detach())

        return hook

    def _site(self, name: str, call: int, module: nn.Module, output: Tensor) -> Site:
        if (name, call) not in self.sites:
            # behind a residual sum the units lie where the last Linear or Conv put them
            weight, unit_dim = self.entering.pop(id(module), None) or (None, self.last_unit_dim)
            shown = name or type(module).__name__
            label = shown if call == 0 else f"{shown}#{call}"
            self.sites[name, call] = Site(label, weight, unit_dim, len(self.sites))
        return self.sites[name, call]
