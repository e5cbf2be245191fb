"""``budbreak run RECIPE``: carry out a recipe - its arms under all seeds - and compare."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from budbreak.cli.console import say
from budbreak.cli.display import Display
from budbreak.cli.explaining import recipe_help, set_instead
from budbreak.cli.overview import overview_lines, overview_table
from budbreak.cli.parser import import_from_here, whole
from budbreak.cli.sinks import open_sink
from budbreak.errors import InvalidValue
from budbreak.executors import EXECUTORS, check_executor, usual_executor
from budbreak.recipes import Arm, Recipe, import_folders, load_recipe, parse_set
from budbreak.reporting import PAGE, conclusion, lacking, terminal_table, write_report
from budbreak.results import RunResult
from budbreak.studies import TASKS, Choice, Event, Place, epochs_of_choice, look_ahead, run, share_cores

_MOST_WITHOUT_YES = 200  # arms x seeds


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "run",
        help="carry out a recipe: its arms over several seeds, compared",
        description="Carry out a recipe. Interrupted at any moment, the same command goes on from\n"
        "the last checkpoint; with more seeds or arms only what is new is computed.",
        epilog=recipe_help(),
    )
    parser.instead = set_instead()
    parser.add_argument("recipe", type=Path, help="a TOML file: sections, and arms that override some of them")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="sets",
        help="override a field in the arms that are run: --set train.epochs=20 --set prune.criterion=taylor",
    )  # fmt: skip
    parser.add_argument("--arms", metavar="NAME,...", help="only these arms (default: all)")
    parser.add_argument("--seeds", type=whole, metavar="N", help="seeds 0 to N-1 (default: those of the recipe)")
    parser.add_argument("--data-dir", type=Path, help="where the data set is (see: budbreak data get --help)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of runs and tasks (default: runs)")
    parser.add_argument("--workers", type=whole, metavar="N", help="tasks at a time (default: one per core)")
    parser.add_argument(
        "--executor", metavar="NAME",
        help=f"who computes: {', '.join(EXECUTORS)} (default: processes; here for a single worker)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and what it costs, and stop")
    parser.add_argument("--yes", action="store_true", help=f"begin more than {_MOST_WITHOUT_YES} arms x seeds, too")
    parser.add_argument(
        "--log",
        metavar="MODULE:CALLABLE",
        help="called with a dict after each epoch, e.g. for TensorBoard, W&B or MLflow",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run it; the table, the page and where they lie are printed at the end."""
    names = None if options.arms is None else _names(options.arms)
    recipe = load_recipe(options.recipe, _sets(options.sets), seeds=options.seeds, only=names)
    if options.log:
        import_from_here()
    sink = open_sink(options.log)
    choice = _choice(options, recipe, recipe.arms if names is None else recipe.only(names))
    if not options.yes and not options.dry_run:
        _check_amount(choice)
    overview = look_ahead(choice)
    say(overview_table(overview), overview_lines(overview))
    if options.dry_run:
        return 0

    def tell(event: Event) -> None:
        display.show(event)
        sink(event)

    with Display(epochs=overview.cost.all_epochs, workers=overview.workers) as display:
        result = run(
            choice,
            report=tell,
            working=display.working,
            progress=display.progress,
            at_end=lambda complete: write_report([complete], choice.folder),
        )
    finish(result, choice.folder)
    return 0


def finish(result: RunResult, folder: Path) -> None:
    """Print the short form of the report."""
    say("", terminal_table(result), f"\n{conclusion(result)}", f"run: {folder}\nreport: {lacking() or folder / PAGE}")


def _choice(options: argparse.Namespace, recipe: Recipe, arms: tuple[Arm, ...]) -> Choice:
    alone = 1 if options.executor == "here" else None
    count, threads = share_cores(len(arms) * recipe.seeds, options.workers or alone)
    executor = options.executor or usual_executor(count)
    check_executor(executor, options.workers)
    if executor == "ray":
        threads = 1  # whatever machine it is: equal bits need equal threads
    imports = import_folders(options.recipe, recipe.plain)
    place = Place((options.out / TASKS).resolve(), _resolved(options.data_dir), threads, imports)
    return Choice(recipe, arms, options.out, place, executor, options.workers if executor == "ray" else count)


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InvalidValue(f"--arms is {text!r}", "it is a list of arms", "write --arms host,ap, or leave it out")
    return names


def _sets(texts: list[str]) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    for text in texts:
        path, value = parse_set(text)
        if path in sets:
            raise InvalidValue(f"--set {path} is given twice", "each field is set once", "leave one out")
        sets[path] = value
    return sets


def _check_amount(choice: Choice) -> None:
    """Refuse what is more than a slip of the pen may start."""
    cells = len(choice.arms) * choice.recipe.seeds
    if cells > _MOST_WITHOUT_YES:
        epochs = epochs_of_choice(choice)
        raise InvalidValue(
            f"{len(choice.arms):,} arms x {choice.recipe.seeds} seeds: {cells:,} prunings, {epochs:,} epochs in all",
            f"more than {_MOST_WITHOUT_YES} are begun only when asked for",
            f"add --yes; or --dry-run for the time, --arms, --seeds {max(1, math.isqrt(choice.recipe.seeds))}",
        )
