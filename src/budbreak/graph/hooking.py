"""Hooks on the modules of a model, by their paths."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

Enter = Callable[[str, nn.Module, tuple[Any, ...], Mapping[str, Any]], None]
"""``enter(path, module, args, kwargs)``"""
Leave = Callable[[str, nn.Module, object], None]
"""``leave(path, module, output)``; the output is None after an error."""


@dataclass
class Hooks:
    """Calls around each call of a module.

    Args:
        enter: called before.
        leave: called after.
    """

    enter: Enter
    leave: Leave
    _handles: list[RemovableHandle] = field(default_factory=list[RemovableHandle])

    def put_on(self, model: nn.Module, only: Container[str] | None = None) -> None:
        """Hook the modules of a model, itself included; only those at some paths if these are given."""
        scripted: dict[int, str] = {}
        for path, module in model.named_modules():
            if only is not None and path not in only:
                continue
            if isinstance(module, torch.jit.ScriptModule):
                scripted[id(module)] = path
            else:
                self._add(path, module)
        if scripted:
            self._add_scripted(scripted)

    def remove(self) -> None:
        """Unhook them all."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _add(self, path: str, module: nn.Module) -> None:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.enter(path, module, args, kwargs)

        def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            self.leave(path, module, output)

        self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(module.register_forward_hook(after, always_call=True))

    def _add_scripted(self, paths: Mapping[int, str]) -> None:
        """Modules of TorchScript take no hooks of their own: hooks on all modules pick them out."""

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if id(module) in paths:
                self.enter(paths[id(module)], module, args, {})

        def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if id(module) in paths:
                self.leave(paths[id(module)], module, output)

        self._handles.append(register_module_forward_pre_hook(before))
        self._handles.append(register_module_forward_hook(after, always_call=True))
