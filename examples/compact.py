"""Prune whole units of a small convolutional network, train on, cut them out, and print what that bought."""

import tempfile

import torch
from torch import nn

import budbreak as bb

torch.manual_seed(0)
torch.set_num_threads(1)
y = torch.arange(600) % 2
x = torch.randn(600, 1, 12, 12) + 0.4 * (y[:, None, None, None] - 0.5)


def network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 2)),
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    for _ in range(epochs):
        for batch in torch.randperm(500).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


def accuracy(model: nn.Module) -> float:
    return float((model.eval()(x[500:]).argmax(1) == y[500:]).float().mean())


model = network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
train(model, optimizer, 3)
mask = bb.prune(model, sparsity=0.6, granularity=bb.Unit(), floor=4, optimizer=optimizer)
with bb.hold(model, optimizer, mask):
    train(model, optimizer, 3)
print(f"{mask}, accuracy on held-out data {accuracy(model):.1%}")

dead = bb.compaction.propagate(model, x[:8], mask)
print(f"with what is dead beside it: sparsity {dead.mask.sparsity:.1%}, {len(dead.biases)} biases take over constants")

compacted = bb.compact(model, x[:8], mask=mask, optimizer=optimizer)
print(compacted)
print(compacted.gains(model, x[:8]))

train(compacted.model.train(), optimizer, 1)  # the optimizer came along
print(f"trained on, accuracy {accuracy(compacted.model):.1%}")
with tempfile.TemporaryDirectory() as folder:
    compacted.save(folder)
    loaded = bb.load_compact(folder, network())
    print("it comes back:", torch.equal(loaded.eval()(x), compacted.model(x)))
