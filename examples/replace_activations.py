"""Prune a network whose forward calls F.relu, give it other activations, train their scalars, keep the plan."""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.activations import ActivationPlan, Symlog, Tanh, parameter_groups

torch.manual_seed(0)
x = torch.randn(800, 16)
y = (x[:, :8].sum(1) > x[:, 8:].sum(1)).long()


class Network(nn.Module):
    """Two hidden layers, and a function as activation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(16, 64), nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = functional.relu(self.fc1(x))
        return self.fc3(functional.relu(self.fc2(x)))


def train(model: nn.Module, mask: bb.Mask | None = None) -> float:
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.05, momentum=0.9, weight_decay=5e-4)
    if mask is not None:
        bb.hold(model, optimizer, mask)
    for _ in range(15):
        for batch in torch.randperm(500).split(50):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(x[500:]).argmax(1) == y[500:]).float().mean())


model = Network()
train(model)
mask = bb.prune(model, sparsity=0.95)
sites = [site.name for site in bb.trace(model, x[:2]).sites]
print(f"sites: {', '.join(sites)}")

plan = ActivationPlan({sites[0]: Symlog(trainable=True), sites[1]: Tanh(trainable=True)})
searched = bb.replace_activations(model, plan, example=x[:2])
print(f"95 % sparse, ReLU: {train(model, mask):.1%}; Symlog and Tanh: {train(searched, mask):.1%}")
print(f"scalars: { {name: round(float(value), 2) for name, value in searched.state_dict().items() if 'relu' in name} }")

with tempfile.TemporaryDirectory() as folder:
    plan.save(Path(folder) / "plan.json")
    again = bb.replace_activations(Network(), ActivationPlan.load(Path(folder) / "plan.json"), example=x[:2])
again.load_state_dict(searched.state_dict())
assert torch.equal(again(x), searched(x))
