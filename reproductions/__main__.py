"""``python -m reproductions harvest RUN...``: runs to cells; ``factors``, ``script``, ``search``: more; ``write``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from budbreak.checks import check_known
from budbreak.errors import BudbreakError
from budbreak.files import write_text
from reproductions import harvest
from reproductions.activation.measuring import Wanted, measure_run
from reproductions.ap.document import SCRIPTS
from reproductions.ap.scripts import SEEDS, STUDIES, jobs_of, run_scripts
from reproductions.documents import documents
from reproductions.searching import SETTINGS as SEARCHES
from reproductions.searching import TRIALS, measure

CELLS, RECIPES, PAGES = Path("reproductions/cells"), Path("recipes"), Path("docs/reproduction")


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
    networks = commands.add_parser("factors", help="measure the stored networks of a run: survivors, factors, compact")
    networks.add_argument("run", type=Path, metavar="RUN", help="the folder of a run of activation-based pruning")
    networks.add_argument("--data-dir", type=Path, help="where the data sets are")
    networks.add_argument("--arms", nargs="+", default=(), metavar="ARM", help="only these (default: all)")
    networks.add_argument("--untrained", action="store_true", help="leave out factors that are trained: minutes a row")
    networks.set_defaults(execute=_factors)
    search = commands.add_parser("search", help="train random candidates of a search, and ask what ranks them before")
    search.add_argument("names", nargs="*", metavar="SETTING", help="only these (default: all)")
    search.add_argument("--data-dir", type=Path, help="where the data sets are")
    search.add_argument("--store", type=Path, default=Path("runs/searches"), help="what a kill must not lose lies here")
    search.add_argument("--most", type=int, help="candidates of each setting at most")
    search.set_defaults(execute=_search)
    page = commands.add_parser("write", help="write the documents from the cells")
    page.add_argument("--pages", type=Path, default=PAGES, help=f"the folder where they go (default: {PAGES})")
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
    jobs = jobs_of(chosen, RECIPES, options.data_dir, options.cells, seeds=options.seeds)
    failures = run_scripts(jobs, workers=options.workers, finished=lambda job: print(f"new: {job.file}", flush=True))
    if failures:
        sys.exit("\n".join(f"{failure.task}: {failure.text}" for failure in failures))


def _factors(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # latencies are those of one
    wanted = Wanted(options.run, options.data_dir, tuple(options.arms), trained=not options.untrained)
    for cell in measure_run(wanted, options.cells):
        print(f"new: {options.cells / cell.file_name}", flush=True)


def _search(options: argparse.Namespace) -> None:
    known = {setting.name: setting for setting in SEARCHES}
    for name in options.names:
        check_known(f"no setting named {name!r}", name, known)
    for setting in [known[name] for name in options.names] or SEARCHES:
        folder = options.cells / TRIALS
        path = measure(setting, folder, store=options.store, data_dir=options.data_dir, most=options.most)
        print(f"there: {path}", flush=True)


def _write(options: argparse.Namespace) -> None:
    for name, text in documents(options.cells, RECIPES).items():
        write_text(options.pages / name, text)
        print(f"written: {options.pages / name}")


if __name__ == "__main__":
    sys.exit(main())
