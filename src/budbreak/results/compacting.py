"""What the final network of a task gives once it is compacted: measured once, noted in a small file beside it.

No part of the task's identity: it changes nothing in the network, and can be measured later, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from budbreak.compaction import Compacted, Cost, compact, measure_gains
from budbreak.data import Images
from budbreak.diagnostics import Quantity
from budbreak.errors import BudbreakError
from budbreak.files import read_json, write_json
from budbreak.foreign import call_foreign
from budbreak.measuring import Meter
from budbreak.results.result import LevelResult
from budbreak.results.retraining import WORDS, retrained_folder, retrained_quantity, suffixed

KIND, _FILE = "compact 1", "compact.json"
BATCH_SIZES = (1, 64)
"""Of the measured latency."""
_LISTED = 3  # of what is left; more is counted
_NAMES = {"dense": "dense network", "compact": "compact network"}
_REMEDY = "delete it: the same command measures it again"
_UNLIKE = "timing: differs from run to run"


def _counts(which: str) -> list[Quantity]:
    network = _NAMES[which]
    return [
        Quantity(f"{which}_parameters", f"parameters of the {network}", "count", "lower"),
        Quantity(f"{which}_macs", f"MACs of the {network}", "count", "lower", "for one image."),
        Quantity(f"{which}_bytes", f"bytes of the {network}", "count", "lower", "of parameters and buffers."),
    ]


def _latency(which: str, batch: int) -> Quantity:
    label = f"latency of the {_NAMES[which]}, batch {batch} (ms)"
    return Quantity(f"{which}_latency_{batch}", label, "", "lower", f"median of wall time; {_UNLIKE}.")


def _speedup(batch: int) -> Quantity:
    about = f"dense / compact latency, median over neighbouring samples; {_UNLIKE}."
    return Quantity(f"compact_speedup_{batch}", f"speedup by compaction, batch {batch}", "", "higher", about)


COMPACTION = (
    *(quantity for which in _NAMES for quantity in _counts(which)),
    *(_latency(which, batch) for batch in BATCH_SIZES for which in _NAMES),
    *(_speedup(batch) for batch in BATCH_SIZES),
    Quantity("compact_difference", "largest output difference by compaction", "", "lower"),
)
"""What is measured of a compacted network."""
DIFFERENCE = COMPACTION[-1]


@dataclass(frozen=True)
class CompactNotes:
    """What ``compact.json`` holds: the numbers (quantity name -> number), none if it was refused, and remarks."""

    numbers: Mapping[str, float]
    remarks: tuple[str, ...]


def compact_once(folder: Path, identity: str, model: nn.Module, images: Images) -> None:
    """Compact a copy of a final network and note what that gives, unless it is noted already; a refusal is noted, too.

    Args:
        folder: where it is noted.
        identity: of the task.
        model: left as it is.
        images: of the training; its outputs are compared on the first 64.
    """
    if not (folder / _FILE).is_file():
        write_json(folder / _FILE, asdict(_measured(model, images)), KIND, store=identity)


def is_compacted(folder: Path, ways: Iterable[str]) -> bool:
    """Whether all of a task that is to be compacted is: its network, and the one that was retrained with its mask."""
    return all((inside / _FILE).is_file() for inside in _folders(folder, ways).values())


def with_compacted(level: LevelResult, folder: Path, identity: str, ways: Iterable[str]) -> LevelResult:
    """The last level of a task with the numbers and remarks of its compaction, as far as they are there."""
    for way, inside in _folders(folder, ways).items():
        if (inside / _FILE).is_file():
            noted = read_json(inside / _FILE, KIND, CompactNotes, stores={identity}, remedy=_REMEDY)
            said = f"compaction {WORDS[way]}" if way else "compaction"
            numbers = suffixed(noted.numbers, way) if way else noted.numbers
            notes = (*level.notes, *(f"{said}: {remark}" for remark in noted.remarks))
            level = replace(level, numbers={**level.numbers, **numbers}, notes=notes)
    return level


def compaction_quantities(ways: Iterable[str]) -> tuple[Quantity, ...]:
    """`COMPACTION`, and the same of a network that was retrained with its mask."""
    return (*COMPACTION, *(retrained_quantity(one, way) for way in ways if way == "masked" for one in COMPACTION))


def is_compaction(name: str) -> bool:
    """Whether a number is one of `COMPACTION`, of a retrained network or not."""
    return any(name in (one.name, *suffixed({one.name: 0.0}, "masked")) for one in COMPACTION)


def _folders(folder: Path, ways: Iterable[str]) -> dict[str, Path]:
    """Way of retraining, "" without one -> where it is noted."""
    return {"": folder} | {way: retrained_folder(folder, way) for way in ways if way == "masked"}


def _measured(model: nn.Module, images: Images) -> CompactNotes:
    example = images.normalised(images.first(max(BATCH_SIZES)).images)
    rule = "a network is compacted without an error"

    def measure() -> CompactNotes:
        found = compact(model, example)
        return CompactNotes(_numbers(model, found, example), tuple(_remarks(found)))

    try:
        return call_foreign("compacting the network", measure, rule=rule, fix="mend the network")
    except BudbreakError as error:
        return CompactNotes({}, (f"refused: {error.value}: {error.rule}",))


def _numbers(model: nn.Module, found: Compacted, example: Tensor) -> dict[str, float]:
    # no patience: other tasks may keep the machine busy for hours
    gains = measure_gains(model, found.model, example, batches=BATCH_SIZES, meter=Meter(mode="wall", patience=0.0))
    numbers = _of_cost("dense", gains.before, len(example)) | _of_cost("compact", gains.after, len(example))
    for one in gains.latencies:
        numbers[f"dense_latency_{one.batch}"] = 1e3 * one.dense
        numbers[f"compact_latency_{one.batch}"] = 1e3 * one.compact
        numbers[f"compact_speedup_{one.batch}"] = one.speedup
    return numbers | {DIFFERENCE.name: found.difference}


def _of_cost(which: str, cost: Cost, samples: int) -> dict[str, float]:
    return {
        f"{which}_parameters": float(cost.parameters),
        f"{which}_macs": cost.macs / samples,
        f"{which}_bytes": float(cost.bytes),
    }


def _remarks(found: Compacted) -> list[str]:
    more = len(found.left) - _LISTED
    return [*map(str, found.left[:_LISTED]), *([f"and {more} more"] if more > 0 else [])]
