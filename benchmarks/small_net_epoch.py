"""small-net-epoch: a training pass of LeNet-300-100 where the data path decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.findings import Findings, Goal, table
from benchmarks.peers import has_pil, per_sample_loader, tensor_loader, train_plainly
from benchmarks.settings import Settings
from benchmarks.work import MNIST, images, network
from budbreak.data import Images
from budbreak.errors import InvariantBroken
from budbreak.measuring import Contender
from budbreak.training import SGD, train_epoch

OURS, TENSORS = "budbreak train_epoch", "DataLoader(TensorDataset)"
ARRAYS, PICTURES = "DataLoader, per-sample transforms on arrays", "the same through PIL images"
_BATCH = 64


@dataclass(frozen=True)
class SmallNetEpoch:
    """One pass over images shaped as MNIST."""

    name = "small-net-epoch"
    about = "One training pass of LeNet-300-100 at batch 64, data path included, on images shaped as MNIST."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        data = images(settings.pick(256, 6_400, 12_800), MNIST)
        _check(data.first(64))
        engine = settings.engine(network("LeNet-300-100"))
        ours = engine.prepare(network("LeNet-300-100"))
        ours_sgd, placed = SGD(0.01, momentum=0.9, weight_decay=0.0).build(ours), data.to(engine.device)
        contenders = [Contender(OURS, lambda: train_epoch(ours, ours_sgd, placed, engine=engine, batch_size=_BATCH))]
        contenders += [_peer(name, loader, settings.device) for name, loader in _loaders(data).items()]
        epochs = table(f"LeNet-300-100, {len(data)} images", OURS, settings.meter(full=7)(contenders))
        goals = [
            Goal(f"at least 2.8x: {name}", epochs.row(name).ratio, 2.8) for name in _loaders(data) if name != TENSORS
        ]
        goals.append(Goal(f"at least 1.15x: {TENSORS}", epochs.row(TENSORS).ratio, 1.15))
        checks = ("The per-sample pipelines and budbreak give equal batches (to 1e-5).",)
        remarks = (
            "All use the same fused SGD with momentum and float32: the difference is the data path and the loop.",
            "The per-sample pipelines do the arithmetic of torchvision's ToTensor and Normalize in our own words; its "
            "data sets make a PIL image of each sample first, which the row with PIL images does (if Pillow is there).",
        )
        return Findings((epochs,), tuple(goals), checks, remarks)


def _peer(name: str, loader: DataLoader[Any], device: str) -> Contender:
    model = network("LeNet-300-100", device)
    sgd = SGD(0.01, momentum=0.9, weight_decay=0.0).build(model)
    return Contender(name, lambda: train_plainly(model, sgd, loader, device))


def _loaders(data: Images) -> dict[str, DataLoader[Any]]:
    loaders: dict[str, DataLoader[Any]] = {ARRAYS: per_sample_loader(data, _BATCH)}
    if has_pil():
        loaders[PICTURES] = per_sample_loader(data, _BATCH, pil=True)
    return {**loaders, TENSORS: tensor_loader(data, _BATCH)}


def _check(data: Images) -> None:
    for pil in (False, True)[: 1 + has_pil()]:
        theirs, labels = next(iter(per_sample_loader(data, len(data), shuffle=False, pil=pil)))
        if not torch.allclose(theirs, data.normalised(data.images), atol=1e-5) or not torch.equal(labels, data.labels):
            raise InvariantBroken("the per-sample pipeline gives other batches", "it must give the same")
