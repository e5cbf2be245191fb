"""ap-epoch: masked training of ResNet-20 beside the loop of AP's published code, re-created in our own words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from benchmarks.conv_epoch import without_amx
from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.peers import ap_train_pass, per_sample_loader, plain_accuracy
from benchmarks.settings import Settings
from benchmarks.work import CIFAR, images, network, random_mask
from budbreak.data import Images
from budbreak.live import apply_mask, check_zeros, hold
from budbreak.measuring import Contender
from budbreak.training import SGD, Engine, evaluate, train_epoch

OURS, FLOAT, AP = "budbreak", "budbreak in float32", "AP's loop, re-created"
SAME = "budbreak, training set evaluated as well"
_BATCH = 64


@dataclass(frozen=True)
class _Data:
    train: Images
    test: Images


@dataclass(frozen=True)
class ApEpoch:
    """A training pass and an epoch with its evaluations, 90 % sparse."""

    name = "ap-epoch"
    about = (
        "ResNet-20 at 90 % sparsity, batch 64: a training pass, and an epoch with its evaluations, beside AP's loop."
    )

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        train = settings.pick(12, 256, 640)
        data = _Data(images(train, CIFAR), images(train // 5, CIFAR, seed=1))  # 50,000 : 10,000 as in CIFAR-10
        engine = settings.engine(network("ResNet-20"))
        ours, plain, peer = _Ours(data, engine), _Ours(data, replace(engine, bf16=False)), _Peer(data, settings.device)
        meter = settings.meter(full=5)
        passes = meter([Contender(OURS, ours.train), Contender(FLOAT, plain.train), Contender(AP, peer.train)])
        epochs = meter(
            [
                Contender(OURS, ours.epoch),
                Contender(FLOAT, plain.epoch),
                Contender(SAME, ours.epoch_with_train_set),
                Contender(AP, peer.epoch),
            ]
        )
        tables = (
            table(f"a training pass over {train} images", OURS, passes),
            table(f"an epoch: that pass and its evaluations, {len(data.test)} test images", OURS, epochs),
        )
        for model, mask in ((ours.model, ours.mask), (plain.model, plain.mask), (peer.model, peer.mask)):
            check_zeros(model, mask)
        return Findings(
            tables,
            _goals(*tables),
            ("In all loops every pruned weight ends exactly zero.",),
            _remarks(tables[0], engine),
        )


class _Ours:
    def __init__(self, data: _Data, engine: Engine) -> None:
        self.data, self.engine = data, engine
        self.on_device = data.train.to(engine.device), data.test.to(engine.device)
        self.model = engine.prepare(network("ResNet-20"))
        self.mask = random_mask(self.model)
        self.sgd = SGD(0.01, momentum=0.9, weight_decay=1e-4).build(self.model)
        hold(self.model, self.sgd, self.mask)

    def train(self) -> None:
        train_epoch(self.model, self.sgd, self.on_device[0], engine=self.engine, batch_size=_BATCH)

    def epoch(self) -> None:
        self.train()
        evaluate(self.model, self.on_device[1], engine=self.engine)

    def epoch_with_train_set(self) -> None:
        self.epoch()
        evaluate(self.model, self.on_device[0], engine=self.engine)


class _Peer:
    def __init__(self, data: _Data, device: str) -> None:
        self.device = device
        self.model = network("ResNet-20", device)
        self.mask = random_mask(self.model)
        apply_mask(self.model, self.mask)
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.train_loader = per_sample_loader(data.train, _BATCH)
        self.test_loader = per_sample_loader(data.test, _BATCH, shuffle=False)

    def train(self) -> None:
        ap_train_pass(self.model, self.sgd, self.train_loader, self.device)

    def epoch(self) -> None:
        self.train()
        plain_accuracy(self.model, self.test_loader, self.device)
        plain_accuracy(self.model, self.train_loader, self.device)


def _goals(passes: Table, epochs: Table) -> tuple[Goal, ...]:
    why = without_amx()
    return (
        Goal("a training pass at least 2.5x", passes.row(AP).ratio, 2.5, not_judged=why),
        Goal("an epoch with its evaluations at least 3x", epochs.row(AP).ratio, 3.0, not_judged=why),
    )


def _remarks(passes: Table, engine: Engine) -> tuple[str, ...]:
    whole, bf16 = passes.row(AP).ratio, passes.row(FLOAT).ratio
    share = (
        f"Of the factor {whole:.2f} on a training pass, bfloat16 gives {bf16:.2f}; the other {whole / bf16:.2f} is "
        "memory format, data path, fused SGD and mask together."
    )
    return (
        f"The engine: {engine.summary()}.",
        share,
        "The peer: per-sample transforms on arrays (without PIL) in a DataLoader without workers, float32 NCHW, "
        "weights and gradients through numpy at each step, default SGD; after a pass it evaluates the test set and "
        "the training set.",
        "An epoch of ours evaluates the test set in float32 and takes the training loss from the steps themselves; "
        f"the row '{SAME}' does AP's second evaluation too. Scope: the 3x includes leaving it out.",
    )
