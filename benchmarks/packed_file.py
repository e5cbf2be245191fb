"""packed-file: a pruned network on disk, how small and how fast, against compression of the dense one."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from budbreak.errors import InvariantBroken
from budbreak.exporting import entropy_bound, write_packed
from budbreak.files import read_exported
from budbreak.measuring import Contender, Timing

OURS, SAVEZ, GZIP = "packed safetensors", "np.savez_compressed", "gzip of the dense file"
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
MLP = ((300, 784), (200, 300), (100, 200), (50, 100), (10, 50))
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class PackedFile:
    """One large layer for the times, a multilayer perceptron for the sizes."""

    name = "packed-file"
    about = (
        "Writing and reading a packed file beside compression of the dense one, and its size beside the entropy bound."
    )

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        count = settings.pick(40_000, 10**7, 10**7)
        layer = {"weight": _sparse((count,), 0.95)}
        with tempfile.TemporaryDirectory() as folder:
            check = _check(layer, Path(folder))
            tables = [one(settings, layer, Path(folder)) for one in (_packing, _unpacking)]
            sizes = {at: _sizes(at, Path(folder)) for at in SPARSITIES}
        return Findings(tuple(tables), _goals(tables, sizes), (check,), tuple(map(_said, sizes.values())))


@dataclass(frozen=True)
class _Sizes:
    """Of the multilayer perceptron at one sparsity; bytes, for float32 and bfloat16."""

    sparsity: float
    dense: int
    bound: tuple[float, float]
    packed: tuple[int, int]
    gzip: int
    savez: int


def _sparse(shape: tuple[int, ...], sparsity: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers, of which exactly a share is zero, anywhere."""
    weights = torch.randn(shape)
    weights.view(-1)[torch.randperm(weights.numel())[: round(sparsity * weights.numel())]] = 0
    return weights.to(dtype)


def _numbers(state: State) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state.items()}


def _dense(state: State) -> bytes:
    return b"".join(array.tobytes() for array in _numbers(state).values())


def _saved(state: State) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **_numbers(state))  # pyright: ignore[reportArgumentType]
    return stream.getvalue()


def _check(state: State, folder: Path) -> str:
    write_packed(folder / "packed", state)
    read = read_exported(folder / "packed")
    if not all(torch.equal(read[name].view(torch.int32), state[name].view(torch.int32)) for name in state):
        raise InvariantBroken("a packed file gives other bits", "it gives what was written")
    return "What is read is what was written, bit for bit."


def _packing(settings: Settings, state: State, folder: Path) -> Table:
    count = next(iter(state.values())).numel()
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: write_packed(folder / "packed", state),
        SAVEZ: lambda: (folder / "npz").write_bytes(_saved(state)),
        GZIP: lambda: (folder / "gz").write_bytes(gzip.compress(_dense(state), 6)),
    }
    return table(f"write {count:.0e} weights, float32, 95 % zero", OURS, _timed(settings, runs))


def _unpacking(settings: Settings, state: State, folder: Path) -> Table:
    count = next(iter(state.values())).numel()

    def saved() -> dict[str, np.ndarray]:
        with np.load(folder / "npz") as arrays:
            return dict(arrays)

    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: read_exported(folder / "packed"),
        SAVEZ: saved,
        GZIP: lambda: np.frombuffer(gzip.decompress((folder / "gz").read_bytes()), np.float32),
    }
    return table(f"read {count:.0e} weights, float32, 95 % zero", OURS, _timed(settings, runs))


def _timed(settings: Settings, runs: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    contenders = [Contender(name, run, most=None if name == OURS else 3) for name, run in runs.items()]
    return settings.meter(quick=3, full=7)(contenders)


def _sizes(sparsity: float, folder: Path) -> _Sizes:
    state = {f"fc{n}.weight": _sparse(shape, sparsity) for n, shape in enumerate(MLP, 1)}
    state |= {f"fc{n}.bias": torch.randn(rows) for n, (rows, _) in enumerate(MLP, 1)}
    halves = {name: tensor.bfloat16() for name, tensor in state.items()}
    packed = tuple(_written(one, folder / "sizes") for one in (state, halves))
    bound = entropy_bound(state.values()), entropy_bound(halves.values())
    dense = _dense(state)
    return _Sizes(sparsity, len(dense), bound, (packed[0], packed[1]), len(gzip.compress(dense, 6)), len(_saved(state)))


def _written(state: State, path: Path) -> int:
    write_packed(path, state)
    return path.stat().st_size


def _goals(tables: list[Table], sizes: Mapping[float, _Sizes]) -> tuple[Goal, ...]:
    size = "MLP 784-300-200-100-50-10, {:.0%} zero: a file of at most 1.1x the entropy bound"
    near = [Goal(size.format(at), sizes[at].packed[0] / sizes[at].bound[0], 1.1, at_least=False) for at in (0.9, 0.95)]
    return (
        *near,
        Goal("95 % zero: gzip of the dense file at least 1.2x as large", sizes[0.95].gzip / sizes[0.95].packed[0], 1.2),
        Goal("1e+07 weights: written in under 3 s", tables[0].row(OURS).seconds, 3, at_least=False, unit=" s"),
        Goal("1e+07 weights: read in under 1 s", tables[1].row(OURS).seconds, 1, at_least=False, unit=" s"),
    )


def _said(sizes: _Sizes) -> str:
    full, half = (packed / bound for packed, bound in zip(sizes.packed, sizes.bound, strict=True))
    return (
        f"The MLP, {sizes.sparsity:.0%} zero: {sizes.packed[0]:,d} bytes, {full:.3f}x the bound (bfloat16: "
        f"{sizes.packed[1]:,d}, {half:.3f}x); dense {sizes.dense / sizes.packed[0]:.1f}x as large, gzip "
        f"{sizes.gzip / sizes.packed[0]:.2f}x, np.savez_compressed {sizes.savez / sizes.packed[0]:.2f}x."
    )
