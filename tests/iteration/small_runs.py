"""A run with all that makes resuming hard, yet 20 ms long: momentum, BatchNorm, dropout, scheduler, shuffling."""

import copy
import dataclasses

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import budbreak as bb
from budbreak.testing import separable

STEPS_PER_EPOCH = 4


class Parts:
    """Model, optimizer, scheduler and loader as a user's script makes them."""

    def __init__(self, seed=0, hidden=12, lr=0.1, **optimizer_options):
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(8, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 3)
        )
        options = {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True} | optimizer_options
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, **options)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.93)
        self.x, self.y = separable(60, noise=1.0)
        self.loader = DataLoader(TensorDataset(self.x, self.y), batch_size=16, shuffle=True)  # the last has 12
        self.steps = 0

    def epoch(self, each=None):
        """Train one; ``each(parts, x)`` is called after every step."""
        self.model.train()
        for x, y in self.loader:
            self.optimizer.zero_grad()
            cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.scheduler.step()
            self.steps += 1
            if each is not None:
                each(self, x)

    def accuracy(self):
        self.model.eval()
        with torch.no_grad():
            return float((self.model(self.x).argmax(1) == self.y).double().mean())

    def iterate(self, plan, **options):
        options = {"resets": [self.scheduler], "batches": self.loader, "loss": cross_entropy} | options
        return bb.iterate(self.model, self.optimizer, plan, **options)


def geometric(levels=2, rate=0.3, **options):
    return bb.Plan(schedule=bb.schedules.Geometric(rate=rate, levels=levels), **options)


def run(parts, plan, *, epochs=2, each=None, each_level=None, plain_range=False, **options):
    """Carry out a plan; returns (parts, history)."""
    with parts.iterate(plan, **options) as levels:
        for level in levels:
            if each_level is not None:
                each_level(parts, level)
            for _ in range(epochs) if plain_range else level.epochs(epochs):
                parts.epoch(each)
            level.record(accuracy=parts.accuracy())
    return parts, levels.history


def outcome(parts, history):
    """All that two equal runs share, bit for bit: weights, buffers, optimizer, scheduler, random state, records."""
    bits = {name: tensor.numpy().tobytes() for name, tensor in parts.model.state_dict().items()}
    state = parts.optimizer.state_dict()
    momentum = [state["state"][i]["momentum_buffer"].numpy().tobytes() for i in sorted(state["state"])]
    records = [dataclasses.replace(record, seconds=0.0) for record in history]
    scheduler = {k: v for k, v in parts.scheduler.state_dict().items() if not callable(v)}
    return {
        "model": bits,
        "momentum": momentum,
        "groups": copy.deepcopy(state["param_groups"]),
        "scheduler": scheduler,
        "records": records,
        "next draw": torch.rand(1).item(),
    }
