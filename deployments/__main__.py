"""``python -m deployments measure [STUDY...]``: measure what recipes left, and pretrained networks; ``write``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from budbreak.checks import check_count
from budbreak.errors import BudbreakError
from budbreak.files import write_text
from deployments import Settings, measure, read_cells
from deployments.cases import Places, Study
from deployments.cells import path_of
from deployments.document import document
from deployments.studies import ALL, find

RESULTS, PAGE = Path("deployments/results"), Path("docs/deploy.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the root of the repository.

    Returns:
        The exit code, 0; 1 for what was refused, or is missing; 2 for a wrong command line.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.execute(options)
    except BudbreakError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m deployments", description=__doc__, allow_abbrev=False)
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"folder of the cells (default: {RESULTS})")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    measuring = commands.add_parser("measure", help="measure the cases of studies that have no cell yet")
    measuring.add_argument("names", nargs="*", metavar="STUDY", help=f"of {', '.join(one.name for one in ALL)}")
    measuring.add_argument("--cases", nargs="+", default=(), metavar="CASE", help="only these (default: all)")
    measuring.add_argument("--again", action="store_true", help="also those that have a cell, which is replaced")
    measuring.add_argument("--runs", type=Path, default=Path("runs"), help="where the recipes were run (default: runs)")
    measuring.add_argument("--data-dir", type=Path, default=Path("data"), help="where the data sets are")
    measuring.add_argument("--packages", type=Path, default=Path("packages"), help="where pretrained packages are")
    measuring.add_argument("--rounds", type=int, default=9, help="samples of each latency (default: 9)")
    measuring.add_argument(
        "--patience", type=float, default=2.0, help="disturbed samples again, at most N times as many"
    )
    measuring.add_argument("--wall", action="store_true", help="elapsed time instead of CPU time")
    measuring.set_defaults(execute=_measure)
    page = commands.add_parser("write", help="write the document from the cells")
    page.add_argument("--page", type=Path, default=PAGE, help=f"where it goes (default: {PAGE})")
    page.set_defaults(execute=_write)
    return parser


def _measure(options: argparse.Namespace) -> int:
    """What one study lacks does not keep the others from being measured."""
    check_count("--rounds", options.rounds)
    places = Places(options.runs, options.data_dir, options.packages)
    settings = Settings(options.rounds, options.patience, "wall" if options.wall else "cpu")
    refused = 0
    for study in find(options.names):
        try:
            _measure_study(study, places, settings, options)
        except BudbreakError as error:
            refused = 1
            print(f"{study.name}: {error}", file=sys.stderr, flush=True)
    return refused


def _measure_study(study: Study, places: Places, settings: Settings, options: argparse.Namespace) -> None:
    wanted = [name for name in study.planned if not options.cases or name in options.cases]
    missing = [name for name in wanted if options.again or not path_of(options.results, study.name, name).is_file()]
    if missing:
        for case in study.cases(places, tuple(missing)):
            print(f"new: {measure(study.name, case, settings).write(options.results)}", flush=True)


def _write(options: argparse.Namespace) -> int:
    write_text(options.page, document(read_cells(options.results), ALL))
    print(f"written: {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
