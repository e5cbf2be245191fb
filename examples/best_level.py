"""Make two optimizers anew in each level, as a Trainer does, end a level when it is good enough, ship the best one."""

import tempfile

import torch
from torch import nn

import budbreak as bb

torch.manual_seed(0)
x = torch.randn(800, 16)
y = (x[:, :8].sum(1) > x[:, 8:].sum(1)).long()
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2))


def accuracy(rows: slice) -> float:
    with torch.no_grad():
        return float((model(x[rows]).argmax(1) == y[rows]).float().mean())


def fit(level: bb.iteration.Level) -> None:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    biases = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    optimizers = [torch.optim.AdamW(matrices, lr=0.01), torch.optim.SGD(biases, lr=0.1)]
    level.attach(optimizers)  # under a Trainer: in a callback, when its optimizers are there
    for _ in level.epochs(12, until=lambda numbers: numbers["accuracy"] > 0.93):
        for batch in torch.randperm(500).split(50):
            model.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            for optimizer in optimizers:
                optimizer.step()
        level.record(accuracy=accuracy(slice(500, 650)))


plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=5))
with tempfile.TemporaryDirectory() as store:
    with bb.iterate(model, None, plan, store=store, keep="all") as levels:
        for level in levels:
            fit(level)
    for record in levels.history:
        print(f"density {record.density:6.1%}: {record.metrics['accuracy']:.1%} after {record.epochs} epochs")
    best = [record for record in levels.history if record.metrics["accuracy"] > 0.93][-1]  # the sparsest
    mask = bb.load_level(model, store, best.level)
print(f"shipped: level {best.level}, density {mask.density:.1%}, accuracy on test data {accuracy(slice(650, 800)):.1%}")
