"""``budbreak run RECIPE``: prune a network with and without AP, and compare."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budbreak.cli.display import Display
from budbreak.cli.folding import folded
from budbreak.cli.parser import import_from_here, number, whole
from budbreak.cli.sinks import open_sink
from budbreak.report import PAGE, conclusion, terminal_table, write_report
from budbreak.studies import Event, Recipe, RunResult, field_types, load_recipe, look_ahead, overridden, run

_BOOLEANS = {"true": True, "false": False}


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "run",
        help="carry out a recipe: prune with and without AP over several seeds, and compare",
        description="Carry out a recipe. Interrupted at any moment, the same command goes on from the last checkpoint.",
    )
    parser.add_argument("recipe", type=Path, help="a TOML file; each field can be overridden below")
    parser.add_argument("--data-dir", type=Path, help="where the data set is (see: budbreak data get --help)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the run's folder is made here (default: runs)")
    parser.add_argument("--workers", type=whole, metavar="N", help="processes at a time (default: one per core)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument(
        "--log",
        metavar="MODULE:CALLABLE",
        help="called with a dict after each epoch, e.g. for TensorBoard, W&B or MLflow",
    )
    fields = parser.add_argument_group("fields of the recipe (lists: comma separated, or none)")
    for field in dataclasses.fields(Recipe):
        kind = field_types()[field.name]
        default = (
            "required in the recipe" if field.default is dataclasses.MISSING else f"default: {_show(field.default)}"
        )
        fields.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=f"field_{field.name}",
            type=_parser_of(kind),
            metavar=_metavar(kind),
            help=f"{field.metadata['help']} ({default})".replace("%", "%%"),
        )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run it; the table, the page and where they lie are printed at the end."""
    given = vars(options).items()
    overrides = {
        key.removeprefix("field_"): value for key, value in given if key.startswith("field_") and value is not None
    }
    recipe = load_recipe(options.recipe, overrides)
    for field, because in overridden(options.recipe, overrides).items():
        text = f"{field} of {options.recipe} is set aside: it has no effect with the --{because} that was given"
        print(folded(text))
    if ":" in recipe.network or options.log:
        import_from_here()
    sink = open_sink(options.log)
    overview = look_ahead(recipe, data_dir=options.data_dir, out=options.out, workers=options.workers)
    print(folded(str(overview)))
    if options.dry_run:
        return 0

    def tell(event: Event) -> None:
        display.show(event)
        sink(event)

    with Display(jobs=overview.jobs, epochs=overview.epochs, levels=overview.preview.rows[-1].level) as display:
        result = run(
            recipe,
            data_dir=options.data_dir,
            out=options.out,
            workers=options.workers,
            report=tell,
            job_done=display.job_done,
            at_end=lambda complete: write_report([complete], overview.folder),
        )
    finish(result, overview.folder)
    return 0


def finish(result: RunResult, folder: Path) -> None:
    """Print the short form of the report."""
    print(terminal_table(result))
    print(folded(conclusion(result)))
    print(f"run: {folder}\nreport: {folder / PAGE}")


def _parser_of(kind: Any) -> Any:
    """What turns the text of a flag into a value of the field's type."""
    if typing.get_origin(kind) is tuple:
        return functools.partial(_list, _parser_of(typing.get_args(kind)[0]))
    return {bool: _boolean, int: whole, float: number, str: str}[kind]


def _list(inner: Callable[[str], Any], text: str) -> tuple[Any, ...]:
    parts = [] if text == "none" else text.split(",")
    return tuple(inner(part.strip()) for part in parts if part.strip())


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return _BOOLEANS[text.lower()]


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"{_metavar(typing.get_args(kind)[0])},..."
    return {bool: "true|false", int: "N", float: "X", str: "NAME"}[kind]


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, typing.cast("tuple[Any, ...]", value))) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
