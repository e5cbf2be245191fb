"""Statistics of norms that fit the weights as they are now: after a rewind or a pruning they lag behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_model
from budbreak.errors import EmptyBatches, InvalidValue
from budbreak.graph import Batches, Forward, call_model, to_device, undisturbed
from budbreak.masks import unwrap

_Norm = nn.modules.batchnorm._NormBase  # pyright: ignore[reportPrivateUsage]
_InstanceNorm = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d


@contextlib.contextmanager
def refreshed_norms(
    model: nn.Module, batches: Batches, *, forward: Forward | None = None
) -> Generator[None, None, None]:
    """Inside, the running statistics of all norms that keep some are those of these batches; outside, all is as before.

    Such are BatchNorm, and InstanceNorm with ``track_running_stats``. Each one's running mean and variance are the
    means, weighted by values a channel, of the mean and unbiased variance of each batch (instance), from one pass
    with the norms in train mode and everything else (dropout) in eval mode, without autocast. A batch with a single
    value a channel has no variance and does not count; a norm that the pass does not reach keeps its statistics.
    Outside, buffers (num_batches_tracked as well), modes, momenta and random generators return bit by bit.

    Args:
        model: the live model; one without norms that keep statistics is not run.
        batches: the calibration set, as for `probe`.
        forward: how to run the model on a batch, if not ``model(inputs)``.

    Raises:
        EmptyBatches: the batches yielded nothing.
        InvalidValue: no batch had two values a channel.

    Source: Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 2 (population statistics for inference).
    """
    check_model(model)
    unwrapped = unwrap(model)
    all_norms = {name: module for name, module in unwrapped.named_modules() if isinstance(module, _Norm)}
    norms = {name: norm for name, norm in all_norms.items() if norm.running_mean is not None}
    with undisturbed(unwrapped, batches), _momenta(norms.values()):
        unwrapped.eval()
        if norms:
            device = next(iter(norms.values())).running_mean.device  # pyright: ignore[reportOptionalMemberAccess]
            with torch.autocast(device.type, enabled=False), torch.no_grad():
                _measure(unwrapped, norms, batches, forward or call_model)
        yield


def _measure(model: nn.Module, norms: Mapping[str, _Norm], batches: Batches, forward: Forward) -> None:
    values: dict[str, int] = {}
    handles = [
        norm.register_forward_pre_hook(_weighting(name, values), with_kwargs=True) for name, norm in norms.items()
    ]
    device = next(model.parameters()).device
    ran = False
    try:
        for batch in batches:
            ran = True
            forward(model, to_device(batch, device))
    finally:
        for handle in handles:
            handle.remove()
        for norm in norms.values():
            norm.eval()
    _check_measured(ran, values)


def _weighting(name: str, values: dict[str, int]) -> Callable[..., None]:
    """A hook that makes a norm's next update weigh as much as its batch: momentum = n / (n so far, this included)."""

    def before(norm: _Norm, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs: Tensor = args[0] if args else kwargs["input"]
        if not values.setdefault(name, 0):
            norm.reset_running_stats()  # momentum 1 forgets the old ones, but 0 * NaN is NaN
        here = inputs.numel() // norm.num_features
        has_variance = (inputs[0, 0].numel() if isinstance(norm, _InstanceNorm) and len(inputs) else here) > 1
        norm.train(has_variance)
        if has_variance:
            values[name] += here
            norm.momentum = here / values[name]

    return before


def _check_measured(ran: bool, values: Mapping[str, int]) -> None:
    if not ran:
        raise EmptyBatches("the batches yielded nothing", "statistics need at least one batch", "give more batches")
    for name, seen in values.items():
        if not seen:
            raise InvalidValue(
                f"{name!r} saw batches of one value a channel only", "a variance needs two", "give larger batches"
            )


@contextlib.contextmanager
def _momenta(norms: Iterable[_Norm]) -> Generator[None, None, None]:
    saved = [(norm, norm.momentum) for norm in norms]
    try:
        yield
    finally:
        for norm, momentum in saved:
            norm.momentum = momentum
