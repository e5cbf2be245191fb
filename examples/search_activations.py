"""Search an activation for each layer of a network that is 95 % sparse, and train what was found for longer."""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import budbreak as bb

torch.manual_seed(0)
x = torch.randn(1600, 16)
y = (functional.relu(x[:, :6]).sum(1) > functional.relu(x[:, 6:12]).sum(1)).long()
parts = {"train": slice(0, 600), "search": slice(600, 1000), "test": slice(1000, 1600)}  # three disjoint sets
model = nn.Sequential(
    nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)
)


def train(model: nn.Module, epochs: int = 4) -> None:
    """As everywhere: what is pruned is held by the search."""
    optimizer = torch.optim.Adam(bb.activations.parameter_groups(model), lr=5e-3)
    for _ in range(epochs):
        for batch in torch.randperm(600).split(50):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


def accuracy(model: nn.Module, part: str = "search") -> float:
    with torch.no_grad():
        return float((model(x[parts[part]]).argmax(1) == y[parts[part]]).float().mean())


train(model, epochs=10)
mask = bb.prune(model, sparsity=0.95)

with tempfile.TemporaryDirectory() as folder:  # yours stays: the same call goes on from there
    result = bb.search_activations(
        model, mask, train=train, evaluate=accuracy, example=x[:2], store=Path(folder) / "search", epochs=4
    )
history = result.history
print(f"{len(history)} trials, {history.epochs:.0f} epochs, {history.seconds:.1f} s; the best has {result.score:.1%}")
for site, activation in result.plan.items():
    print(f"  site {site}: {bb.search.activation_name(activation)}")

for name, plan in {"ReLU": {}, "searched": result.plan}.items():
    final = bb.replace_activations(model, plan, example=x[:2])
    torch.manual_seed(1)
    with bb.live.held(final, mask):
        train(final, epochs=20)
    print(f"{name}: {accuracy(final, 'test'):.1%} on data that nobody has chosen by")
