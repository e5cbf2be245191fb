"""One network in several forms, side by side in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from budbreak.compaction import Compacted
from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.cards import JSON, MARKDOWN
from budbreak.exporting.exporter import Exporter
from budbreak.exporting.exporting import chosen, export
from budbreak.exporting.running import check_runtimes

NAME = "network"
"""Of the files, before their endings."""


def check_forms(forms: Sequence[str]) -> None:
    """Refuse forms that there are not, or whose libraries are not there, before anything is done.

    Raises:
        UnknownName: for a form that there is not.
        InvalidValue: for one twice; for a missing library: with what to install.
    """
    for form in forms:
        chosen(form)
    if twice := sorted({form for form in forms if forms.count(form) > 1}):
        raise InvalidValue(f"{twice[0]!r} is given twice", "each form is written once", "leave one out")
    check_runtimes(tuple(forms))


def write_forms(
    network: nn.Module | Compacted, folder: Path, forms: Sequence[str | Exporter], *, example: Tensor
) -> tuple[Artifact, ...]:
    """Write a network in each form, each verified; older files of the same names are replaced, and their card goes.

    Args:
        network: see `export`.
        folder: of the files, ``network`` with the form's ending.
        forms: short names, or exporters of their own arguments.
        example: see `export`.

    Raises:
        BudbreakError: see `check_forms`, `export`; then the forms before it are there, whole.
    """
    check_forms([form for form in forms if isinstance(form, str)])
    written: list[Artifact] = []
    for form in forms:
        written.append(export(network, folder / f"{NAME}{chosen(form).suffix}", to=form, example=example))
        for card in (JSON, MARKDOWN):
            (folder / card).unlink(missing_ok=True)  # it tells of the files before
    return tuple(written)


def older_files(folder: Path, artifacts: Sequence[Artifact]) -> tuple[Path, ...]:
    """Files of other forms that an earlier export left in a folder, and that none of these artifacts replaced."""
    mine = {file.path.name for one in artifacts for file in one.files}
    return tuple(sorted(path for path in folder.glob(f"{NAME}.*") if path.name not in mine))
