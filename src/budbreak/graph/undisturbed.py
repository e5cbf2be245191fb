"""Leave a live model, and every random generator within reach, as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

_PARTS = (
    "dataset", "datasets", "transform", "transforms", "sampler", "batch_sampler", "data_source", "loader",
    "base_dataloader",
)  # fmt: skip
"""Where loaders, samplers and data sets keep what they draw from."""


@contextlib.contextmanager
def undisturbed(model: nn.Module, batches: object = None) -> Generator[None, None, None]:
    """Outside, everything is as before: modes, buffers, random generators.

    Generators are those of torch (CPU and CUDA), numpy and `random`, and those that ``batches``, its sampler,
    batch sampler, data sets and transforms hold as attributes. Out of reach: what lives inside an iterator
    that has begun, in a loader's persistent worker processes, or in a closure.
    """
    undo = [_modes(model), _buffers(model), _global_generators(), *map(_own_generator, generators_of(batches))]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for put_back in undo:
            put_back()


@contextlib.contextmanager
def observing(
    model: nn.Module, device: torch.device, batches: object, *, training: bool = False
) -> Generator[None, None, None]:
    """Eval mode inside (or training mode), without autocast; everything as before outside."""
    with undisturbed(model, batches), torch.inference_mode(False), torch.autocast(device.type, enabled=False):
        model.train(training)
        yield


@contextlib.contextmanager
def restored(model: nn.Module) -> Generator[None, None, None]:
    """Whatever is done inside to parameters, their dtype and their gradients included, and to buffers is undone."""
    owners = [
        (module, dict(module._parameters))  # pyright: ignore[reportPrivateUsage]
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)  # it never replaces its own
    ]
    undo = [_buffers(model), *map(_parameter, model.parameters())]
    try:
        yield
    finally:
        for module, own in owners:
            module._parameters.update(own)  # pyright: ignore[reportPrivateUsage]
        for put_back in undo:
            put_back()


@contextlib.contextmanager
def recurrent_backward(model: nn.Module) -> Generator[None, None, None]:
    """CuDNN refuses the backward pass of recurrent layers in eval mode; the native kernels take it."""
    before = torch.backends.cudnn.enabled
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


@contextlib.contextmanager
def requiring_grad(parameters: Sequence[nn.Parameter]) -> Generator[None, None, None]:
    """Frozen parameters have gradients inside."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def generators_of(batches: object) -> Iterator[object]:
    """The random generators that a loader, its samplers and its data set hold as attributes."""
    seen: set[int] = set()
    todo = [batches]
    while todo:
        holder = todo.pop()
        if id(holder) in seen or not hasattr(holder, "__dict__"):
            continue
        seen.add(id(holder))
        for name, value in vars(holder).items():
            if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield value
            elif name in _PARTS:
                todo.extend(cast(list[object], value) if isinstance(value, list | tuple) else [value])


def _modes(model: nn.Module) -> Callable[[], None]:
    modes = [(module, module.training) for module in model.modules()]

    def put_back() -> None:
        for module, training in modes:
            module.training = training

    return put_back


def _parameter(parameter: nn.Parameter) -> Callable[[], None]:
    """Back in the same memory, which an optimizer's hooks may know."""
    memory, numbers = parameter.data, parameter.detach().clone()
    gradient, required = parameter.grad, parameter.requires_grad
    parameter.grad = None

    def put_back() -> None:
        parameter.grad = None
        parameter.data = memory
        if not torch.equal(memory, numbers):
            memory.copy_(numbers)
        parameter.grad = gradient
        parameter.requires_grad_(required)

    return put_back


def _buffers(model: nn.Module) -> Callable[[], None]:
    """Buffers may be changed in place or replaced, so both the tensor and its numbers go back.

    One whose shape changed is a cache that grew with its inputs (rotary positions): the module's other
    attributes know the new size, so it stays.
    """
    saved: list[tuple[nn.Module, str, Tensor, Tensor]] = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]

    def put_back() -> None:
        with torch.no_grad():
            for module, name, buffer, numbers in saved:
                now = getattr(module, name, None)
                if isinstance(now, Tensor) and now.shape == numbers.shape:
                    setattr(module, name, buffer)
                    if not torch.equal(buffer, numbers):
                        buffer.copy_(numbers)

    return put_back


def _global_generators() -> Callable[[], None]:
    of_numpy, of_random = np.random.get_state(), random.getstate()

    def put_back() -> None:
        np.random.set_state(of_numpy)
        random.setstate(of_random)

    return put_back


def _own_generator(generator: Any) -> Callable[[], None]:
    if isinstance(generator, random.Random):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        inner = bits.state
        return lambda: setattr(bits, "state", inner)
    state = generator.get_state()
    return lambda: generator.set_state(state)
