"""The packed form: what is zero takes no room, in a safetensors file that a reader of a hundred lines reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from budbreak.compaction import CompactionPlan
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.layout import Array, Entry, write_entries
from budbreak.exporting.loading import outputs_of_file
from budbreak.exporting.nonlinearities import nonlinearity_notes, nonlinearity_remark
from budbreak.exporting.packing import Packing, pack
from budbreak.exporting.plans import plan_notes
from budbreak.exporting.rounding import (
    HALVES,
    Rounding,
    check_tolerance,
    check_values,
    round_values,
    rounded_note,
    stored_as,
)
from budbreak.exporting.shipping import ship
from budbreak.exporting.state import remark, state_of
from budbreak.files import as_path, staging
from budbreak.graph import Forward

KIND = "packed state"


@dataclass(frozen=True)
class Packed:
    """The elements of the state_dict that are not zero, and where they are: near the entropy bound; a tied tensor once.

    Bit for bit, unless ``values`` are asked for: an element is left out if all of its bits are zero; -0.0 is not.
    packed_reader.py says how the file is laid out, and reads it with numpy alone.

    Args:
        plan: of a compact model: it goes into the file, which then loads into an instance of the dense architecture.
        values: "float16" or "bfloat16": wider floating numbers are rounded to that; they stay as they are unless given.
        tolerance: of a file with such values; see `Rounding`.
    """

    plan: CompactionPlan | None = field(default=None, hash=False)
    values: str | None = None
    tolerance: float | None = None
    suffix: ClassVar[str] = ".packed.safetensors"

    def __post_init__(self) -> None:
        """Refuse what the file cannot hold."""
        check_values(self.values, tuple(HALVES), "a packed file")
        check_tolerance(self.tolerance)

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of an instance into which the file was loaded."""
        return ship(
            "packed", model, path, example=example, forward=forward, write=self._write,
            run=lambda model, path: outputs_of_file(path, model, example, forward),
            rounding=None if self.values is None else Rounding(self.values, self.tolerance),
        )  # fmt: skip

    def _write(self, model: nn.Module, path: Path) -> tuple[str, ...]:
        state = state_of(model)
        if self.values is not None:
            round_values(state, self.values)
        notes = {**rounded_note(self.values), **plan_notes(self.plan, state), **nonlinearity_notes(model)}
        return (*_lay_out(path, state, notes, self.values), *nonlinearity_remark(model), *remark(model))


def write_packed(path: str | Path, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Write tensors by their names, a state_dict say, atomically; `budbreak.files.read_exported` reads them.

    Args:
        path: where the file goes.
        state: name -> tensor; those that are the same memory are stored once.

    Returns:
        What should be known of it, in words.

    Raises:
        InvalidValue: if the format has no name for a dtype.
        CannotWrite: on a full disk or a forbidden folder.
    """
    with staging(as_path(path)) as aside:
        return _lay_out(aside, state, {}, None)


def _lay_out(path: Path, state: Mapping[str, Tensor], notes: Mapping[str, Any], values: str | None) -> tuple[str, ...]:
    first, rows, packings = dict[tuple[Any, ...], str](), list[list[Any]](), dict[str, Packing]()
    for name, tensor in state.items():
        other = first.setdefault(_memory(name, tensor), name)
        if other == name:
            packings[name] = pack(name, stored_as(tensor, values))
        rows.append([name, other] if other != name else [name, *packings[name].row])
    write_entries(path, _entries(list(packings.values())), {"kind": KIND, "tensors": rows, **notes})
    return tuple(filter(None, (_remark(name, packing) for name, packing in packings.items())))


def _entries(packings: list[Packing]) -> dict[str, Entry]:
    kinds = list(dict.fromkeys(str(packing.row[0]) for packing in packings if packing.values.size))
    streams = {kind: tuple(one.values for one in packings if one.row[0] == kind) for kind in kinds}
    entries = {f"values.{kind}": _stream(kind, parts) for kind, parts in streams.items()}
    return {**entries, "index": _stream("U8", tuple(part for one in packings for part in one.index))}


def _stream(kind: str, parts: tuple[Array, ...]) -> Entry:
    return Entry(kind, (sum(part.size for part in parts),), parts)


def _memory(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """What tells the memory of a tensor from that of others; nothing is shared by tensors without elements."""
    if not tensor.numel():
        return (name,)
    seen_as = tensor.is_conj(), tensor.is_neg()
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), *seen_as


def _remark(name: str, packing: Packing) -> str:
    """Of -0.0, which is stored as any other value is."""
    if packing.signed_zeros * 50 < packing.values.size or not packing.signed_zeros:
        return ""
    return f"{name!r}: {packing.signed_zeros:,d} elements are -0.0 and take their room; weight.add_(0.0) makes them 0.0"
