"""Multiply-accumulates of a model: torch's own counter, and whose weight each product reads."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from budbreak.checks import check_known, check_model, shown
from budbreak.errors import InvalidValue
from budbreak.graph.examples import call_example, count_samples
from budbreak.graph.feeding import to_device
from budbreak.graph.undisturbed import undisturbed
from budbreak.masks import unwrap

_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)
"""The kernels that torch's counter has no formula for: its own are for CUDA only."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates per sample; 1 MAC = 2 FLOPs.

    Args:
        total: of all matrix products, convolutions, recurrences and attention.
        by_weight: of the products that read a weight, under its first state_dict name.
        first_names: each state_dict name of a tied parameter -> the first of them.
    """

    total: int
    by_weight: Mapping[str, int]
    first_names: Mapping[str, str]

    def of(self, names: Iterable[str]) -> int:
        """The MACs that read these weights; each tied one once.

        Raises:
            InvalidValue: for a single name.
            UnknownName: for what is no parameter of the model.
        """
        if isinstance(names, str):
            raise InvalidValue(f"names is {shown(names)}", "it must be several names", f"write [{names!r}]")
        names = list(names)
        for name in names:
            check_known(f"no parameter is named {name!r}", name, self.first_names)
        return sum(self.by_weight.get(name, 0) for name in {self.first_names[name] for name in names})


def count_macs(model: nn.Module, example: Any) -> Macs:
    """Multiply-accumulates per sample, from one forward pass in eval mode.

    A product belongs to the weight whose memory it reads, whoever calls it: a module, a function, attention, a
    tied layer. Products of activations (attention's scores and values) count in the total only. Elementwise
    work, norms and embeddings count nothing, as with torch's own counter. Products of weights alone (low rank, an
    orthogonal parametrization) count as if each sample made them: give one sample where there are any.

    Args:
        model: the live model; modes, buffers and random generators stay as they were.
        example: a batch of inputs, batch first: a tensor, a tuple (positional) or a mapping (by keyword); moved to
            the device of the model.

    Raises:
        InvalidValue: if the model does not take the example.
    """
    check_model(model)
    unwrapped = unwrap(model)
    samples = count_samples(example)
    named = list(unwrapped.named_parameters(remove_duplicate=False))
    first = {id(parameter): name for name, parameter in reversed(named)}
    flops = FlopCounterMode(display=False, custom_mapping=_attention_kernels())
    owners = _Owners(unwrapped, first, flops)
    with undisturbed(unwrapped), _unfused(), flops, owners:
        unwrapped.eval()
        devices = (parameter.device for parameter in unwrapped.parameters())
        call_example(unwrapped, to_device(example, next(devices, torch.device("cpu"))))
    by_weight = {name: round(count / samples) for name, count in owners.by_weight.items()}
    return Macs(
        round(flops.get_total_flops() / 2 / samples),
        MappingProxyType(by_weight),
        MappingProxyType({name: first[id(parameter)] for name, parameter in named}),
    )


class _Owners(TorchDispatchMode):
    """Sees whose memory the products read that torch's counter, entered before it, counts.

    What is computed from parameters and buffers alone (a normalised, cast, masked or copied weight) belongs to the
    weight of as many elements that it was computed from. All of it is kept, so that no address is used again.
    """

    def __init__(self, model: nn.Module, first_names: Mapping[int, str], flops: FlopCounterMode) -> None:
        super().__init__()
        self.flops, self.by_weight = flops, dict[str, int]()
        self.owners: dict[int, list[tuple[int, int, str]]] = {}
        self.state: dict[int, Tensor] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self.state[_address(tensor)] = tensor
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                self._add_owner(parameter, first_names[id(parameter)])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and ask the counter what it was."""
        before = self.flops.get_total_flops()
        result = func(*args, **(kwargs or {}))
        macs = (self.flops.get_total_flops() - before) // 2
        operands = [*_tensors(args), *_tensors((kwargs or {}).values())]
        if operands and all(_address(operand) in self.state for operand in operands):
            self._follow(operands, _tensors([result]), product=macs > 0)
        if macs:
            self._add(macs, args)
        return result

    def _add(self, macs: int, operands: Iterable[Any]) -> None:
        """To the last weight among the operands: the one before may be a query or a bias that is learned."""
        owners = [owner for owner in map(self._owner, _tensors(operands)) if owner is not None]
        if owners:
            self.by_weight[owners[-1]] = self.by_weight.get(owners[-1], 0) + macs

    def _follow(self, operands: Sequence[Tensor], results: Sequence[Tensor], *, product: bool) -> None:
        """What is computed from the model's state alone is state, too; a product of weights is none of them."""
        for result in results:
            if _address(result) in self.state:  # a view
                continue
            self.state[_address(result)] = result
            alike = [operand for operand in operands if operand.numel() == result.numel()]
            like = [owner for operand in alike if (owner := self._owner(operand))]
            if like and result.dim() >= 2 and not product:
                self._add_owner(result, like[0])

    def _add_owner(self, tensor: Tensor, name: str) -> None:
        start = int(tensor.storage_offset())
        self.owners.setdefault(_address(tensor), []).append((start, start + tensor.numel(), name))

    def _owner(self, operand: Tensor) -> str | None:
        spans = self.owners.get(_address(operand), []) if operand.dim() >= 2 else []
        offset = operand.storage_offset()
        return next((name for start, end, name in spans if start <= offset < end), None)


def _address(tensor: Tensor) -> int:
    """Of the storage itself, not of its data, which an empty tensor has none of."""
    return cast(int, tensor.untyped_storage()._cdata)  # pyright: ignore


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among some values, and in lists and tuples of them."""
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += _tensors(cast(Sequence[Any], value))
    return tensors


def _attention_kernels() -> dict[Any, Any]:
    kernels = (getattr(torch.ops.aten, name, None) for name in _ATTENTION)
    return {kernel: _attention for kernel in kernels if kernel is not None}


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **_options: Any) -> int:
    """FLOPs of scores, then values, from the shapes [..., L, E], [..., S, E] and [..., S, V]."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


@contextlib.contextmanager
def _unfused() -> Generator[None, None, None]:
    """Without fused transformer and recurrent layers, each one operation that torch's counter does not know."""
    backends = torch.backends
    before = backends.mha.get_fastpath_enabled(), bool(backends.mkldnn.enabled), backends.cudnn.enabled
    _fuse(False, False, False)
    try:
        with torch.inference_mode(False), torch.no_grad():  # the former alone lets gradients be recorded
            yield
    finally:
        _fuse(*before)


def _fuse(transformers: bool, recurrences: bool, recurrences_on_gpu: bool) -> None:
    torch.backends.mha.set_fastpath_enabled(transformers)
    torch.backends.mkldnn.enabled = recurrences
    torch.backends.cudnn.enabled = recurrences_on_gpu
