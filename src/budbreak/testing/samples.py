"""Samples of what methods find, one for each kind of figure; nobody measured them, and they are always the same."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from budbreak.diagnostics import Finding, Quantity

_ACCURACY = Quantity("accuracy", "validation accuracy", "share", "higher")
_OPERATORS = ("relu", "gelu", "swish", "tanh")


def sample_findings() -> tuple[Finding, ...]:
    """A search, its operators, their curves, spectra, their ratios, masks, events, a front and bars."""
    draw = random.Random(0)
    return (
        _search(draw),
        _activations(),
        _operators(draw),
        _spectra(),
        _ratios(),
        _masks(draw),
        _events(draw),
        _pareto(draw),
        _hosts(draw),
    )


def _finding(
    kind: str, label: str, quantity: Quantity, rows: Sequence[Mapping[str, str | float | None]], **labels: str
) -> Finding:
    return Finding(kind, label, quantity, {name: tuple(row[name] for row in rows) for name in rows[0]}, labels)


def _search(draw: random.Random) -> Finding:
    rows = [
        {"arm": arm, "trial": trial, "value": 0.9 - gap * math.exp(-trial / 15) - abs(draw.gauss(0, 0.02))}
        for arm, gap in (("late acceptance", 0.1), ("random", 0.07))
        for trial in range(60)
    ]
    return _finding("search", "Search for activations", _ACCURACY, rows)


def _operators(draw: random.Random) -> Finding:
    rows: list[Mapping[str, str | float | None]] = []
    for site in range(12):
        counts = [draw.randrange(6) for _ in _OPERATORS]
        shares = [count / max(1, sum(counts)) for count in counts]
        rows += [
            {"site": f"site {site}", "operator": name, "value": share}
            for name, share in zip(_OPERATORS, shares, strict=True)
        ]
    return _finding("operators", "Operators by depth", Quantity("chosen", "chosen in seeds", "share"), rows)


def _activations() -> Finding:
    functions = {
        "relu": lambda x: max(0.0, x),
        "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
        "swish": lambda x: x / (1 + math.exp(-x)),
        "tanh": math.tanh,
    }
    rows = [
        {"arm": name, "input": step / 10, "value": function(step / 10)}
        for name, function in functions.items()
        for step in range(-40, 41, 2)
    ]
    return _finding("activations", "Activation functions", Quantity("output", "output"), rows)


def _spectra() -> Finding:
    rows = [
        {
            "arm": when,
            "layer": f"layer{layer}.weight",
            "rank": rank,
            "value": 8 * math.exp(-rank / (6 + 4 * layer) * fall),
        }
        for layer in range(4)
        for when, fall in (("before", 1.0), ("after", 2.2))
        for rank in range(1, 33)
    ]
    return _finding("spectra", "Spectra before and after", Quantity("singular", "singular value"), rows)


def _ratios() -> Finding:
    rows = [
        {
            "arm": f"pruning {pruning}",
            "layer": f"layer{layer}.weight",
            "rank": rank,
            "value": -pruning * (2 + rank / (1 + layer)),
            "remaining": f"{32 - 4 * pruning} of 32",
        }
        for layer in range(4)
        for pruning in (1, 2, 3)
        for rank in range(1, 33 - 4 * pruning)
    ]
    return _finding("ratios", "After against before", Quantity("change", "change of the singular value (%)"), rows)


def _masks(draw: random.Random) -> Finding:
    rows = [
        {"layer": f"layer{layer}.weight", "row": row, "column": column, "value": int(draw.random() < 0.6 / (layer + 1))}
        for layer in range(4)
        for row in range(20)
        for column in range(20)
    ]
    return _finding("masks", "Masks", Quantity("kept", "kept"), rows)


def _events(draw: random.Random) -> Finding:
    happened = {10: "pruned to 50 %", 20: "pruned to 25 %", 30: "operators chosen"}
    rows: list[Mapping[str, str | float | None]] = []
    for epoch in range(41):
        value = 0.9 - 0.6 * math.exp(-epoch / 5) - 0.15 * math.exp(-(epoch % 10)) * (epoch >= 10)
        rows.append(
            {"arm": "gradual", "epoch": epoch, "value": value + draw.gauss(0, 0.004), "event": happened.get(epoch)}
        )
    return _finding("events", "Events in training", _ACCURACY, rows)


def _pareto(draw: random.Random) -> Finding:
    rows: list[Mapping[str, str | float | None]] = []
    for number in range(16):
        latency = 1 + draw.random() * 8
        accuracy = 0.95 - 0.2 / latency - draw.random() * 0.06
        rows.append(
            {"name": f"net {number}", "latency": latency, "size": latency * draw.uniform(0.5, 2), "value": accuracy}
        )
    return _finding("pareto", "Size, latency, accuracy", _ACCURACY, rows, latency="latency (ms)", size="size (MB)")


def _hosts(draw: random.Random) -> Finding:
    rows: list[Mapping[str, str | float | None]] = []
    for host in ("magnitude", "taylor", "gradient", "random"):
        for arm, gain in (("host", 0.0), ("with AP", 0.02)):
            value, half = 0.8 + gain + draw.gauss(0, 0.03), abs(draw.gauss(0.01, 0.004))
            rows.append({"host": host, "arm": arm, "value": value, "low": value - half, "high": value + half})
    return _finding("hosts", "Accuracy by host", _ACCURACY, rows)
