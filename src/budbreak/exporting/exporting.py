"""The verb: a network out, in the form that the name of the file says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.checks import check_model, shown
from budbreak.compaction import Compacted, CompactionPlan
from budbreak.errors import InvalidValue, one_of
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.exporter import Exporter
from budbreak.exporting.families import FAMILY
from budbreak.exporting.packed import Packed
from budbreak.exporting.safetensors import Safetensors
from budbreak.files import as_path
from budbreak.graph import Forward
from budbreak.live import apply_mask
from budbreak.masks import Mask, check_mask, copied, unwrap
from budbreak.values import decode


def export(
    model: nn.Module | Compacted,
    path: str | Path,
    *,
    to: str | Exporter | None = None,
    example: Any,
    mask: Mask | None = None,
    forward: Forward | None = None,
) -> Artifact:
    """Write a network to a file, verified against the network on an example.

    Args:
        model: pruned or dense, compacted or not; which stays as it is. Wrappers (``torch.compile``, data-parallel) are
            taken off. All is meant in eval mode. Of what `compact` gave, the forms that are loaded into an instance
            of the architecture hold the plan, too, so that this may be a dense one.
        path: of the file; an older one is replaced, when the new one is complete and verified.
        to: the form: a short name (those in ``budbreak.exporting.FAMILY``), or an exporter of its own arguments; unless
            given, what the ending of ``path`` says.
        example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward`` whatever
            that takes. The more samples it has, the more the agreement says.
        mask: what to take as zero beside the model's own zeros.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.

    Returns:
        Path, bytes and checksum, the largest and mean difference of outputs, and the share of equal predictions.

    Raises:
        UnknownName: for a form that there is not, and a weight of the mask that the model has not.
        MaskMismatch: if the mask has other shapes.
        InvalidValue: if the path does not end as the form's files do, or the model does not take the example.
        NotFinite: if the outputs are not finite.
        InvariantBroken: if what was written gives other outputs; then nothing is left on disk.
        CannotWrite: on a full disk or a forbidden folder.
    """
    path = as_path(path)
    exporter = _by_ending(path) if to is None else chosen(to)
    if not path.name.endswith(exporter.suffix) or path.name == exporter.suffix:
        raise InvalidValue(
            f"path is {str(path)!r}",
            f"files of this form end in {exporter.suffix!r}",
            f"write {str(path.with_suffix('') if path.name else path / 'model') + exporter.suffix!r}",
        )
    if isinstance(model, Compacted):
        exporter, model = _with_plan(exporter, model.plan), model.model
    if mask is not None:
        model = _masked(model, mask)
    return exporter(model, path, example=example, forward=forward)


def chosen(to: str | Exporter) -> Exporter:
    """The exporter of a name, or the given one.

    Raises:
        UnknownName, InvalidValue: for what is none.
    """
    if isinstance(to, str):
        return decode(to, FAMILY, field="to")
    if isinstance(to, type):
        raise InvalidValue(f"to is {shown(to)}", "it is a short name, or an exporter", f"write to={to.__name__}()")
    FAMILY.check_class(type(to))
    FAMILY.check_instance(to)
    return to


def _masked(model: nn.Module, mask: Mask) -> nn.Module:
    check_model(model)
    check_mask(mask)
    masked = copied(unwrap(model))
    apply_mask(masked, mask)
    return masked


def _with_plan(exporter: Exporter, plan: CompactionPlan) -> Exporter:
    if isinstance(exporter, Packed | Safetensors) and exporter.plan is None:
        return dataclasses.replace(exporter, plan=plan)
    return exporter


def _by_ending(path: Path) -> Exporter:
    """The form whose ending the path has; of several, as .safetensors and .packed.safetensors, the longest."""
    found = [kind() for kind in FAMILY.names.values() if path.name.endswith(kind.suffix)]
    if not found:
        endings = sorted(
            (kind.suffix for kind in FAMILY.names.values()), key=lambda suffix: (suffix.count("."), suffix)
        )
        meant = max((ending for ending in endings if path.name.lower().endswith(ending)), key=len, default="")
        stem = str(path)[: -len(meant)] if meant else str(path if path.name else path / "model")
        raise InvalidValue(
            f"path is {str(path)!r}, and no form is given",
            f"its ending says the form: {one_of(endings)}",
            f"write to=..., or {stem + (meant or endings[0])!r}",
        )
    return max(found, key=lambda exporter: len(exporter.suffix))
