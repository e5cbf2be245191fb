"""Which weights stay: a frozen mapping from parameter names to bool tensors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from budbreak.checks import check_known, check_model, shown
from budbreak.errors import InvalidValue, MaskMismatch, MissingData
from budbreak.files import corrupt, read_tree, write_tree
from budbreak.masks.coverage import coverage
from budbreak.masks.parametrized import check_directions, parameters_with_layers
from budbreak.masks.prunable import Prunable, conv_and_linear, parameters_named, prunable_parameters, unwrap

KIND = "mask 1"
_Default = TypeVar("_Default")


class Mask(Mapping[str, Tensor]):
    """What stays, for a whole model: state_dict name -> bool tensor of the weight's shape, True = kept.

    Frozen: the tensors are copies on the CPU, and every operation returns a new mask. Order is the order of
    the mapping it was made from (state_dict order, for masks made from a model).

    >>> mask = Mask({"fc.weight": torch.tensor([[True, False], [True, True]])})
    >>> mask.kept, mask.total, mask.density
    (3, 4, 0.75)
    """

    def __init__(self, entries: Mapping[str, Tensor]) -> None:
        _check_entries(entries)
        self._adopt({name: entry.detach().to("cpu", torch.bool, copy=True) for name, entry in entries.items()})

    def _adopt(self, entries: dict[str, Tensor]) -> None:
        self._entries = {name: entry.contiguous() for name, entry in entries.items()}
        self._kept = {name: int(np.count_nonzero(entry.numpy())) for name, entry in self._entries.items()}

    @classmethod
    def owning(cls, entries: dict[str, Tensor]) -> Mask:
        """A mask that takes these CPU bool tensors over without a copy: the caller must forget them."""
        mask = cls.__new__(cls)
        mask._adopt(entries)
        return mask

    @classmethod
    def dense(cls, model: nn.Module, prunable: Prunable = conv_and_linear) -> Mask:
        """The mask that keeps every prunable weight."""
        parameters = prunable_parameters(model, prunable)
        return cls.owning(
            {name: torch.ones(parameter.shape, dtype=torch.bool) for name, parameter in parameters.items()}
        )

    @classmethod
    def from_zeros(cls, model: nn.Module, prunable: Prunable = conv_and_linear) -> Mask:
        """The mask that a model's own zeros spell: kept where the weight is not exactly 0."""
        parameters = prunable_parameters(model, prunable)
        return cls.owning({name: (parameter.detach() != 0).cpu() for name, parameter in parameters.items()})

    def __getitem__(self, name: str) -> Tensor:
        self._check_name(name)
        return self._entries[name]

    @overload
    def get(self, key: str, /) -> Tensor | None: ...
    @overload
    def get(self, key: str, default: Tensor | _Default, /) -> Tensor | _Default: ...
    def get(self, key: str, default: Any = None, /) -> Any:
        """The entry of a name, or the default; without the search for the nearest name that `Mapping.get` costs."""
        return self._entries.get(key, default)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return list(self) == list(other) and all(torch.equal(self[name], other[name]) for name in self)

    __hash__ = None

    def __repr__(self) -> str:
        return f"Mask({len(self)} entries, {self.kept} of {self.total} kept, density {self.density:.4f})"

    @property
    def kept(self) -> int:
        """The number of weights that stay."""
        return sum(self._kept.values())

    @property
    def total(self) -> int:
        """The number of prunable weights."""
        return sum(entry.numel() for entry in self._entries.values())

    @property
    def density(self) -> float:
        """Kept / prunable, in [0, 1]; 1 for a mask without entries."""
        return self.kept / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        """Pruned / prunable, in [0, 1]."""
        return 1 - self.density

    def kept_in(self, name: str) -> int:
        """The number of weights that stay in one entry."""
        self._check_name(name)
        return self._kept[name]

    def collapsed(self) -> list[str]:
        """The entries in which nothing stays."""
        return [name for name in self if self._kept[name] == 0]

    def is_within(self, other: Mask) -> bool:
        """Whether everything kept here is kept in ``other`` too."""
        self._check_same(other)
        return not any(bool((self[name] & ~other[name]).any()) for name in self)

    def __and__(self, other: Mask) -> Mask:
        """What both keep."""
        self._check_same(other)
        return Mask.owning({name: self[name] & other[name] for name in self})

    def __or__(self, other: Mask) -> Mask:
        """What either keeps."""
        self._check_same(other)
        return Mask.owning({name: self[name] | other[name] for name in self})

    def agreement(self, other: Mask) -> float:
        """Jaccard index of the kept sets, in [0, 1]; 1 for two masks that keep nothing."""
        union = (self | other).kept
        return (self & other).kept / union if union else 1.0

    def parameters(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The live parameters that this mask covers.

        Raises:
            UnknownName: if the model lacks one of the names.
            MaskMismatch: if a shape differs.
            InvalidValue: if the model is none; if a slice that weight_norm divides by its norm would lose all weights.
        """
        check_model(model)
        covered = parameters_named(model, self._entries)
        for name, parameter in covered.items():
            entry = self._entries[name]
            if parameter.shape != entry.shape:
                raise MaskMismatch(
                    f"mask entry {name!r} has shape {tuple(entry.shape)}, the parameter {tuple(parameter.shape)}",
                    "a mask fits only the architecture that it was made for",
                    "make it from this model, or load the checkpoint it belongs to",
                )
        for name, layer, _ in parameters_with_layers(unwrap(model)):
            if name in covered:
                check_directions(name, layer, self._entries[name])
        return covered

    def table(self, model: nn.Module | None = None) -> str:
        """One line for each entry: shape, kept, of how many, density; with a ``model``, what stays dense as well.

        Raises:
            UnknownName, MaskMismatch: if the mask does not fit the model.
        """
        rows = [(name, "x".join(map(str, self[name].shape)), self._kept[name], self[name].numel()) for name in self]
        rows.append(("all", "", self.kept, self.total))
        wide = max(len("weight"), *(len(row[0]) for row in rows)), max(len("shape"), *(len(row[1]) for row in rows))
        lines = [f"{'weight':{wide[0]}}  {'shape':>{wide[1]}}  {'kept':>11}  {'of':>11}  density"]
        lines += [
            f"{name:{wide[0]}}  {shape:>{wide[1]}}  {kept:11,d}  {count:11,d}  {kept / max(count, 1):7.2%}"
            for name, shape, kept, count in rows
        ]
        if model is not None:
            self.parameters(model)
            lines += textwrap.wrap(str(coverage(unwrap(model), self)), 80, break_long_words=False)
        return "\n".join(lines)

    def save(self, path: str | Path, *, store: str | None = None) -> None:
        """Write one bit per weight to a safetensors file, atomically, with a checksum.

        Args:
            path: where it goes.
            store: the identity of the store that it belongs to; none for a mask of your own.
        """
        entries = {
            name: {"shape": list(entry.shape), "bits": np.packbits(entry.numpy().reshape(-1))}
            for name, entry in self._entries.items()
        }
        write_tree(Path(path), {"entries": entries}, KIND, store=store)

    @classmethod
    def load(cls, path: str | Path, *, store: str | None = None) -> Mask:
        """Read what `save` wrote.

        Args:
            path: the file.
            store: refuse the mask of a store with another identity than this.

        Raises:
            MissingData: if there is no such file.
            CorruptFile: if the file is truncated, was changed, or is not a mask.
            StoreMismatch: if it is the mask of another store.
        """
        path = Path(path)
        stores = None if store is None else {None, store}
        remedy = "give a file that mask.save(path) wrote, or one of masks/ in a store"
        try:
            tree = read_tree(path, KIND, stores=stores, remedy=remedy)
        except FileNotFoundError:
            raise MissingData(
                f"no file {path}", "a mask file is what mask.save(path) wrote", "check the path"
            ) from None
        entries = tree.get("entries") if isinstance(tree, dict) and len(tree) == 1 else None
        if not isinstance(entries, dict):
            raise corrupt(path, "it holds no entries of a mask", remedy)
        unpacked = {name: _unpack_bits(entry) for name, entry in entries.items()}
        odd = [name for name, entry in unpacked.items() if entry is None or not isinstance(name, str)]
        if odd:
            raise corrupt(path, f"its entry {odd[0]!r} is not what a mask holds", remedy)
        return cls.owning({name: entry for name, entry in unpacked.items() if entry is not None})

    def _check_name(self, name: object) -> None:
        check_known(f"the mask has no entry {name!r}", name, self._entries)

    def _check_same(self, other: Mask) -> None:
        check_mask(other, "the other mask")
        mine = {name: entry.shape for name, entry in self._entries.items()}
        theirs = {name: entry.shape for name, entry in other.items()}
        if mine != theirs:
            odd = sorted(set(mine.items()) ^ set(theirs.items()), key=str)[0][0]
            raise MaskMismatch(
                f"the masks differ at {odd!r}",
                "both must cover the same names and shapes",
                "make both from one model",
            )


def _check_entries(entries: object) -> None:
    mapping = isinstance(entries, Mapping)
    if not mapping or not all(isinstance(entry, Tensor) for entry in entries.values()):  # pyright: ignore[reportUnknownMemberType]
        raise InvalidValue(
            f"the entries of a mask are {shown(entries)}",  # pyright: ignore[reportUnknownArgumentType]
            "they map names of weights to tensors of their shapes, True or not 0 where a weight is kept",
            "write bb.Mask({name: tensor}), or bb.Mask.dense(model)",
        )


def check_mask(mask: object, name: str = "mask") -> None:
    """Refuse what is no `Mask`.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(mask, Mask):
        fix = "write bb.Mask({name: tensor}), bb.Mask.load(path) or bb.Mask.from_zeros(model)"
        raise InvalidValue(f"{name} is {shown(mask)}", "it must be a Mask", fix)


def _unpack_bits(entry: Any) -> Tensor | None:
    """The entry of a file; None where shape and bits do not fit each other."""
    if not isinstance(entry, dict) or set(entry) != {"shape", "bits"}:
        return None
    shape, bits = entry["shape"], entry["bits"]
    sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not sizes or not isinstance(bits, np.ndarray) or bits.dtype != np.uint8 or bits.ndim != 1:
        return None
    count = math.prod(shape)
    values = np.unpackbits(bits)
    if len(bits) != (count + 7) // 8 or values[count:].any():
        return None
    return torch.from_numpy(values[:count].astype(bool).reshape(shape))
