"""``budbreak probe MODEL``: print and save the dead neuron rate of a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from budbreak.cli.asking import request_of
from budbreak.cli.console import say
from budbreak.cli.parser import import_from_here, number, whole
from budbreak.diagnostics import DeadUnitRates, SiteRates
from budbreak.errors import spelt
from budbreak.reporting import Stacked
from budbreak.studies import find_subject, measure_subject, save_measurement


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("probe", help="measure dead neurons: total, static, dynamic, permanent")
    parser.add_argument(
        "model",
        help="a recipe (its fresh network), the folder of a run (with --arm), or package.module:factory",
    )
    parser.add_argument("--arm", help="of the run: its newest checkpoint is measured")
    parser.add_argument(
        "--network",
        metavar="MODULE:FACTORY",
        help="the factory of a recipe or run that has one: code is imported only when it is named here",
    )
    parser.add_argument("--data-dir", type=Path, help="where the data set is")
    parser.add_argument("--dataset", help="name of the data set (default: that of the recipe)")
    parser.add_argument("--part", choices=("train", "validation", "test"), default="train", help="(default: train)")
    parser.add_argument(
        "--images", type=whole, default=0, metavar="N", help="the first N images only; 0: all (default)"
    )
    parser.add_argument("--every", type=whole, default=1, metavar="N", help="each N-th batch only (default: 1)")
    parser.add_argument(
        "--threshold",
        type=number,
        default=0.0,
        help="|output| <= this is dead (default 0; smooth activations need more)",
    )
    parser.add_argument("--weights", type=Path, help="a safetensors file with a state dict, or a store of bb.iterate")
    parser.add_argument("--mask", type=Path, help="a saved mask; decides what is static (default: the zeros)")
    parser.add_argument("--seed", type=whole, help="of the run, or of a fresh initialisation (default: 0)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the numbers as JSON as well")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Measure, print, save."""
    if options.network or ":" in options.model:
        import_from_here()
    subject = find_subject(request_of(options))
    dead = measure_subject(
        subject, part=options.part, images=options.images, threshold=options.threshold, every=options.every
    )
    say(f"{subject.origin}; {subject.dataset}, {options.part}", _sites(dead), "\n".join([dead.basis, *dead.remarks]))
    if options.save is not None:
        save_measurement(options.save, subject, dead, part=options.part)
        say(f"saved: {options.save}")
    return 0


def _sites(dead: DeadUnitRates) -> Stacked:
    """A record for each site, and one for all that have an answer."""
    counted = sum(site.outputs for site in dead.sites if not site.needs_threshold)
    records = [_record(site.site, site.outputs, site, site.weight or "no weight alone") for site in dead.sites]
    fields = ("site", "outputs", "total", "static", "dynamic", "permanent", "fed by")
    return Stacked(fields, (*records, _record("all", counted, dead, "")), folding=(0, 6))


def _record(name: str, outputs: int, rates: SiteRates | DeadUnitRates, fed_by: str) -> tuple[str, ...]:
    if isinstance(rates, SiteRates) and rates.needs_threshold:
        return (spelt(name), f"{outputs:,}", "threshold?", "", "", "", spelt(fed_by))
    shares = (f"{share:.4f}" for share in (rates.total, rates.static, rates.dynamic, rates.permanent))
    return (spelt(name), f"{outputs:,}", *shares, spelt(fed_by))
