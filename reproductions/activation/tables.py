"""Tables of accuracy and rank of one study: mean +- standard deviation over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from budbreak.results import TEST_ACCURACY, VALIDATION_ACCURACY, Difference
from reproductions.activation.stored import STANDARD
from reproductions.activation.studies import DENSE, Measured, last
from reproductions.cells import REWOUND, Cell
from reproductions.study import ALPHA, Pair
from reproductions.wording import NOTHING, percent, points, table, with_spread

TEST, VALIDATION = TEST_ACCURACY.name, VALIDATION_ACCURACY.name
MOMENTS = {
    "validation right after the last pruning": f"{REWOUND}{VALIDATION}",
    "test at the end": TEST,
    "test after masked retraining": f"{TEST}_masked",
    "test after mask-free retraining": f"{TEST}_free",
}
COUNTING = ("units", "count-weights", "units-local", "count-weights-local")
OTHERS = ("magnitude", STANDARD, "random", DENSE)
PAIRS: tuple[Pair, ...] = tuple((arm, other) for arm in COUNTING for other in OTHERS)
_MOST_PRUNINGS = 10  # more are a gradual pruning: its steps are no prunings to recover from


def accuracy_table(measured: Measured) -> str:
    """Where each arm ends."""
    rows = [_ends(measured, arm, measured.cells(arm)) for arm in measured.arms]
    dense = [value for cell in measured.cells(STANDARD) if (value := cell.end[TEST][0]) is not None]
    if dense:
        seeds, epochs = measured.power(STANDARD), [float(cell.epochs[0]) for cell in measured.cells(STANDARD)]
        first = [DENSE, seeds, "0.0", "0.0", with_spread(epochs, factor=1, digits=1)]
        rows = [[*first, NOTHING, with_spread(dense), NOTHING, NOTHING], *rows]
    head = ("arm", "seeds", "sparsity scheduled, %", "reached, %", "epochs", *(f"{name}, %" for name in MOMENTS))
    return table(head, rows)


def _ends(measured: Measured, arm: str, cells: Sequence[Cell]) -> list[str]:
    reached = [1 - cell.kept[-1] / cell.total for cell in cells]
    epochs = [float(sum(cell.epochs)) for cell in cells]
    numbers = [measured.ends.values(arm, 1, quantity) for quantity in MOMENTS.values()]
    return [
        arm,
        measured.power(arm),
        percent(scheduled(cells[0]), 1),
        with_spread(reached, digits=1),
        with_spread(epochs, factor=1, digits=1),
        *map(with_spread, numbers),
    ]


def scheduled(cell: Cell) -> float:
    """The sparsity that its schedule ends with."""
    schedule = cell.setup["prune"]["schedule"]
    return float(schedule.get("sparsity", schedule.get("share", 0.0)))


def prunings_table(measured: Measured) -> str:
    """Validation accuracy right after each pruning, and after what was trained then."""
    arms = [arm for arm in measured.arms if max(len(cell.levels) for cell in measured.cells(arm)) - 1 <= _MOST_PRUNINGS]
    most = max((len(cell.levels) - 1 for arm in arms for cell in measured.cells(arm)), default=0)
    rows = [[arm, *(_pruning(measured, arm, number) for number in range(1, most + 1))] for arm in arms]
    return table(["validation accuracy, %", *(f"pruning {number}" for number in range(1, most + 1))], rows)


def _pruning(measured: Measured, arm: str, number: int) -> str:
    after = measured.study.values(arm, number, f"{REWOUND}{VALIDATION}")
    recovered = measured.study.values(arm, number, VALIDATION)
    return f"{with_spread(after, digits=1)} to {with_spread(recovered, digits=1)}" if after else NOTHING


def differences_table(measured: Measured) -> str:
    """The arms that count activations, beside the others; bold where Holm's p is below 0.05."""
    found = {name: measured.compared(PAIRS, quantity) for name, quantity in MOMENTS.items()}
    pairs = dict.fromkeys((row.arm, row.reference) for rows in found.values() for row in rows)
    by_pair = {name: {(row.arm, row.reference): row for row in rows} for name, rows in found.items()}
    lines = [[f"{arm} - {ref}", *(_bold(by_pair[name].get((arm, ref))) for name in MOMENTS)] for arm, ref in pairs]
    return table(["points [95 %]", *MOMENTS], lines) if lines else ""


def _bold(row: Difference | None) -> str:
    if row is None:
        return NOTHING
    return f"**{points(row)}**" if row.p_adjusted is not None and row.p_adjusted < ALPHA else points(row)


def ranks_table(measured: Measured) -> str:
    """Numerical ranks of all layers, before the first pruning, at the end, and after mask-free retraining."""
    rows = [
        [arm, measured.power(arm), *(_ranks(measured.cells(arm), pick) for pick in RANKS.values())]
        for arm in measured.arms
    ]
    return table(
        ("arm", "seeds", *(f"rank {when}" for when in RANKS), "zeros by layer, %"), map(_with_zeros(measured), rows)
    )


Pick = Callable[[dict[str, tuple[float | None, ...]]], float | None]
RANKS: dict[str, Pick] = {
    "before the first pruning": lambda layer: layer["rank"][0],
    "at the end": lambda layer: last(layer, "rank"),
    "after masked retraining": lambda layer: last(layer, "rank_masked"),
    "after mask-free retraining": lambda layer: last(layer, "rank_free"),
}


def _ranks(cells: Sequence[Cell], pick: Pick) -> str:
    return " / ".join(_layer(cells, name, pick) for name in cells[0].layers) or NOTHING


def _layer(cells: Sequence[Cell], name: str, pick: Pick) -> str:
    values = [value for cell in cells if (value := pick(dict(cell.layers[name]))) is not None]
    return with_spread(values, factor=1, digits=0 if len(values) < 2 else 1)


def _with_zeros(measured: Measured) -> Callable[[list[str]], list[str]]:
    def extended(row: list[str]) -> list[str]:
        cells = measured.cells(row[0])
        shares = (_zeros(cells, name) for name in cells[0].layers)
        return [*row, " / ".join(shares) or NOTHING]

    return extended


def _zeros(cells: Sequence[Cell], name: str) -> str:
    layers = [cell.layers[name] for cell in cells]
    shares = [
        1 - kept / total for one in layers if (kept := last(one, "kept")) is not None and (total := last(one, "total"))
    ]
    return with_spread(shares, digits=0)
