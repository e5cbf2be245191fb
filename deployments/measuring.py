"""Measure a case: choose as the command does, then time every form again, all of them in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from budbreak.compaction import Compacted, sized
from budbreak.errors import BudbreakError
from budbreak.exporting import (
    AS_IS,
    COMPACT,
    DENSE,
    SPARSE_ROWS,
    Fastest,
    Latency,
    Runner,
    choose_fastest,
    entropy_bound,
    export,
    opened_all,
    timed,
)
from budbreak.files import read_exported
from budbreak.measuring import Clock, Meter, Mode
from deployments.cases import Case
from deployments.cells import Cell, Form, Method

BATCHES = (1, 64)
MAX_DROP = 0.005


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Args:
        rounds: samples of each latency; patience: see `Meter`.
        mode: of the clock; threads: of each runtime.
        batches: samples at once.
    """

    rounds: int = 9
    patience: float = 2.0
    mode: Mode = "cpu"
    threads: int = 1
    batches: tuple[int, ...] = BATCHES
    clock: Clock = field(default=Clock(), repr=False)

    @property
    def meter(self) -> Meter:
        """What measures."""
        return Meter(self.rounds, self.mode, patience=self.patience, clock=self.clock)


def measure(study: str, case: Case, settings: Settings) -> Cell:
    """Measure a case; torch's threads are as before afterwards.

    The product's chooser measures first, at batch 1, and chooses by the validation data; what it chose is then judged
    by the second measurement, which it has not seen.
    """
    threads, clock = torch.get_num_threads(), settings.clock
    torch.set_num_threads(settings.threads)
    begin = clock.busy(), clock.cpu(), clock.wall()
    try:
        found = choose_fastest(
            case.pruned, _score(case.validation), dense=case.dense, example=case.example, max_drop=MAX_DROP,
            meter=settings.meter,
        )  # fmt: skip
        forms, notes = _forms(case, {DENSE: case.dense, **found.tried.networks}, settings)
        files, bounds = _files(case, found.tried.compacted if COMPACT in found.tried.networks else None)
    finally:
        torch.set_num_threads(threads)
    busy, cpu, wall = (now() - then for now, then in zip((clock.busy, clock.cpu, clock.wall), begin, strict=True))
    others = round(max(0.0, busy - cpu) / (wall * clock.cores), 3)
    chosen, refused = _chosen(case, found)
    return Cell(
        study, case.name, case.what, case.sparsity, *_sizes(case, found), files, bounds, forms, chosen, case.seeds,
        tuple(dict.fromkeys([*found.notes, *notes, *refused])),
        Method(settings.mode, settings.threads, settings.rounds, MAX_DROP, others),
    )  # fmt: skip


def _score(given: Callable[[Runner], float] | None) -> Callable[[Runner], float]:
    """What is not trained is as good as anything."""
    return given or (lambda run: 0.0)


def _forms(case: Case, networks: Mapping[str, nn.Module], settings: Settings) -> tuple[tuple[Form, ...], list[str]]:
    notes: list[str] = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runners, sizes = opened_all(networks, case.example, Path(folder), notes, eager_only=[SPARSE_ROWS])
        batches = {batch: timed(runners, sized(case.example, batch), settings.meter) for batch in settings.batches}
        forms = tuple(
            Form(
                *key, sizes[key], tuple(Latency.of(batch, timings[key]) for batch, timings in batches.items()),
                None if case.validation is None else case.validation(run),
                {name: score(run) for name, score in case.test.items()},
            )
            for key, run in runners.items()
        )  # fmt: skip
        del runners
    return forms, notes


def _files(case: Case, compacted: Compacted | None) -> tuple[dict[str, int], dict[str, float]]:
    """Bytes of files that torch loads, and the bounds of the packed ones."""
    files, bounds = dict[str, int](), dict[str, float]()
    with TemporaryDirectory() as folder:

        def write(name: str, model: nn.Module | Compacted, form: str) -> Path:
            path = Path(folder) / f"{len(files)}{'.packed' * (form == 'packed')}.safetensors"
            artifact = export(model, path, to=form, example=case.example)
            files[name] = artifact.bytes
            return path

        write(DENSE, case.dense, "safetensors")
        write(AS_IS, case.pruned, "safetensors")
        for name, model in ((AS_IS, case.pruned), (COMPACT, compacted)):
            if model is not None:
                path = write(packed(name), model, "packed")
                bounds[packed(name)] = entropy_bound(_once(read_exported(path)))
    return files, bounds


def packed(network: str) -> str:
    """What a packed file of a network is called.

    >>> packed("as is")
    'as is, packed'
    """
    return f"{network}, packed"


def _once(state: Mapping[str, Tensor]) -> list[Tensor]:
    """Each tensor, tied ones a single time."""
    return list({(one.data_ptr(), tuple(one.shape), one.stride()): one for one in state.values()}.values())


def _sizes(case: Case, found: Fastest) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters, and multiply-accumulates of one sample."""
    small = found.tried.compacted
    parameters = {
        DENSE: sum(one.numel() for one in case.dense.parameters()),
        "kept": sum(int(one.count_nonzero()) for one in case.pruned.parameters()),
    }
    if small is None:
        return parameters, {}
    samples = len(case.example)
    macs = {DENSE: small.before.macs // samples, COMPACT: small.after.macs // samples}
    return {**parameters, COMPACT: small.after.parameters}, macs


def _chosen(case: Case, found: Fastest) -> tuple[str, list[str]]:
    if case.validation is None:
        return "", []
    try:
        return f"{found.best.network} in {found.best.runtime}", []
    except BudbreakError as error:
        return "", [error.value]
