"""Cells of activation-based pruning that nothing measured, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from made_cells import PLAIN_SETUP, made_cell

from reproductions import Cell
from reproductions.activation.stored import FactorCell, NetworkCell

STANDARD = 0.90
LAYERS = {"fc1.weight": 40, "fc2.weight": 20}
DENSE_EPOCHS = 7


def made_end(arm: str, seed: int, accuracy: float, *, recipe: str = "fashion-activation", survivors: int = 10) -> Cell:
    """A cell of two prunings that ends with an accuracy; before them it is that of the standard network."""
    setup = {**PLAIN_SETUP, "prune": {"then": [], "schedule": {"is": "decaying", "sparsity": 0.8, "levels": 2}}}
    values = (STANDARD + 0.001 * seed, 0.5, accuracy)
    end = {"test_accuracy": values, "validation_accuracy": (0.9, 0.81, 0.82)}
    free = {"test_accuracy_free": (None, None, accuracy + 0.01), "test_accuracy_masked": (None, None, accuracy)}
    layers = {
        name: {
            "kept": (100.0, 50.0, 20.0),
            "total": (100.0, 100.0, 100.0),
            "rank": (float(full), float(full), float(survivors)),
            "rank_free": (None, None, float(survivors + 3)),
        }
        for name, full in LAYERS.items()
    }
    fields: dict[str, Any] = {
        "reference": None,
        "setup": setup,
        "end": {**end, **free},
        "rewound": {"validation_accuracy": (0.1, 0.61, 0.62)},
        "during": {},
        "epochs": (DENSE_EPOCHS, 2, 3),
        "layers": layers,
    }
    return made_cell(arm, seed, [0.0, 0.0, 0.0], recipe=recipe, **fields)


def made_network(
    cell: Cell, *, positive: int = 3, third: float = -50.0, along: float = 0.3, macs: tuple[int, ...] = ()
) -> NetworkCell:
    """What a network of that cell might be worth."""
    survivors = int(cell.layers["fc1.weight"]["rank"][-1] or 0) if cell.layers else 0
    counts = {
        name: {"units": full, "survivors": survivors, "dead_positive": positive, "width": survivors}
        for name, full in LAYERS.items()
    }
    places = tuple((place, -place * 50.0) for place in (0.0, 0.25, 0.5, 0.75, 1.0))
    return NetworkCell(
        recipe=cell.recipe,
        run=cell.run,
        task=cell.task,
        arm=cell.arm,
        seed=cell.seed,
        environment=cell.environment,
        layers=counts,
        ratios=dict.fromkeys(LAYERS, places),
        thirds=dict.fromkeys(LAYERS, (-2.0, -10.0, third)),
        along=dict.fromkeys(LAYERS, along),
        macs=macs or (1000, 500, 200),
        parameters=(1000, 250),
        compact_macs=(1000, macs[-1] if macs else 200),
        latencies=((1, 2e-5, 1e-5, 2.0, 1.9, 2.1), (64, 3e-4, 1e-4, 3.0, 2.9, 3.1)),
        difference=1e-6,
        left=(),
    )


def made_factor(cell: Cell, method: str, accuracy: float, *, at: str = "rank") -> FactorCell:
    """The standard network in a form."""
    return FactorCell(
        recipe=cell.recipe,
        run=cell.run,
        task=cell.task,
        arm=cell.arm,
        seed=cell.seed,
        standard="dense-0",
        environment=cell.environment,
        method=method,
        at=at,
        ranks=dict.fromkeys(LAYERS, 10),
        weights=600,
        test_accuracy=accuracy,
        validation_accuracy=accuracy,
        epochs=0,
        seconds=0.0,
    )
