"""A run of two processes with what tells ranks apart: own batches, dropout, BatchNorm buffers, own generators."""

import dataclasses
import hashlib
import os
import signal

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import budbreak as bb


class Half:
    """Model, optimizer and this rank's half of the data."""

    def __init__(self, rank, size=2, *, wrap=True):
        torch.manual_seed(0)
        x = torch.randn(48, 6)
        y = (x[:, 0] * x[:, 1] > 0).long()
        self.rank = rank
        self.x, self.y = x[rank::size], y[rank::size]
        self.plain = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 16), nn.ReLU(),
            nn.Linear(16, 2),
        )  # fmt: skip
        # without broadcast_buffers each rank keeps statistics of its own
        self.model = DistributedDataParallel(self.plain, broadcast_buffers=False) if wrap else self.plain
        self.optimizer = torch.optim.SGD(self.plain.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.95)
        self.shuffle = torch.Generator().manual_seed(rank)
        self.batches = list(zip(self.x.split(8), self.y.split(8), strict=True))
        self.steps = 0

    def epoch(self, each=None):
        self.model.train()
        for batch in torch.randperm(len(self.x), generator=self.shuffle).split(8):
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.x[batch]), self.y[batch]).backward()
            self.optimizer.step()
            self.scheduler.step()
            self.steps += 1
            if each is not None:
                each(self)


def geometric(levels=2, **options):
    options = {"criterion": bb.criteria.Taylor()} | options
    return bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=levels), **options)


def iterate(half, plan, **options):
    options = {
        "batches": half.batches, "loss": cross_entropy, "resets": [half.scheduler, half.shuffle],
    } | options  # fmt: skip
    return bb.iterate(half.model, half.optimizer, plan, **options)


def carry_out(half, plan, *, epochs=2, each=None, **options):
    with iterate(half, plan, **options) as levels:
        for level in levels:
            for _ in level.epochs(epochs):
                half.epoch(each)
            level.record(fitted=float(level.number))
    return levels


def kill_at(rank, step):
    """Called after each step: rank ``rank`` dies at its ``step``-th."""

    def each(half):
        if half.rank == rank and half.steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return each


def fingerprint(half, levels):
    """All that two equal runs of a rank share, as one hash; and the hash of what the ranks share."""
    records = [dataclasses.asdict(dataclasses.replace(record, seconds=0.0)) for record in levels.history]
    momentum = [half.optimizer.state[p]["momentum_buffer"].tolist() for p in half.plain.parameters()]
    shared = (records, [p.tolist() for p in half.plain.parameters()], momentum, half.shuffle.get_state().tolist())
    own = ([b.tolist() for b in half.plain.buffers()], torch.rand(3).tolist())
    return [hashlib.sha256(repr(part).encode()).hexdigest() for part in (shared, own)]
