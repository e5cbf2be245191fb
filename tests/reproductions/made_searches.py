"""Cells of SAFS that nothing measured, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from made_cells import PLAIN_SETUP, made_cell

from budbreak.data import find
from reproductions import Cell
from reproductions.settings import of_sparsity

DENSE = 0.985
SCORES = {
    "score": (0.1, None, 0.5, 0.9),  # the second diverged, the last was stopped
    "epochs": (10.0, 10.0, 10.0, 3.0),
    "seconds": (2.0, 2.0, 2.0, 1.0),
    "stopped": (0.0, 0.0, 0.0, 1.0),
}
FULL = {"score": (0.6, 0.7), "epochs": (50.0, 50.0), "seconds": (9.0, 9.0), "stopped": (0.0, 0.0)}
STAGES: dict[str, dict[str, Any]] = {
    "stage-1": {"trial": SCORES, "finalist": FULL},
    "stage-2": {"tuning": SCORES, "tuned": FULL},
    "safs": {"trial": SCORES, "finalist": FULL, "tuning": SCORES, "tuned": FULL},
    "relu-tuned": {"tuning": SCORES, "tuned": FULL},
}


def made_sparse(
    arm: str,
    seed: int,
    accuracy: float,
    *,
    sparsity: float = 0.97,
    recipe: str = "",
    reached: int = 10,
    data: str = "mnist",
    **fields: Any,
) -> Cell:
    """A cell of an arm that is pruned once and ends with an accuracy; what it searches goes by its name."""
    schedule = {"is": "one-shot", "sparsity": sparsity}
    setup = {
        **PLAIN_SETUP,
        "data": {**PLAIN_SETUP["data"], "name": data},
        "network": {"name": "lenet-5-safs"},
        "prune": {"then": [], "schedule": schedule},
    }
    searches = STAGES.get(arm, {})
    end = {
        "test_accuracy": (DENSE + 0.001 * seed, accuracy),
        "validation_accuracy": (DENSE, accuracy + 0.01),
        "reachable_classes": (1.0, reached / find(data).classes),
        "connected_weights": (1.0, 0.4),
    }
    cost = {"trials": 6.0, "epochs": 133.0, "seconds": 25.0, "accuracy": accuracy + 0.02} if searches else {}
    given: dict[str, Any] = {
        "reference": None if arm == "relu" else "relu",
        "setup": setup,
        "end": end | {f"search_{name}": (None, value) for name, value in cost.items()},
        "rewound": {},
        "during": {},
        "searches": searches,
        "activations": {"relu1": "srs", "relu2": ("tanh", "swish")[seed % 2]} if "trial" in searches else {},
        "settings": {"optimizer": {"is": "adam", "learning_rate": 0.0123}, "schedule": "constant"}
        if "tuning" in searches
        else {},
    }
    return made_cell(arm, seed, [0.0, 0.0], recipe=recipe or of_sparsity(sparsity), **given | fields)
