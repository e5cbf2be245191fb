"""Multiply-accumulates of a model, counted where they happen: at torch's dispatcher, operation by operation."""

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
from torch.utils.flop_counter import flop_registry

from budbreak.checks import check_model, shown
from budbreak.errors import InvalidValue
from budbreak.graph.feeding import to_device
from budbreak.graph.undisturbed import undisturbed
from budbreak.masks import unwrap

_RULE = "an example is a batch as the model takes it: a tensor, a tuple (positional) or a mapping (by keyword)"
_RECURRENT = ("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn")


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
        """The MACs that read these weights; each tied one once."""
        return sum(self.by_weight.get(name, 0) for name in {self.first_names[name] for name in names})


@torch.no_grad()
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
    live = unwrap(model)
    samples = _samples(example)
    named = list(live.named_parameters(remove_duplicate=False))
    first = {id(parameter): name for name, parameter in reversed(named)}
    with undisturbed(live), _unfused():
        live.eval()
        counter = _Counter(live, first)
        with counter:
            _call(live, to_device(example, next((p.device for p in live.parameters()), torch.device("cpu"))))
    by_weight = {name: round(count / samples) for name, count in counter.by_weight.items()}
    return Macs(
        round(counter.total / samples),
        MappingProxyType(by_weight),
        MappingProxyType({name: first[id(parameter)] for name, parameter in named}),
    )


class _Counter(TorchDispatchMode):
    """Counts the products of the operations below it, and whose memory they read.

    What is computed from parameters and buffers alone (a normalised, cast, masked or copied weight) belongs to the
    weight of as many elements that it was computed from. All of it is kept, so that no address is used again.
    """

    def __init__(self, model: nn.Module, first_names: Mapping[int, str]) -> None:
        super().__init__()
        self.total, self.by_weight = 0, dict[str, int]()
        self.owners: dict[int, list[tuple[int, int, str]]] = {}
        self.state: dict[int, Tensor] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self.state[_address(tensor)] = tensor
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                self._own(parameter, first_names[id(parameter)])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count it."""
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        operands, results = [*_tensors(args), *_tensors((kwargs or {}).values())], _tensors([result])
        if operands and all(_address(operand) in self.state for operand in operands):
            self._follow(operands, results, product=packet in flop_registry)
        name = packet.__name__
        if packet in flop_registry:
            self._add(flop_registry[packet](*args, **(kwargs or {}), out_val=result) // 2, args)
        elif name.startswith("_scaled_dot_product"):
            self.total += _attention(*args[:3])
        elif name in _RECURRENT:
            self._recurrent(args[0], args[1:3] if name == "mkldnn_rnn_layer" else args[1])
        return result

    def _add(self, macs: int, operands: Iterable[Any]) -> None:
        """To the last weight among the operands: the one before may be a query or a bias that is learned."""
        self.total += macs
        owners = [owner for owner in map(self._owner, _tensors(operands)) if owner is not None]
        if owners:
            self.by_weight[owners[-1]] = self.by_weight.get(owners[-1], 0) + macs

    def _recurrent(self, inputs: Tensor, weights: Iterable[Tensor]) -> None:
        """Each matrix of a fused recurrence is used once at each position."""
        for weight in weights:
            if weight.dim() == 2:
                self._add(weight.numel() * (inputs.numel() // inputs.shape[-1]), [weight])

    def _follow(self, operands: Sequence[Tensor], results: Sequence[Tensor], *, product: bool) -> None:
        """What is computed from the model's state alone is state, too; a product of weights is none of them."""
        for result in results:
            if _address(result) in self.state:  # a view
                continue
            self.state[_address(result)] = result
            like = [owner for one in operands if one.numel() == result.numel() and (owner := self._owner(one))]
            if like and result.dim() >= 2 and not product:
                self._own(result, like[0])

    def _own(self, tensor: Tensor, name: str) -> None:
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
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(cast(Sequence[Any], value))
    return found


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Scores, then values: [..., L, E] with [..., S, E] and [..., S, V]."""
    return math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


@contextlib.contextmanager
def _unfused() -> Generator[None, None, None]:
    """Without the fused transformer layers of eval mode, which are one opaque operation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _call(model: nn.Module, example: Any) -> None:
    try:
        if isinstance(example, Mapping):
            model(**cast(Mapping[str, Any], example))
        elif isinstance(example, tuple) and not isinstance(example, nn.utils.rnn.PackedSequence):
            model(*cast(tuple[Any, ...], example))
        else:
            model(example)
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidValue(
            f"the model does not take the example: {said[0]}", _RULE, "give what model(...) takes"
        ) from error


def _samples(example: Any) -> int:
    """The size of the batch: of the first tensor in it."""
    found = _first_size(example)
    if found is None:
        raise InvalidValue(f"the example {shown(example)} holds no tensor", _RULE, "give one batch of inputs")
    if found == 0:
        raise InvalidValue("the example holds no sample", _RULE, "give a batch of at least one")
    return found


def _first_size(example: Any) -> int | None:
    if isinstance(example, nn.utils.rnn.PackedSequence):
        return int(example.batch_sizes[0])
    if isinstance(example, Tensor):
        return len(example) if example.dim() else 1
    if isinstance(example, Mapping):
        example = tuple(cast(Mapping[str, Any], example).values())
    if isinstance(example, tuple | list):
        sizes = map(_first_size, cast(tuple[Any, ...], example))
        return next((size for size in sizes if size is not None), None)
    return None
