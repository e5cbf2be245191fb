"""``budbreak export MODEL``: write a network to files, verified and measured."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from budbreak.checks import check_count
from budbreak.cli.asking import request_of
from budbreak.cli.console import say
from budbreak.cli.export_tables import notes_of, table_of_candidates, table_of_files, table_of_latencies
from budbreak.cli.parser import import_from_here, number, whole
from budbreak.compaction import Compacted, compact
from budbreak.data import Images
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.exporting import (
    AS_IS,
    COMPACT,
    DENSE,
    FAMILY,
    HALVES,
    LOW_BITS,
    NOTHING_CUT,
    TOLERANCES,
    Exporter,
    Fastest,
    LowBits,
    SideBySide,
    check_forms,
    choose_fastest,
    configured,
    describe,
    is_smaller,
    measure_side_by_side,
    older_files,
    recommendation,
    takes,
    write_forms,
)
from budbreak.live import apply_mask
from budbreak.measuring import Meter
from budbreak.studies import BEST, MAX_DROP, Leaving, dense_alone, find_leaving


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a network of a run, or your own, to verified files",
        description="Write a network to files for others to run. Each is verified against the network\n"
        "on images of the validation part before it takes its name.",
    )
    parser.add_argument(
        "model", nargs="?", help="the folder of a run (with --arm), a recipe, or package.module:factory"
    )
    parser.add_argument(
        "--to", nargs="+", metavar="FORM",
        help=f"of {', '.join(sorted(FAMILY.names))} (default: safetensors; with --fastest that of the fastest)",
    )  # fmt: skip
    _add_choice(parser)
    parser.add_argument("--out", type=Path, help="folder of the files (default: exported/NAME)")
    parser.add_argument("--compact", action="store_true", help="cut dead units out first")
    parser.add_argument(
        "--dead-on-data", action="store_true",
        help="with --compact: those, too, that give one value for all images of --calibration; others may differ",
    )  # fmt: skip
    parser.add_argument(
        "--round-widths", type=whole, default=1, metavar="N",
        help="with --compact: leave so many dead units that widths are multiples of N, which kernels may like",
    )  # fmt: skip
    _add_rounding(parser)
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


def _add_rounding(parser: Any) -> None:
    """The options of forms that round."""
    parser.add_argument(
        "--values", metavar="DTYPE",
        help=f"store them as {' or '.join(HALVES)}, in those of --to that can: safetensors, packed, openvino",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=number, metavar="X",
        help="accept a mean difference of outputs of this share of their magnitude from forms that round"
        f" (default: {', '.join(f'{name} {limit:g}' for name, limit in TOLERANCES.items())})",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=whole, default=256, metavar="N",
        help="images of the training part for ranges of 8 bits, and for --dead-on-data (default: 256)",
    )  # fmt: skip
    parser.add_argument(
        "--low-bits", action="store_true",
        help=f"let --measure and --fastest try {', '.join(LOW_BITS)}, too, which round",
    )  # fmt: skip


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
    _take_model(options)
    _check(options)
    if options.network or ":" in options.model:
        import_from_here()
    leaving = find_leaving(request_of(options), level=options.level, max_drop=options.max_drop)
    part, images = _images(leaving)
    example = images.normalised(images.first(options.images).images)
    own = _masked(leaving)
    say(f"{leaving.subject.origin}; verified on {len(example)} images of {leaving.subject.dataset}, {part}")
    if options.level == BEST and leaving.run is not None and leaving.arm is not None and leaving.seed is not None:
        alone = dense_alone(leaving.run, leaving.arm, leaving.seed, max_drop=options.max_drop)
        if alone:
            say(alone)
    calibrate = _calibration(leaving, options)
    low_bits = LowBits(calibrate, options.tolerance) if options.low_bits else None
    fastest = _fastest(leaving, own, images, example, options=options, low_bits=low_bits) if options.fastest else None
    network = own if fastest is None else fastest.model
    if options.compact:
        dead_on = calibrate if options.dead_on_data else None
        network = compact(own, example, dead_on=dead_on, multiple=options.round_widths)
        say(*str(network).splitlines()[: 2 + options.dead_on_data])
    folder = options.out or Path("exported") / _name(leaving, options)
    artifacts = write_forms(network, folder, _exporters(options, fastest, calibrate), example=example)
    say(table_of_files(artifacts), *notes_of(artifacts))
    found = _side_by_side(leaving, network, example, options.rounds, low_bits=low_bits) if options.measure else None
    if found is not None:
        sizes = {one.format: one.bytes for one in artifacts}
        say(table_of_latencies(found), found.how, *found.notes, *recommendation(found, sizes))
    more = {} if fastest is None else fastest.sections(part)
    _, card = describe(leaving, network, artifacts, example=example, measured=found, more=more).save(folder)
    say(f"files: {folder}/{', '.join(file.path.name for one in artifacts for file in one.files)}", f"card: {card}")
    if older := older_files(folder, artifacts):
        say(f"left by an earlier export, and not in the card: {', '.join(path.name for path in older)}")
    return 0


def _take_model(options: argparse.Namespace) -> None:
    """``--to onnx RUN`` means the run RUN, though --to takes all the words that follow it."""
    words = list(options.to or ())
    if options.model is None and words and words[-1] not in FAMILY.names:
        options.model, options.to = words[-1], words[:-1]
    if options.model is None or options.to == []:
        missing = "network" if options.model is None else "form"
        raise InvalidValue(
            f"no {missing} is given",
            "what leaves is the network of a run, a recipe or a factory, in the forms of --to",
            "write budbreak export RUN --to onnx",
        )


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is read."""
    check_forms(options.to or ())
    for name in ("images", "rounds", "batch", "calibration"):
        check_count(f"--{name}", getattr(options, name))
    if options.fastest and options.compact:
        raise InvalidValue("--compact is given with --fastest", "compaction is one of its candidates", "leave one out")
    for name, given in {"--dead-on-data": options.dead_on_data, "--round-widths": options.round_widths != 1}.items():
        if given and not options.compact:
            raise InvalidValue(f"{name} is given without --compact", "it says which units are cut", "give both")
    if options.low_bits and not (options.measure or options.fastest):
        rule = "it lets these try networks in low bits"
        raise InvalidValue(
            "--low-bits is given without --measure and --fastest", rule, "write --to onnx-int8 to get it"
        )
    _check_rounding(options)


def _check_rounding(options: argparse.Namespace) -> None:
    """Refuse values and tolerances that no form takes."""
    forms = options.to or ([] if options.fastest else ["safetensors"])
    others = [form for form in forms if not takes(form, "values")] or ["--fastest"] * (not forms)
    if options.values is not None and others:
        able = ", ".join(form for form in FAMILY.names if takes(form, "values"))
        raise InvalidValue(f"--values is given for {others[0]}", f"{able} store them", "name these alone by --to")
    for form in forms:
        configured(form, values=options.values, tolerance=options.tolerance)  # refuses what it does not store
    rounds = options.values is not None or any(takes(form, "calibrate") for form in forms) or options.low_bits
    if options.tolerance is not None and not rounds:
        raise InvalidValue("--tolerance is given, and no form rounds", "it is for those that do", "leave it out")


def _exporters(options: argparse.Namespace, fastest: Fastest | None, calibrate: Tensor) -> list[Exporter]:
    """The forms in which it leaves: of the fastest the accuracy floor says what may be lost."""
    asked = options.to or ([] if fastest is not None else ["safetensors"])
    told = {
        form: configured(form, values=options.values, tolerance=options.tolerance, calibrate=calibrate)
        for form in asked
    }
    if fastest is not None:
        best = fastest.best.form
        told = {best: told.get(best) or configured(best, calibrate=calibrate), **told}
        if fastest.best.runtime in LOW_BITS:
            told[best] = configured(best, calibrate=calibrate, tolerance=math.inf)
    return list(told.values())


def _calibration(leaving: Leaving, options: argparse.Namespace) -> Tensor:
    """Images of the training part."""
    train = leaving.subject.parts.train
    return train.normalised(train.first(options.calibration).images)


def _fastest(
    leaving: Leaving, own: nn.Module, images: Images, example: Tensor, *, options: argparse.Namespace,
    low_bits: LowBits | None,
) -> Fastest:  # fmt: skip
    """Measure the candidates, and print them."""
    found = choose_fastest(
        own, images, dense=leaving.dense, example=example, batch=options.batch, max_drop=options.max_drop,
        meter=Meter(mode="wall", rounds=options.rounds), low_bits=low_bits,
    )  # fmt: skip
    say(table_of_candidates(found.candidates), found.how, *found.notes)
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
    parts += ["compact"] * options.compact + ["dead-on-data"] * options.dead_on_data + ["fastest"] * options.fastest
    return "-".join("".join(c if c.isalnum() or c in "._=" else "-" for c in part) for part in parts)


def _side_by_side(
    leaving: Leaving, network: nn.Module | Compacted, example: Tensor, rounds: int, *, low_bits: LowBits | None
) -> SideBySide:
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
    found = measure_side_by_side(networks, example, meter=Meter(mode="wall", rounds=rounds), low_bits=low_bits)
    return replace(found, notes=(*found.notes, *([refused] if refused else [])))
