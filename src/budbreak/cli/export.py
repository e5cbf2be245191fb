"""``budbreak export MODEL``: write a network to files, verified and measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from budbreak.checks import check_count
from budbreak.cli.asking import request_of
from budbreak.cli.console import say
from budbreak.cli.parser import import_from_here, number, whole
from budbreak.compaction import Compacted, compact
from budbreak.data import Images
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.exporting import (
    AS_IS,
    COMPACT,
    DENSE,
    FAMILY,
    NOTHING_CUT,
    Artifact,
    Candidate,
    Fastest,
    SideBySide,
    check_forms,
    choose_fastest,
    describe,
    is_smaller,
    measure_side_by_side,
    recommendation,
    write_forms,
)
from budbreak.live import apply_mask
from budbreak.measuring import Meter
from budbreak.reporting import Stacked
from budbreak.studies import BEST, MAX_DROP, Leaving, find_leaving


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a network of a run, or your own, to verified files",
        description="Write a network to files for others to run. Each is verified against the network\n"
        "on images of the validation part before it takes its name.",
    )
    parser.add_argument("model", help="the folder of a run (with --arm), a recipe, or package.module:factory")
    parser.add_argument(
        "--to", nargs="+", metavar="FORM",
        help=f"of {', '.join(sorted(FAMILY.names))} (default: safetensors; with --fastest that of the fastest)",
    )  # fmt: skip
    _add_choice(parser)
    parser.add_argument("--out", type=Path, help="folder of the files (default: exported/NAME)")
    parser.add_argument("--compact", action="store_true", help="cut dead units out first")
    parser.add_argument("--images", type=whole, default=256, metavar="N", help="to verify with (default: 256)")
    parser.add_argument(
        "--measure", action="store_true", help="size and latency of dense, as is, compact, in each installed runtime"
    )
    parser.add_argument(
        "--fastest", action="store_true",
        help="choose by measurement, of itself, compact, factors and sparse rows in each installed runtime,"
        " the fastest that loses at most --max-drop of the dense validation accuracy",
    )  # fmt: skip
    parser.add_argument("--batch", type=whole, default=1, metavar="N", help="images at once for --fastest (default: 1)")
    parser.add_argument("--rounds", type=whole, default=9, metavar="N", help="samples of a latency (default: 9)")
    parser.set_defaults(execute=execute)


def _add_choice(parser: Any) -> None:
    """The options that say which network is meant."""
    parser.add_argument("--arm", help="of the run; the only one unless given")
    parser.add_argument("--seed", type=whole, help="of the run, or of a fresh initialisation (default: 0)")
    parser.add_argument(
        "--level", type=_level, metavar="N|best",
        help="at whose end (default: the newest); best: the sparsest that is as good as the dense one in validation",
    )  # fmt: skip
    parser.add_argument(
        "--max-drop", type=number, default=MAX_DROP, metavar="X",
        help=f"validation accuracy that --level best and --fastest may lose (default: {MAX_DROP:g})",
    )  # fmt: skip
    parser.add_argument("--network", metavar="MODULE:FACTORY", help="the factory of a recipe or run that has one")
    parser.add_argument("--weights", type=Path, help="a safetensors file with a state dict, or a store of bb.iterate")
    parser.add_argument("--mask", type=Path, help="a saved mask, applied to the weights")
    parser.add_argument("--data-dir", type=Path, help="where the data set is")
    parser.add_argument("--dataset", help="name of the data set (default: that of the recipe)")


def execute(options: argparse.Namespace) -> int:
    """Find the network, write it, print what was written and measured."""
    _check(options)
    if options.network or ":" in options.model:
        import_from_here()
    leaving = find_leaving(request_of(options), level=options.level, max_drop=options.max_drop)
    part, images = _images(leaving)
    example = images.normalised(images.first(options.images).images)
    own = _masked(leaving)
    say(f"{leaving.subject.origin}; verified on {len(example)} images of {leaving.subject.dataset}, {part}")
    network, forms, fastest = own, options.to or ["safetensors"], None
    if options.fastest:
        fastest = _fastest(leaving, own, images, example, options)
        network, forms = fastest.model, list(dict.fromkeys([fastest.best.form, *(options.to or ())]))
    elif options.compact:
        network = compact(own, example)
    folder = options.out or Path("exported") / _name(leaving, options)
    artifacts = write_forms(network, folder, forms, example=example)
    say(_written(artifacts), *_notes(artifacts))
    found = _side_by_side(leaving, network, example, options.rounds) if options.measure else None
    if found is not None:
        sizes = {one.format: one.bytes for one in artifacts}
        say(_measured(found), found.how, *found.notes, *recommendation(found, sizes))
    written = network.model if isinstance(network, Compacted) else network
    more = {} if fastest is None else fastest.sections(part)
    _, card = describe(leaving, written, artifacts, example=example, measured=found, more=more).save(folder)
    say(f"files: {folder}/{', '.join(file.path.name for one in artifacts for file in one.files)}", f"card: {card}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is read."""
    check_forms(options.to or ())
    for name in ("images", "rounds", "batch"):
        check_count(f"--{name}", getattr(options, name))
    if options.fastest and options.compact:
        raise InvalidValue("--compact is given with --fastest", "compaction is one of its candidates", "leave one out")


def _fastest(leaving: Leaving, own: nn.Module, images: Images, example: Tensor, options: argparse.Namespace) -> Fastest:
    """Measure the candidates, and print them."""
    found = choose_fastest(
        own, images, dense=leaving.dense, example=example, batch=options.batch, max_drop=options.max_drop,
        meter=Meter(mode="wall", rounds=options.rounds),
    )  # fmt: skip
    say(_candidates(found.candidates), found.how, *found.notes)
    say(str(found))
    return found


def _level(text: str) -> int | Literal["best"]:
    """The type of --level."""
    return BEST if text == BEST else whole(text)


def _images(leaving: Leaving) -> tuple[str, Images]:
    """The validation part; the training part where nothing is held out."""
    parts = leaving.subject.parts
    return ("validation", parts.validation) if len(parts.validation) else ("train", parts.train)


def _masked(leaving: Leaving) -> nn.Module:
    model = leaving.subject.model.eval()
    if leaving.subject.mask is not None:
        apply_mask(model, leaving.subject.mask)
    return model


def _name(leaving: Leaving, options: argparse.Namespace) -> str:
    """E.g. "digits-mlp-1234-host-seed0-level12-compact"."""
    path = Path(options.model)
    stem = options.model.rpartition(":")[2] if ":" in options.model else path.stem
    parts = [path.resolve().name if path.is_dir() else stem]
    parts += [] if leaving.arm is None else [leaving.arm, f"seed{leaving.seed}"]
    parts += [] if leaving.subject.level is None else [f"level{leaving.subject.level}"]
    parts += ["compact"] * options.compact + ["fastest"] * options.fastest
    return "-".join("".join(c if c.isalnum() or c in "._=" else "-" for c in part) for part in parts)


def _side_by_side(leaving: Leaving, network: nn.Module | Compacted, example: Tensor, rounds: int) -> SideBySide:
    """The dense network of the same run, the one that leaves, and what compaction makes of it."""
    networks = {} if leaving.dense is None else {DENSE: leaving.dense.eval()}
    networks[AS_IS], refused = leaving.subject.model, ""
    try:
        small = network if isinstance(network, Compacted) else compact(network, example)
        if not is_smaller(small.model, leaving.subject.model):
            refused = NOTHING_CUT
        else:
            networks[COMPACT] = small.model
    except BudbreakError as error:  # what is not asked for, only measured beside, stops nothing
        refused = f"not compacted: {error.value}"
    found = measure_side_by_side(networks, example, meter=Meter(mode="wall", rounds=rounds))
    return replace(found, notes=(*found.notes, *([refused] if refused else [])))


def _written(artifacts: tuple[Artifact, ...]) -> Stacked:
    fields = ("form", "bytes", "largest\ndifference", "mean\ndifference", "predictions\nagree")
    records = [
        (
            one.format,
            f"{one.bytes:,}",
            f"{one.agreement.largest:.2g}",
            f"{one.agreement.mean:.2g}",
            "" if one.agreement.predictions is None else f"{100 * one.agreement.predictions:.4g} %",
        )
        for one in artifacts
    ]
    return Stacked(fields, tuple(records))


def _candidates(candidates: Sequence[Candidate]) -> Stacked:
    fields = ("network", "bytes", f"ms, batch {candidates[0].latency.batch}\n(quartiles)", "accuracy", "front")
    records = [
        (f"{row.network}, {row.runtime}", f"{row.bytes:,}", str(row.latency), f"{row.accuracy:.4f}", "*" * row.on_front)
        for row in candidates
    ]
    return Stacked(fields, tuple(records))


def _notes(artifacts: tuple[Artifact, ...]) -> list[str]:
    return [f"{one.format}: {note}" for one in artifacts for note in one.notes]


def _measured(found: SideBySide) -> Stacked:
    batches = [one.batch for one in found.rows[0].latencies] if found.rows else []
    fields = ("network", "bytes", *(f"ms, batch {batch}\n(quartiles)" for batch in batches))
    records = [(f"{row.network}, {row.runtime}", f"{row.bytes:,}", *map(str, row.latencies)) for row in found.rows]
    return Stacked(fields, tuple(records))
