"""What `iterate` recorded in somebody's own loops, as a run that is reported like any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from budbreak.checks import check_known, shown
from budbreak.diagnostics import ALL, Quantity
from budbreak.errors import InvalidValue
from budbreak.files import digest
from budbreak.iteration import LevelRecord, Store, read_records
from budbreak.results.compare import differences_of_strangers
from budbreak.results.result import TRAINING, ArmResult, Counted, LevelResult, RunResult

History = Sequence[LevelRecord] | str | Path
"""``levels.history``, or the folder of a store."""

Arm = History | Sequence[History]
"""One history per seed, or a single one, or the folder of several stores."""

Histories = Arm | Mapping[str, Arm]
"""One arm, or several by name, or the folder of such folders."""

_OWN = (Quantity("accuracy", "accuracy", "share", "higher"), Quantity("loss", "loss", "", "lower"))
_KNOWN = {q.name: q for q in (*TRAINING, *_OWN, *(quantity for kind in ALL for quantity in kind.quantities))}
_WRITE = 'write {"host": [levels.history], "ap": [other_levels.history]}, a history for each seed'


def run_of_histories(
    histories: Histories, *, name: str = "own loop", reference: str | None = None, quantities: Sequence[Quantity] = ()
) -> RunResult:
    """A run of what own loops recorded.

    Args:
        histories: see `Histories`. The histories of an arm are its seeds 0, 1, ..., a store's that which it was given.
        name: of the run.
        reference: the arm that the others are compared with; the first unless given.
        quantities: what recorded numbers are, the one that is compared first: "accuracy", "loss" and the names of
            budbreak's own are known; any other number is shown without a unit, neither way better.

    Raises:
        InvalidValue: for what is no history, one without a level or a number, shares outside [0, 1].
        UnknownName: if there is no such reference.
        CorruptFile, StoreMismatch: if a store is damaged.
    """
    given = dict(_arms(histories))
    levels = tuple(level for arm in given for seed, h in enumerate(given[arm]) for level in _levels(arm, seed, h))
    _check_once(levels)
    found = _quantities(levels, quantities)
    first = reference or next(iter(given))
    check_known(f"no arm is named {first!r}", first, given)
    arms = tuple(ArmResult(arm, None if arm == first else first, {}) for arm in given)
    return RunResult(
        name=name,
        identity=digest([[level.arm, level.seed, level.level, level.kept, dict(level.numbers)] for level in levels]),
        recipe={},
        environment={},
        arms=arms,
        seeds=tuple(sorted({level.seed for level in levels})),
        complete=True,
        seconds=sum(level.seconds for level in levels),
        quantities=found,
        levels=levels,
        differences=tuple(differences_of_strangers(levels, arms, found)),
    )


def _arms(histories: object) -> Iterator[tuple[str, Sequence[object]]]:
    if isinstance(histories, Mapping):
        if not histories:
            raise InvalidValue("there is no arm to report", "histories holds one at least", _WRITE)
        yield from ((str(name), _seeds(arm)) for name, arm in cast(Mapping[object, object], histories).items())
    elif isinstance(histories, str | Path) and not _is_store(Path(histories)):
        folder = Path(histories)
        arms = {inside.name: stores for inside in sorted(folder.glob("*/")) if (stores := _stores(inside))}
        yield from (arms or {folder.name: _seeds(folder)}).items()
    else:
        yield "pruned", _seeds(histories)


def _seeds(arm: object) -> Sequence[object]:
    if isinstance(arm, str | Path):
        stores = [Path(arm)] if _is_store(Path(arm)) else _stores(Path(arm))
        if not stores:
            rule, fix = "a store has an identity.json", "give what iterate(store=...) was given, or a folder of such"
            raise InvalidValue(f"{arm} holds no store", rule, fix)
        return stores
    items = cast(Sequence[object], arm) if isinstance(arm, list | tuple) else ()
    if not items or _is_record(items[0]):
        return [arm]
    return [one for item in items for one in (_seeds(item) if isinstance(item, str | Path) else [item])]


def _stores(folder: Path) -> list[Path]:
    return [inside for inside in sorted(folder.glob("*/")) if _is_store(inside)]


def _is_store(folder: Path) -> bool:
    return (folder / "identity.json").is_file()


def _is_record(value: object) -> bool:
    return isinstance(value, LevelRecord)


def _check_once(levels: Sequence[LevelResult]) -> None:
    (place, times), *_ = Counter((level.arm, level.seed, level.level) for level in levels).most_common(1)
    if times > 1:
        value = f"arm {place[0]!r} has {times} histories of seed {place[1]}"
        raise InvalidValue(value, "each of its histories has a seed of its own", "leave one out, or name another arm")


def _levels(arm: str, seed: int, history: object) -> Iterator[LevelResult]:
    """The levels that are over; the numbers are those of their last training, the costs those of all."""
    if isinstance(history, Path):
        store = Store(history)
        seed = store.look()["seed"]
        history = read_records(store.folder, store.identity)
    where, rule = f"arm {arm!r}, history {seed}", "a history is levels.history, or the folder of a store"
    records = cast("list[LevelRecord]", history)
    if not isinstance(history, list | tuple) or not all(map(_is_record, records)):
        raise InvalidValue(f"{where} is {shown(history)}", rule, _WRITE)
    over = [record for record in records if record.last_stage]
    if not over:
        raise InvalidValue(f"{where} has no level that is over", "there must be a level to report", "train it first")
    for last in over:
        yield _level(arm, seed, [record for record in records if record.level == last.level])


def _level(arm: str, seed: int, stages: Sequence[LevelRecord]) -> LevelResult:
    last = stages[-1]
    return LevelResult(
        arm=arm,
        seed=seed,
        level=last.level,
        kept=last.kept,
        total=last.total,
        density=last.density,
        density_all=last.density_all,
        epochs=sum(stage.epochs for stage in stages),
        steps=sum(stage.steps for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
        numbers=last.metrics,
        invariants=last.invariants,
        layers=(),
        curve=(),
        notes=tuple(stage.ending for stage in stages if stage.ending),
        counted=None if last.counted == "weights" else Counted(last.counted_kept, last.counted_total, last.counted),
    )


def _quantities(levels: Sequence[LevelResult], given: Sequence[Quantity]) -> tuple[Quantity, ...]:
    """What was recorded, the given ones first."""
    names = dict.fromkeys(name for level in levels for name in level.numbers)
    if not names:
        raise InvalidValue("no number was recorded", "a report compares numbers", "write level.record(accuracy=...)")
    told = {quantity.name: quantity for quantity in given}
    for name in told.keys() - names.keys():
        raise InvalidValue(f"quantity {name!r} was never recorded", f"these were: {', '.join(names)}", "leave it out")
    own = {name: _KNOWN.get(name, Quantity(name, name.replace("_", " "))) for name in names}
    found = {**told, **{name: quantity for name, quantity in own.items() if name not in told}}
    for level in levels:
        for name, value in level.numbers.items():
            if found[name].unit == "share" and not 0 <= value <= 1:
                fix = f"record {value / 100:g}" if 1 < value <= 100 else f"give quantities=[Quantity({name!r}, ...)]"
                raise InvalidValue(f"{name} is {value:g} at level {level.level}", "a share lies in [0, 1]", fix)
    return tuple(found.values())
