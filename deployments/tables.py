"""The tables of a study: how good, how large, how fast, a line for each cell."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.exporting import AS_IS, COMPACT, DENSE, RUNTIMES, SPARSE_ROWS, TORCH, WORDS
from deployments.cells import Cell, Form
from deployments.measuring import packed
from deployments.picking import holding, over_bound
from reproductions.wording import NOTHING, percent, table, with_spread


def quality_table(cells: Sequence[Cell]) -> str:
    """Quality on the test data, in percent, in torch; and of what was chosen, in its runtime."""
    names = list(cells[0].dense.test)
    if not names:
        return ""
    head = ["cell", "what went", "zeros, %"]
    head += [f"{name}, %: dense, as is, compact, chosen" for name in names] + ["chosen", "seeds: dense, as is"]
    return table(head, [_quality_row(cell, names) for cell in cells])


def _quality_row(cell: Cell, names: Sequence[str]) -> list[str]:
    forms = [cell.form(network, TORCH) for network in (DENSE, AS_IS, COMPACT)]
    forms.append(next((one for one in cell.forms if one.key == cell.chosen), None))
    qualities = [", ".join(_quality(one, name) for one in forms) for name in names]
    dense, pruned = ([pair[place] for pair in cell.seeds] for place in (0, 1))
    seeds = f"{with_spread(dense)}, {with_spread(pruned)} (n={len(dense)})" if dense else NOTHING
    return [cell.name, cell.what, percent(cell.sparsity, 1), *qualities, cell.chosen or "none holds the floor", seeds]


def _quality(form: Form | None, name: str) -> str:
    return NOTHING if form is None else percent(form.test[name])


def size_table(cells: Sequence[Cell]) -> str:
    """Parameters, multiply-accumulates and bytes."""
    head = (
        "cell", "parameters: dense, not zero, compact", "MACs: dense, compact", "bytes: dense, as is",
        "as is, packed", "over its bound", "compact, packed", "dense is larger than the smallest packed",
        "ONNX: dense, compact", "OpenVINO: dense, compact",
    )  # fmt: skip
    return table(head, map(_size_row, cells))


def _size_row(cell: Cell) -> list[str]:
    files, small = cell.files, [cell.files[name] for name in map(packed, (AS_IS, COMPACT)) if name in cell.files]
    over = over_bound(cell, AS_IS)
    return [
        cell.name,
        ", ".join(_count(cell.parameters.get(name)) for name in (DENSE, "kept", COMPACT)),
        ", ".join(_count(cell.macs.get(name)) for name in (DENSE, COMPACT)),
        f"{_count(files.get(DENSE))}, {_count(files.get(AS_IS))}",
        _count(files.get(packed(AS_IS))),
        NOTHING if over is None else f"{over:.3f}x",
        _count(files.get(packed(COMPACT))),
        f"{files[DENSE] / min(small):.1f}x",
        *(", ".join(_bytes(cell.form(network, runtime)) for network in (DENSE, COMPACT)) for runtime in RUNTIMES[1:]),
    ]


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _bytes(form: Form | None) -> str:
    return NOTHING if form is None else _count(form.bytes)


def latency_table(cells: Sequence[Cell], batch: int) -> str:
    """A line for each cell and runtime; beside each time how many times as long the dense network takes."""
    head = ("cell", "runtime", DENSE, AS_IS, COMPACT, SPARSE_ROWS, "fastest that holds the floor")
    rows = [_latency_row(cell, runtime, batch) for cell in cells for runtime in RUNTIMES]
    return table(head, [row for row in rows if row])


def _latency_row(cell: Cell, runtime: str, batch: int) -> list[str]:
    dense = cell.form(DENSE, runtime)
    if dense is None:
        return []
    forms = [cell.form(network, runtime) for network in (AS_IS, COMPACT, SPARSE_ROWS)]
    good = [one for one in holding(cell) if one.runtime == runtime]
    best = min(good, key=lambda one: one.at(batch).median, default=None)
    told = NOTHING if best is None else f"{best.network}: {_against(best, dense, batch)}"
    times = [str(dense.at(batch)), *(_against(one, dense, batch) for one in forms)]
    return [cell.name, WORDS[runtime], *times, told]


def _against(form: Form | None, dense: Form, batch: int) -> str:
    if form is None:
        return NOTHING
    own, other = form.at(batch), dense.at(batch)
    spread = "" if own.is_under(other) or other.is_under(own) else ", within the spread"
    return f"{own}: {other.median / own.median:.2f}x{spread}"
