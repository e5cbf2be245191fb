"""``python -m reproductions harvest RUN...``: runs to cells; ``... script``: train; ``... write``: cells to a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from budbreak.checks import check_known
from budbreak.errors import BudbreakError
from budbreak.files import write_text
from reproductions import harvest, read_cells
from reproductions.ap.document import SCRIPTS, all_studies, document
from reproductions.ap.scripts import SEEDS, STUDIES, jobs_of, run_scripts

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
    script = commands.add_parser("script", help="train by the AP authors' script, each of its defects by itself")
    script.add_argument("names", nargs="*", metavar="STUDY", help=f"of: {', '.join(SCRIPTS)} (default: all)")
    script.add_argument("--data-dir", type=Path, help="where the data sets are")
    script.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds 0 to N-1 (default: {SEEDS})")
    script.add_argument("--workers", type=int, default=2, help="trainings at a time (default: 2)")
    script.set_defaults(execute=_script)
    page = commands.add_parser("write", help="write the document from the cells")
    page.add_argument("--page", type=Path, default=PAGE, help=f"where it goes (default: {PAGE})")
    page.set_defaults(execute=_write)
    return parser


def _harvest(options: argparse.Namespace) -> None:
    new = harvest(options.runs, options.cells)
    print("\n".join(f"new: {options.cells / cell.file_name}" for cell in new) or "nothing new")


def _script(options: argparse.Namespace) -> None:
    known = {study.name: study for study in STUDIES}
    for name in options.names:
        check_known(f"no study named {name!r}", name, known)
    chosen = [known[name] for name in options.names] or list(STUDIES)
    jobs = jobs_of(chosen, RECIPES, options.data_dir, seeds=options.seeds)
    for cell in run_scripts(jobs, options.cells, workers=options.workers):
        print(f"new: {options.cells / cell.file_name}", flush=True)


def _write(options: argparse.Namespace) -> None:
    write_text(options.page, document(all_studies(read_cells(options.cells), RECIPES)))
    print(f"written: {options.page}")


if __name__ == "__main__":
    sys.exit(main())
