"""Prune a trained network in one shot, fine-tune it with its zeros held, save mask and weights, measure."""

import tempfile
from pathlib import Path

import torch
from torch import nn

import budbreak as bb

torch.manual_seed(0)
x = torch.randn(600, 1, 8, 8)
y = (x.mean((1, 2, 3)) > 0).long()
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train(epochs: int) -> None:
    for _ in range(epochs):
        for batch in torch.randperm(500).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


train(5)
mask = bb.prune(
    model,
    sparsity=0.9,
    criterion=bb.criteria.Taylor(),
    batches=[(x[:500], y[:500])],
    loss=nn.functional.cross_entropy,
    optimizer=optimizer,
)
print(mask)
with bb.hold(model, optimizer, mask):
    train(5)
model.eval()
print(f"accuracy on held-out data {(model(x[500:]).argmax(1) == y[500:]).float().mean():.1%}")
with tempfile.TemporaryDirectory() as folder:
    mask.save(Path(folder) / "mask.safetensors")
    print("the mask comes back:", bb.Mask.load(Path(folder) / "mask.safetensors") == mask)
print(bb.dead_neurons(model, [x[:500]], mask=mask))
