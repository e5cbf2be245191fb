"""``python -m reproductions harvest RUN...``: runs to cells; ``python -m reproductions write``: cells to a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from budbreak.errors import BudbreakError
from budbreak.files import write_text
from reproductions import harvest, read_cells
from reproductions.document import document
from reproductions.study import studies_of

CELLS, RECIPES, PAGE = Path("reproductions/cells"), Path("recipes"), Path("docs/reproduction/ap.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the root of the repository.

    Returns:
        The exit code, 0; 1 for what was refused; 2 for a wrong command line.
    """
    options = _parser().parse_args(arguments)
    try:
        options.execute(options)
    except BudbreakError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m reproductions", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cells", type=Path, default=CELLS, help=f"folder of the cells (default: {CELLS})")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gather = commands.add_parser("harvest", help="turn the finished tasks of runs into cells")
    gather.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    gather.set_defaults(execute=_harvest)
    page = commands.add_parser("write", help="write the document from the cells")
    page.add_argument("--page", type=Path, default=PAGE, help=f"where it goes (default: {PAGE})")
    page.set_defaults(execute=_write)
    return parser


def _harvest(options: argparse.Namespace) -> None:
    new = harvest(options.runs, options.cells)
    print("\n".join(f"new: {options.cells / cell.file_name}" for cell in new) or "nothing new")


def _write(options: argparse.Namespace) -> None:
    write_text(options.page, document(studies_of(read_cells(options.cells), RECIPES)))
    print(f"written: {options.page}")


if __name__ == "__main__":
    sys.exit(main())
