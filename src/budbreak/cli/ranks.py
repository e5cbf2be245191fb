"""``budbreak ranks MODEL``: print the ranks of a network's weights, and write their spectra."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from budbreak.cli.console import say
from budbreak.cli.parser import number, whole
from budbreak.errors import InvalidValue, spelt
from budbreak.files import write_json, write_text
from budbreak.lowrank import NUMBERS, Ranks, Tolerance, matrix_text, ranks_of
from budbreak.reporting import Stacked
from budbreak.results import to_csv
from budbreak.studies import stored_weights

_FORMATS = ("table", "csv", "json")


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "ranks", help="ranks of a network's weights: numerical, stable, effective, energy; and their spectra"
    )
    parser.add_argument(
        "model",
        help="a safetensors file with a state dict, such as networks/ of a run holds; the folder of a run (with "
        "--arm), of a task, of a compact model, or a store of bb.iterate. Weights are read as [first dimension, all "
        "others]",
    )
    parser.add_argument("--arm", help="of the run")
    parser.add_argument("--seed", type=whole, help="of the run (default: 0)")
    parser.add_argument(
        "--level", type=whole, metavar="N", help="at the end of level N, where it was kept (default: the newest)"
    )
    usual = Tolerance()
    parser.add_argument(
        "--absolute",
        type=number,
        default=usual.absolute,
        metavar="X",
        help="singular values over X count for the absolute rank (default: %(default)s)",
    )
    parser.add_argument(
        "--relative",
        type=number,
        default=usual.relative,
        metavar="X",
        help="those over X times the largest for the relative one (default: %(default)s)",
    )
    parser.add_argument(
        "--energy",
        type=number,
        default=usual.energy,
        metavar="X",
        help="the share of the sum of squares of the energy rank (default: %(default)s)",
    )
    parser.add_argument("--format", choices=_FORMATS, default="table", help="what is printed (default: table)")
    parser.add_argument(
        "--spectra", type=Path, metavar="FILE", help="write all singular values, as .csv or .json by its name"
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Measure, write, print."""
    _check_suffix(options.spectra)
    cuts = Tolerance(absolute=options.absolute, relative=options.relative, energy=options.energy)
    stored = stored_weights(options.model, arm=options.arm, seed=options.seed, level=options.level)
    ranks = ranks_of(stored.weights, tolerance=cuts)
    if options.spectra is not None:
        _write_spectra(options.spectra, ranks, stored.origin)
    if options.format == "table":
        say(stored.origin, _table(ranks), ranks.basis)
        if options.spectra is not None:
            say(f"spectra: {options.spectra}")
    else:
        rows = json.dumps(ranks.rows, indent=1) + "\n" if options.format == "json" else to_csv(ranks.rows)
        sys.stdout.write(rows)
    return 0


def _check_suffix(path: Path | None) -> None:
    if path is not None and path.suffix not in (".csv", ".json"):
        fix = f"write {path.with_suffix('.csv')}" if path.name else "write spectra.csv"
        raise InvalidValue(f"--spectra is {str(path)!r}", "spectra are written as .csv or .json", fix)


def _write_spectra(path: Path, ranks: Ranks, origin: str) -> None:
    if path.suffix == ".json":
        write_json(path, {"model": origin, "spectra": ranks.spectra}, "spectra 1")
        return
    rows = [
        {"weight": weight, "rank": rank, "value": value}
        for weight, values in ranks.spectra.items()
        for rank, value in enumerate(values, start=1)
    ]
    write_text(path, to_csv(rows))


def _table(ranks: Ranks) -> Stacked:
    """A record for each weight, and one for all."""
    records = [(spelt(layer.weight), matrix_text(layer), *_texts(layer.numbers)) for layer in ranks.layers]
    return Stacked(("weight", "matrix", *NUMBERS), (*records, ("all", "", *_texts(ranks.total))))


def _texts(numbers: dict[str, float]) -> list[str]:
    return [f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in numbers.values()]
